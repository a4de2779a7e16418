"""Questions to a person: a process that waits for an answer is `asking`, and its reason is the question."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from typing import Final

from aios_kernel.access.need import Need
from aios_kernel.clock import Clock
from aios_kernel.errors import InvalidState, LimitHit
from aios_kernel.life import Life
from aios_kernel.protocol import Pid, ProcState, Question, Scope

MAX_QUESTIONS: Final = 16  # of one process at once
MAX_WHAT: Final = 200  # characters: a question is a line that a person reads
MAX_DETAIL: Final = 65_536  # characters that a person may have to read: more is not asked

Subject = tuple[str, str, str]  # what an answer is about: action, resource and owner; "" where it is for all its own


@dataclass(frozen=True, slots=True)
class Answer:
    allow: bool
    scope: Scope
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    question: Question
    subject: Subject
    answered: asyncio.Future[Answer]


class Approvals:
    """The questions that are open. Event loop only.

    Args:
        answer_s: a question that nobody has answered by then is answered with no.
    """

    def __init__(self, clock: Clock, answer_s: float) -> None:
        self._clock = clock
        self._answer_s = answer_s
        self._asked: dict[Pid, list[_Asked]] = {}  # of each process, the oldest first
        self._ids = itertools.count(1)

    def open(self) -> list[Question]:
        """All open questions, the oldest first."""
        questions = (asked.question for queue in self._asked.values() for asked in queue)
        return sorted(questions, key=lambda question: question.asked_at)

    async def ask(self, life: Life, need: Need, subject: Subject) -> Answer:
        """Ask, and wait for the answer.

        Raises:
            LimitHit: the process has too many questions open, or this one is too long to be read.
        """
        process, now = life.process, self._clock.now()
        id, what, detail = next(self._ids), one_line(need.question), need.detail
        if what.replace("…", "") != need.question.replace("…", "") and not detail:
            detail = need.question
        if len(detail) > MAX_DETAIL:
            raise LimitHit(f"{what}: a question of {len(detail)} characters: at most {MAX_DETAIL} can be asked")
        queue = self._asked.setdefault(process.pid, [])
        if len(queue) >= MAX_QUESTIONS:
            raise LimitHit(f"process {process.pid} has {MAX_QUESTIONS} questions open", limit=MAX_QUESTIONS)
        question = Question(
            id=id,
            pid=process.pid,
            agent=process.request.agent,
            what=f"{what} (question {id})" if detail else what,
            detail=detail,
            action=need.name,
            resource=need.id,
            owner=need.owner,
            reach=_reach(subject),
            asked_at=now,
            until=now + self._answer_s,
        )
        asked = _Asked(question, subject, asyncio.get_running_loop().create_future())
        queue.append(asked)
        life.act(-id, (ProcState.ASKING, question.what), now)  # those of syscalls count from 0 up
        try:
            async with asyncio.timeout(self._answer_s):
                return await asked.answered
        except TimeoutError:
            return Answer(False, Scope.ONCE, f"nobody answered in {self._answer_s:g} s")
        finally:
            queue.remove(asked)
            if not queue:
                del self._asked[process.pid]
            life.act(-id, None, self._clock.now())

    def answer(self, pid: int, allow: bool, scope: Scope, what: str | None) -> Question:
        """Answer a process's oldest question, and with a wider scope all open ones that it is about as well.

        Args:
            what: the question as the person saw it; None: whichever it is.

        Raises:
            InvalidState: it asks nothing, or something else.
        """
        waiting = [asked for asked in self._asked.get(Pid(pid), ()) if not asked.answered.done()]
        if not waiting:
            raise InvalidState(f"process {pid} asks nothing", pid=pid)
        oldest = waiting[0]
        if what is not None and what != oldest.question.what:
            raise InvalidState(f"process {pid} asks something else now: {oldest.question.what}", pid=pid)
        answer = Answer(allow, scope, f"a person said {'yes' if allow else 'no'}")
        for asked in self._covered(oldest, scope):
            if not asked.answered.done():
                asked.answered.set_result(answer)
        return oldest.question

    def _covered(self, answered: _Asked, scope: Scope) -> list[_Asked]:
        if scope is Scope.ONCE:
            return [answered]
        return [
            asked
            for pid, queue in self._asked.items()
            for asked in queue
            if asked.subject == answered.subject
            and (pid == answered.question.pid or scope is Scope.ALWAYS)
            and asked.question.agent == answered.question.agent
        ]


def _reach(subject: Subject) -> str:
    action, resource, owner = subject
    if not (resource or owner):
        return f"{action} of all its own"
    return one_line(f"{action} {resource}" + (f" of {owner}" if owner else ""))


def one_line(text: str) -> str:
    """Agents choose the words: one line of printable characters, no gaps in it, its middle left out where it is long.

    The beginning says what is to be done, the end to whom.
    """
    ends = text if len(text) <= 2 * MAX_WHAT else f"{text[:MAX_WHAT]}…{text[-MAX_WHAT:]}"
    line = " ".join("".join(char if char.isprintable() else " " for char in ends).split())
    half = MAX_WHAT // 2
    return line if len(line) <= MAX_WHAT else f"{line[:half]}…{line[half + 1 - MAX_WHAT :]}"
