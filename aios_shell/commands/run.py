"""run, attach."""

from __future__ import annotations

from dataclasses import replace

from aios_kernel.errors import BadRequest, NoSuchAgent
from aios_kernel.protocol import RunRequest
from aios_shell.io import Io
from aios_shell.language.lookup import unknown_agent
from aios_shell.running import AgentRun
from aios_shell.session import AgentJob


def run(
    io: Io,
    agent: str,
    task: list[str],
    nice: int,
    group: str,
    model: str | None,
    policy_class: str | None,
    max_tokens: int | None,
    deadline: float | None,
    bg: bool,
    json: bool,
) -> int:
    if agent.startswith("-"):  # own words begin after the agent's name
        raise BadRequest(f"no such option: {agent} (see `aios help run`)")
    request = RunRequest(agent, " ".join(task), nice, group, model, policy_class, max_tokens, deadline)
    return start(io, request, bg=bg, json=json)


def start(io: Io, request: RunRequest, *, bg: bool, json: bool) -> int:
    """Start an agent and follow it, or print its pid (`bg`). What the shell knows of the request is filled in here."""
    if json and not bg:
        raise BadRequest("--json goes with --bg: without it, standard output is what the agent writes")
    session = io.session
    client = session.connect(io.note)
    info = session.find_agent(request.agent, client)
    if info is None:
        raise NoSuchAgent(f"no agent is called '{request.agent}'{unknown_agent(request.agent, session)}")
    # A task that was typed is the whole of it: `chat "hello"` must not wait for more from the terminal.
    feed = info.reads_stdin and not bg and not (request.task and io.tty(io.stdin))
    columns = io.columns if io.tty(io.stdout) and not bg else None
    pid = client.run(replace(request, stdin=feed, cwd=session.cwd, columns=columns))
    if feed and io.tty(io.stdin) and io.tty(io.stderr):
        io.note(f"{request.agent} reads what you type; Ctrl-D ends the input, Ctrl-C interrupts, twice leaves it alone")
    if not bg:
        return AgentRun(client, pid, io, feed=feed).follow()
    session.jobs.append(AgentJob(client, pid, f"{request.agent} {request.task}".strip()))
    io.line(f'{{"pid": {pid}}}' if json else str(pid))
    return 0


def attach(io: Io, pid: int) -> int:
    client = io.session.connect(io.note)
    info = client.proc(pid)
    agent = io.session.find_agent(info.agent, client)
    feed = agent is not None and agent.reads_stdin and info.exit_code is None
    return AgentRun(client, pid, io, feed=feed).follow()
