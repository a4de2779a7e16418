"""The verbs for processes: what is asked before, and what the kernel is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from textual.screen import Screen

from aios_kernel.client import KernelClient
from aios_kernel.client.access import AccessClient
from aios_kernel.errors import KernelError
from aios_kernel.protocol import ProcInfo, ProcState, Question, Scope, Signal
from aios_shell.language.parse import quote
from aios_shell.text import one_line
from aios_shell.tui.messages import Act, Notice, Run
from aios_shell.tui.screens.dialogs import Ask, Choose

_SIGNALS: Final = {"suspend": Signal.STOP, "resume": Signal.CONT, "int": Signal.INT}
_KILLS: Final = (
    ("t", Signal.TERM.value, "TERM  ask it to end"),
    ("k", Signal.KILL.value, "KILL  end it now"),
    ("i", Signal.INT.value, "INT   stop what it is doing"),
)
_MIN_NICE, _MAX_NICE = -20, 19

Asker = Callable[[Screen[str | None]], Awaitable[str | None]]


class Acts:
    """Carries out what `Act` messages ask for."""

    def __init__(
        self, client: KernelClient, procs: dict[int, ProcInfo], ask: Asker, post: Callable[[Notice | Run], object]
    ) -> None:
        """ask: show a dialog; its answer."""
        self._client, self._procs, self._ask, self._post = client, procs, ask, post

    async def perform(self, act: Act) -> None:
        """Do it. What goes wrong is told by a Notice, a line for each process."""
        match act.verb:
            case "suspend" | "resume" | "int":
                await self._signal(act.pids, _SIGNALS[act.verb])
            case "kill":
                await self._kill(act.pids)
            case "renice":
                await self._renice(act.pids, act.value)
            case "fork":
                await self._fork(act.pids)
            case "save":
                await self._save(act.pids, act.value)
            case "approve" | "deny":
                for pid in act.pids:
                    await self._answer(pid, allow=act.verb == "approve")

    async def _kill(self, pids: Sequence[int]) -> None:
        """The dialog names those that were chosen when the key was pressed, whatever the table shows by now."""
        title = f"End {self.name(pids[0])}" if len(pids) == 1 else f"End {len(pids)} processes"
        lines = [self._describe(pid) for pid in pids[:8]] + ([f"and {len(pids) - 8} more"] if len(pids) > 8 else [])
        answer = await self._ask(Choose(title, lines, _KILLS))
        if answer is not None:
            await self._signal(pids, Signal(answer))

    async def _answer(self, pid: int, *, allow: bool) -> None:
        """The question that was seen when the key was pressed, and no other. What does not fit a line is read first."""
        proc, access, scope = self._procs.get(pid), AccessClient(self._client), Scope.ONCE
        if proc is None or proc.state is not ProcState.ASKING:
            return
        try:
            asked = await asyncio.to_thread(access.questions) if allow else []
            seen = next((each for each in asked if (each.pid, each.what) == (pid, proc.reason)), None)
            if seen is not None and seen.detail:
                title = f"{self.name(pid)} asks"
                choice = await self._ask(Choose(title, [proc.reason], _answers(seen), seen.detail))
                if choice is None:
                    return
                allow, scope = choice != "no", Scope.ONCE if choice == "no" else Scope(choice)
            await asyncio.to_thread(access.answer, pid, allow, scope, proc.reason)
            self._post(Notice(f"{pid}: {'allowed' if allow else 'denied'}: {proc.reason}"))
        except KernelError as error:
            self._post(Notice(error.message, error=True))

    async def _renice(self, pids: Sequence[int], value: str | int | None) -> None:
        if value is None:
            first = self._procs.get(pids[0])
            title = f"Nice of {', '.join(map(str, pids))}"
            value = await self._ask(Ask(title, "-20 (favoured) to 19", str(first.nice if first else 0), _check_nice))
        if value is not None:
            nice = max(_MIN_NICE, min(_MAX_NICE, int(value)))
            await self._each(pids, lambda pid: self._client.nice(pid, nice))

    async def _fork(self, pids: Sequence[int]) -> None:
        task = await self._ask(Ask(f"Fork {self.name(pids[0])}", "what to say next; empty: finish the reply under way"))
        if task is not None:
            self._post(Run(f"snap fork --bg {pids[0]} {quote([task]) if task.strip() else ''}".rstrip()))

    async def _save(self, pids: Sequence[int], value: str | int | None) -> None:
        name = (
            str(value) if value is not None else await self._ask(Ask("Save the context", "a name; empty: one is made"))
        )
        if name is not None:
            for pid in pids:
                own = name if len(pids) == 1 else f"{name}-{pid}"
                self._post(Run(f"snap save {pid}" + (f" --name {quote([own])}" if name.strip() else "")))

    async def _signal(self, pids: Sequence[int], signal: Signal) -> None:
        await self._each(pids, lambda pid: self._client.signal(pid, signal))

    async def _each(self, pids: Sequence[int], call: Callable[[int], object]) -> None:
        answers = await asyncio.gather(*(asyncio.to_thread(call, pid) for pid in pids), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, KernelError):
                self._post(Notice(answer.message, error=True))
            elif isinstance(answer, BaseException):
                raise answer

    def name(self, pid: int) -> str:
        proc = self._procs.get(pid)
        return f"{pid} ({proc.agent})" if proc else str(pid)

    def _describe(self, pid: int) -> str:
        proc = self._procs.get(pid)
        return f"{pid} {proc.agent} {proc.state.value} {proc.task}" if proc else f"{pid} (gone)"


def _answers(question: Question) -> tuple[tuple[str, str, str], ...]:
    return (
        ("y", Scope.ONCE.value, "allow this once"),
        ("s", Scope.SESSION.value, f"allow {one_line(question.reach)} until it ends"),
        ("a", Scope.ALWAYS.value, f"allow {one_line(question.reach)} to this agent always"),
        ("n", "no", "deny"),
    )


def _check_nice(text: str) -> str:
    try:
        value = int(text)
    except ValueError:
        return f"'{text}' is not a whole number"
    return "" if _MIN_NICE <= value <= _MAX_NICE else f"{value} is not between {_MIN_NICE} and {_MAX_NICE}"
