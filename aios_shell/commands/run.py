"""run, attach."""

from __future__ import annotations

from aios_kernel.errors import BadRequest, NoSuchAgent
from aios_kernel.protocol import RunRequest
from aios_shell.io import Io
from aios_shell.language.lookup import nearest
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
    session = io.session
    client = session.connect(io.note)
    info = session.find_agent(agent, client)
    if info is None:
        raise NoSuchAgent(f"no agent is called '{agent}'{nearest(agent, list(session.agents))}")
    # A task that was typed is the whole of it: `chat "hello"` must not wait for more from the terminal.
    feed = info.reads_stdin and not bg and not (task and io.tty(io.stdin))
    request = RunRequest(
        agent=agent,
        task=" ".join(task),
        nice=nice,
        group=group,
        model=model,
        policy_class=policy_class,
        max_tokens=max_tokens,
        deadline_s=deadline,
        stdin=feed,
        cwd=session.cwd,
        columns=io.columns if io.tty(io.stdout) and not bg else None,
    )
    pid = client.run(request)
    if not bg:
        return AgentRun(client, pid, io, feed=feed).follow()
    session.jobs.append(AgentJob(client, pid, " ".join([agent, *task])))
    io.line(f'{{"pid": {pid}}}' if json else str(pid))
    return 0


def attach(io: Io, pid: int) -> int:
    client = io.session.connect(io.note)
    info = client.proc(pid)
    agent = io.session.find_agent(info.agent, client)
    feed = agent is not None and agent.reads_stdin and info.exit_code is None
    return AgentRun(client, pid, io, feed=feed).follow()
