"""Signals: what each does to an agent's OS process, or a virtual process's task, and to its context in the engine."""

from __future__ import annotations

import asyncio
import logging
import os
import signal as os_signals
from typing import Final

from aios_kernel.clock import Clock
from aios_kernel.life import Life, verdict_of
from aios_kernel.llm import Llm
from aios_kernel.protocol import ProcState, Signal

log = logging.getLogger(__name__)

GRACE_S: Final = 5.0  # from TERM to KILL, when a deadline has passed
DEADLINE_CODE: Final = 124

_NUMBERS: Final = {  # of this system: those of STOP and CONT differ between Linux and macOS
    Signal.TERM: os_signals.SIGTERM,
    Signal.INT: os_signals.SIGINT,
    Signal.KILL: os_signals.SIGKILL,
    Signal.STOP: os_signals.SIGSTOP,
    Signal.CONT: os_signals.SIGCONT,
}
_DEADLY: Final = frozenset({Signal.TERM, Signal.INT, Signal.KILL})


def send(life: Life, signal: Signal) -> None:
    """Send a signal to the agent's OS process and all of its session; one that has ended gets none.

    A virtual process has a task instead, which a deadly signal cancels; STOP and CONT act on its context alone.
    """
    os_pid = life.process.os_pid
    if life.ending:
        return
    if signal is Signal.KILL:  # nothing that it asked for is done any more, whatever a person answers meanwhile
        life.killed = True
        for task in life.syscalls:
            task.cancel()
    if life.work is not None and signal in _DEADLY:
        life.verdict = life.verdict or verdict_of(-_NUMBERS[signal])
        life.work.cancel()
    if os_pid is None:
        return
    try:
        os.killpg(os_pid, _NUMBERS[signal])
    except ProcessLookupError:  # ended just now; its host has yet to say so
        log.debug("process %d ended before %s", life.process.pid, signal)


class Control:
    """Delivers signals. Event loop only."""

    def __init__(self, llm: Llm, clock: Clock) -> None:
        self._llm = llm
        self._clock = clock

    async def deliver(self, life: Life, signal: Signal) -> None:
        """TERM, INT, KILL are sent at once; STOP returns once the context is off its slot, CONT once it may go on."""
        await life.spawned.wait()
        if signal is Signal.STOP:
            await self._suspend(life)
        elif signal is Signal.CONT:
            await self._resume(life)
        else:
            send(life, signal)
            if signal is Signal.TERM:
                await self._resume(life)  # a stopped process gets it only when it goes on

    async def keep_deadline(self, life: Life, deadline_s: float) -> None:
        """End the process when it has not ended by itself after `deadline_s`."""
        try:
            async with asyncio.timeout(deadline_s):
                await life.over.wait()
        except TimeoutError:
            await self.terminate(life, (DEADLINE_CODE, f"deadline of {deadline_s:g} s passed"), GRACE_S)

    async def terminate(self, life: Life, verdict: tuple[int, str] | None, grace_s: float) -> None:
        """TERM, then after `grace_s` KILL; returns when the process is over, or KILL is sent."""
        life.verdict = life.verdict or verdict
        try:
            async with asyncio.timeout(grace_s):
                await self.deliver(life, Signal.TERM)
                await life.over.wait()
        except TimeoutError:
            send(life, Signal.KILL)

    async def _suspend(self, life: Life) -> None:
        async with life.signals:
            if life.process.state is ProcState.SUSPENDED or life.ending:
                return
            send(life, Signal.STOP)
            try:
                await self._llm.suspend(life.process.pid)
            finally:  # it is stopped, whatever became of its context and of whoever waits here
                if not life.ending:
                    life.move(ProcState.SUSPENDED, "stopped", self._clock.now())

    async def _resume(self, life: Life) -> None:
        async with life.signals:
            send(life, Signal.CONT)  # in any state: an agent can stop itself too
            if life.process.state is not ProcState.SUSPENDED or life.ending:
                return
            life.move(*life.process.live_state(), self._clock.now())
            await self._llm.resume(life.process.pid)
