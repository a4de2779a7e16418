"""agents ls, agents show."""

from __future__ import annotations

from aios_kernel.errors import NoSuchAgent
from aios_shell import render
from aios_shell.io import Io
from aios_shell.language.lookup import nearest


def ls(io: Io, json: bool) -> None:
    agents = sorted(io.session.connect(io.note).agents(), key=lambda agent: agent.name)
    if json:
        render.json(io, agents)
        return
    rows = [(agent.name, agent.source, ", ".join(agent.tools), agent.description) for agent in agents]
    render.table(io, ("NAME", "SOURCE", "TOOLS", "DESCRIPTION"), rows)


def show(io: Io, name: str, json: bool) -> None:
    agents = {agent.name: agent for agent in io.session.connect(io.note).agents()}
    agent = agents.get(name)
    if agent is None:
        raise NoSuchAgent(f"no agent is called '{name}'{nearest(name, list(agents))}")
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
