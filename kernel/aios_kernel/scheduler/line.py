"""A process as the engine knows it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from aios_kernel.context.manager import Context
from aios_kernel.protocol import Pid
from aios_kernel.scheduler.job import Job
from aios_kernel.scheduler.request import Phase

RATE_TOKENS: Final = 32  # a process's tokens/s are measured over this many


@dataclass(slots=True, eq=False)
class Line:
    """A process's context and its generations, of which only the first can run."""

    pid: Pid
    context: Context
    jobs: deque[Job] = field(default_factory=deque)
    nice: int | None = None  # None: nobody has said yet
    suspended: bool = False
    phase: Phase = Phase.IDLE
    waited_s: float = 0.0  # of ended generations
    ended_at: float | None = None  # the last of them
    token_times: deque[float] = field(default_factory=lambda: deque(maxlen=RATE_TOKENS))

    @property
    def job(self) -> Job | None:
        return self.jobs[0] if self.jobs else None

    @property
    def slot(self) -> int:
        """The slot it runs in."""
        slot = self.context.slot
        assert slot is not None, f"process {self.pid} runs without a slot"
        return slot
