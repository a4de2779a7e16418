"""A steady load on a step loop: so many programs at any time, whose generations differ in length."""

from __future__ import annotations

import heapq
import random

from aios_kernel.core import EngineConfig
from aios_kernel.protocol import Pid
from aios_kernel.scheduler.governor import CpuTimes, Governor
from aios_kernel.scheduler.job import Job
from aios_kernel.scheduler.loop import StepLoop
from aios_kernel.scheduler.request import GenRequest, JobId
from aios_kernel.scheduler.view import queue_of, view_of
from aios_kernel.testing import END, FakeClock, ScriptedCore

LOOK_S = 1.0  # between two looks at the queue
NEWLINE = ord("\n")


def as_long_as_asked(history: tuple[int, ...]) -> int:
    """A script: the prompt ends in a line with the number of tokens that the reply is to have."""
    if NEWLINE not in history:
        return ord("a")
    produced = history[::-1].index(NEWLINE)
    wanted = int(bytes(history[-produced - 4 : -produced - 1]))
    return END if produced >= wanted else ord("a")


class SteadyLoad:
    """`num` programs of `turns` generations each, with a pause between; for each that ends another one begins."""

    def __init__(self, policy: str, *, num: int = 24, slots: int = 4, turns: int = 4, seed: int = 1) -> None:
        self.clock = FakeClock(0.0)
        config = EngineConfig(slots=slots, window=1024, policy=policy)
        core = ScriptedCore(as_long_as_asked, config, self._took)
        self.loop = StepLoop(core, config, Governor(1, lambda: CpuTimes(0, 0)), self.clock)
        self._turns, self._last_pid, self._num_jobs = turns, num, 0
        self._random = random.Random(seed)
        self._due = [(self._random.uniform(0, 5), pid, 0) for pid in range(1, num + 1)]  # a heap: who asks when
        self._turn: dict[int, int] = {}  # by pid
        self._looked_at = 0.0

    def _took(self, num_seqs: int, num_tokens: int) -> None:
        """A CPU: 9 ms for one sequence, 5 for each more, 3.7 for a prompt's token."""
        self.clock.advance(0.0037 * num_tokens if num_tokens > num_seqs else 0.004 + 0.005 * num_seqs)

    def run(self, seconds: float) -> None:
        """Look at the queue now and then, as a person does."""
        end = self.clock.monotonic() + seconds
        while (now := self.clock.monotonic()) < end:
            while self._due and self._due[0][0] <= now:
                self._ask(*heapq.heappop(self._due)[1:])
            if not self.loop.runnable():
                self.clock.advance(self._due[0][0] - now)
                continue
            self.loop.step()
            self._hear(now)
            if now >= self._looked_at + LOOK_S:
                self._look(now)

    def _ask(self, pid: int, turn: int) -> None:
        self._turn[pid] = turn
        self._num_jobs += 1
        length = max(3, round(self._random.gauss(40, 12)))
        prompt = f"{pid:05d}{'x' * self._random.randint(20, 90)}{length:03d}\n".encode()
        request = GenRequest(Pid(pid), tuple(prompt), max_tokens=256)
        self.loop.submit(Job(JobId(self._num_jobs), request, self.clock.monotonic()))

    def _hear(self, now: float) -> None:
        for pid in [event.pid for event in self.loop.events if event.done]:
            again_at = now + self._random.uniform(0, 0.4)
            if self._turn[pid] + 1 < self._turns:
                heapq.heappush(self._due, (again_at, pid, self._turn[pid] + 1))
            else:
                self.loop.release(pid)
                self._last_pid += 1
                heapq.heappush(self._due, (again_at, self._last_pid, 0))
        self.loop.events.clear()

    def _look(self, now: float) -> None:
        self._looked_at = now
        view = view_of(self.loop)
        rows = [row for row in queue_of(view.outlook) if row.queue == "ready"]
        self.loop.expect(view.at, {Pid(row.pid): row.eta_ms for row in rows if row.eta_ms is not None})

    @property
    def eta_error(self) -> float | None:
        return view_of(self.loop).stats.eta_error
