"""The live feed: frames of what has changed, each made when its reader is ready for it.

A frame is the difference between what its reader was told and how things stand now. So one who reads slowly gets fewer
and larger frames and never old ones, and nothing queues up for one who reads no more. Frames are made at a steady pace
and not at each event: tokens come faster than anybody looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Final

from aios_kernel.census import Mark
from aios_kernel.daemon import Kernel
from aios_kernel.errors import BadRequest
from aios_kernel.protocol import Frame, HostInfo, KernelStatus, Pid, QueueEntry, StepInfo
from aios_kernel.sse import sse

MIN_HZ: Final = 1.0
MAX_HZ: Final = 30.0


async def watch(kernel: Kernel, hz: float) -> AsyncGenerator[bytes, None]:
    """The events of one watch. Raises BadRequest, InternalError."""
    if not MIN_HZ <= hz <= MAX_HZ:  # NaN is not
        raise BadRequest(f"hz = {hz:g}: must be {MIN_HZ:g} to {MAX_HZ:g}", key="hz")
    await kernel.supervisor.census.recall()
    return _frames(kernel, 1 / hz)


async def _frames(kernel: Kernel, period_s: float) -> AsyncGenerator[bytes, None]:
    """Frames up to the kernel's end, which comes once every process has ended."""
    watcher = Watcher(kernel)
    while True:
        over = kernel.stopping.is_set() and not kernel.supervisor.table.alive()
        frame = watcher.frame()
        if frame is not None:
            yield sse("frame", frame)
        if over:
            return
        await asyncio.sleep(period_s)


class Watcher:
    """One who watches, and what it was told. Event loop only."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._told: dict[Pid, Mark] = {}
        self._queue: list[QueueEntry] | None = None
        self._step = 0  # the last that it was told of
        self._facts: KernelStatus | None = None  # without the time
        self._host: HostInfo | None = None  # read anew each second: nobody goes without a frame for longer

    def frame(self) -> Frame | None:
        """What is new since the former frame; all there is at first. None: nothing."""
        kernel = self._kernel
        status, host = kernel.status(), kernel.gauges.read(kernel.clock.monotonic())
        procs, gone = kernel.supervisor.census.news(self._told)
        steps, lost = self._new_steps()
        queue = kernel.llm.queue()
        told_queue = queue if queue != self._queue else None
        news = procs or gone or steps or told_queue is not None or host is not self._host
        facts = replace(status, uptime_s=0.0)
        if not news and facts == self._facts:
            return None
        self._queue, self._facts, self._host = queue, facts, host
        return Frame(kernel.clock.now(), status, procs, gone, told_queue, steps, lost, host)

    def _new_steps(self) -> tuple[list[StepInfo], int]:
        """Those since the former frame, and how many of them the engine does not know any more.

        The first frame has what there is. The engine of another model counts from 1 again.
        """
        steps = self._kernel.llm.steps()
        last = steps[-1].step if steps else 0
        known = self._step if self._step <= last else 0
        self._step = last
        fresh = [step for step in steps if step.step > known]
        return fresh, last - known - len(fresh) if self._facts is not None else 0
