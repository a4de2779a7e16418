"""agents ls, show, new, install, rm."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from aios_kernel.client import paths
from aios_kernel.errors import BadRequest, NoSuchAgent
from aios_shell import registry, render
from aios_shell.io import Io
from aios_shell.language.lookup import unknown_agent

_MANAGE: Final = "aios_agents.manage"  # started by name: the shell imports nothing of the agents' room


def ls(io: Io, json: bool) -> None:
    agents = sorted(io.session.connect(io.note).agents(), key=lambda agent: agent.name)
    if json:
        render.json(io, agents)
        return
    rows = [(agent.name, agent.source, ", ".join(agent.tools), agent.description) for agent in agents]
    render.table(io, ("NAME", "SOURCE", "TOOLS", "DESCRIPTION"), rows, spare=("TOOLS", "SOURCE"))


def show(io: Io, name: str, json: bool) -> None:
    agent = io.session.find_agent(name, io.session.connect(io.note))
    if agent is None:
        raise NoSuchAgent(f"no agent is called '{name}'{unknown_agent(name, io.session)}")
    if json:
        render.json(io, agent)
        return
    pairs = [
        ("name", agent.name),
        ("description", agent.description),
        ("source", agent.source),
        ("tools", ", ".join(agent.tools) or "none"),
        ("group", agent.group),
        ("reads stdin", "yes" if agent.reads_stdin else "no"),
    ]
    render.facts(io, pairs)


def new(io: Io, name: str, as_class: bool) -> int:
    if registry.is_builtin(name):
        raise BadRequest(f"{name} is a command: it would be run instead of the agent")
    status = _manage(io, "new", *(["--class"] if as_class else []), "--", name)
    if status == 0:
        io.note(f"`aios run {name} ...` runs it, pytest in its folder tests it")
    return status


def install(io: Io, source: str, force: bool) -> int:
    return _manage(io, "install", *(["--force"] if force else []), "--", source)


def rm(io: Io, name: str) -> int:
    return _manage(io, "rm", "--", name)


def _manage(io: Io, *words: str) -> int:
    """Have the agents' room do it, in a process of its own. Returns its exit code."""
    from aios_shell.language.pipeline import HostProcess  # late: it loads the grammar

    session = io.session
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", _MANAGE, "--agents", str(paths().agents), *words],
        stdin=subprocess.DEVNULL,
        stdout=io.stdout,
        stderr=io.stderr,
        cwd=session.cwd,
        env=session.env,
        start_new_session=not session.foreground.terminal,
    )
    return HostProcess(process, io).wait()
