"""approve, deny, access ls, questions, actions, check, reload, test, grant, revoke."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from aios_kernel.client.access import AccessClient
from aios_kernel.errors import BadConfig, BadRequest, InvalidState, KernelError, row_of
from aios_kernel.protocol import DecideRequest, GrantRequest, Outcome, PolicyInfo, Question, Scope
from aios_shell import render
from aios_shell.io import Io
from aios_shell.text import one_line, sanitize

DENIED: Final = 126

_FOR: Final = {
    Scope.ONCE: "this once",
    Scope.SESSION: "{} until the process ends",
    Scope.ALWAYS: "{} to this agent always",
}

_HEAD: Final = re.compile(r"(?:^|[\s)])(?:permit|forbid)\s*(\(.*)", re.DOTALL)

T = TypeVar("T")


def approve(io: Io, pids: list[int], session: bool, always: bool, yes: bool) -> int:
    """Who typed it has seen a question a while ago: what is asked now is shown before it is allowed."""
    look = not yes and io.tty(io.stdin) and io.tty(io.stderr)
    return _answer(io, pids, allow=True, scope=_scope(session, always), look=look)


def deny(io: Io, pids: list[int], session: bool, always: bool) -> int:
    return _answer(io, pids, allow=False, scope=_scope(session, always), look=False)


def ls(io: Io, json: bool) -> None:
    _policies(io, _access(io).policies(), json=json)


def questions(io: Io, pid: int | None, json: bool) -> None:
    asked = [question for question in _access(io).questions() if pid in (None, question.pid)]
    if pid is not None and not asked:
        raise InvalidState(f"process {pid} asks nothing", pid=pid)
    if json:
        render.json(io, asked)
        return
    if pid is not None:
        io.write("\n".join(map(_whole, asked)))
        return
    now = time.time()
    rows = [(q.pid, q.agent, q.action, render.span(max(0, q.until - now) * 1000), q.what) for q in asked]
    render.table(io, ("PID", "AGENT", "ACTION", "LEFT", "WHAT"), rows, right=frozenset({"PID", "LEFT"}))


def actions(io: Io, json: bool) -> None:
    known = _access(io).actions()
    if json:
        render.json(io, known)
    else:
        io.write("".join(f"{name}\n" for name in known))


def check(io: Io, json: bool) -> int:
    try:
        rows = _access(io).check()
    except BadConfig as error:
        for each in error.data.get("errors", ()):
            io.note("{file}:{line}: {message}".format(**each))
        return row_of(error).exit
    if json:
        render.json(io, rows)
    else:
        own = len({row.file for row in rows}) - 1
        io.line(f"{len(rows)} policies, {own} file{'' if own == 1 else 's'} of yours: all right")
    return 0


def reload(io: Io) -> None:
    io.line(f"{len(_access(io).reload())} policies in force")


def test(io: Io, pid: int, action: str, resource: str | None, owner: str | None, irreversible: bool, json: bool) -> int:
    verdict = _access(io).test(DecideRequest(pid, action, resource or "", owner, irreversible))
    if json:
        render.json(io, verdict)
    else:
        io.line(f"{verdict.outcome.value}: {', '.join(verdict.policies) or 'no policy permits it'}")
    return DENIED if verdict.outcome is Outcome.DENY else 0


def grant(io: Io, agent: str, action: str, resource: str | None, owner: str | None) -> None:
    io.line(_access(io).grant(GrantRequest(agent, action, resource, owner)).id)


def revoke(io: Io, ids: list[str]) -> int:
    access = _access(io)
    return _each(io, ids, access.revoke)


def _access(io: Io) -> AccessClient:
    return AccessClient(io.session.connect(io.note))


def _scope(session: bool, always: bool) -> Scope:
    """Raises BadRequest for both."""
    if session and always:
        raise BadRequest("--session and --always exclude each other")
    return Scope.ALWAYS if always else Scope.SESSION if session else Scope.ONCE


def _answer(io: Io, pids: list[int], *, allow: bool, scope: Scope, look: bool) -> int:
    """Answer each process's oldest question as it was a moment ago, and say which that was."""
    access = _access(io)
    asked = {question.pid: question for question in reversed(access.questions())}

    def answer(pid: int) -> None:
        seen = asked.get(pid)
        if look and seen is not None:
            io.narrate(_whole(seen))
            if not io.confirm(f"allow {_FOR[scope].format(one_line(seen.reach))}?"):
                raise InvalidState(f"{pid}: not answered")
        question = access.answer(pid, allow, scope, seen.what if seen is not None else "")
        io.note(f"{pid}: {'allowed' if allow else 'denied'}: {question.what}")

    return _each(io, pids, answer)


def _whole(question: Question) -> str:
    """All that a person is to know before they answer. Lines in the agent's own words are marked."""
    lines = [f"{question.pid} ({one_line(question.agent)}) asks: {one_line(question.what)}"]
    lines += [f"  | {sanitize(line.expandtabs(4))}" for line in question.detail.splitlines()]
    return "".join(f"{line}\n" for line in lines)


def _each(io: Io, things: list[T], act: Callable[[T], object]) -> int:
    """Do it to each; one that fails does not keep the others from it."""
    status = 0
    for thing in things:
        try:
            act(thing)
        except KernelError as error:
            io.note(error.message)
            status = row_of(error).exit
    return status


def _policies(io: Io, rows: list[PolicyInfo], *, json: bool) -> None:
    if json:
        render.json(io, rows)
        return
    cells = [
        (row.id, row.effect, f"{Path(row.file).name}:{row.line}", "yes" if row.granted else "", _gist(row.text))
        for row in rows
    ]
    render.table(io, ("ID", "EFFECT", "WHERE", "GRANTED", "POLICY"), cells, spare=("GRANTED", "WHERE"))


def _gist(text: str) -> str:
    """A policy in one line, without its annotations and effect."""
    match = _HEAD.search(text)
    return " ".join((match[1] if match else text).split()).replace("( ", "(").replace(" )", ")")
