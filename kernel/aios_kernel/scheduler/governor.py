"""How many threads the next step uses: as many as there are cores that nobody else keeps busy.

ggml's threads wait for each other at hundreds of barriers a token. One of them without a core stalls them all, so
that two threads beside one busy process are slower than one (35 against 75 tokens/s, alone 120).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

import psutil

SAMPLE_S: Final = 0.15  # kernel tick counters move in steps of 0.01 s; shorter samples are noise
YIELD_ABOVE: Final = 0.5  # of a core: break-even of 2 threads against 1, from 120, 75 and 35 tokens/s
TAKE_BELOW: Final = 0.25  # of a core, for as many samples in a row as the governor has come to want
MIN_BUSY_S: Final = 0.29  # agents that start keep a core busy for about one sample, which is not worth a change
MIN_QUIET: Final = 2  # samples
MAX_QUIET: Final = 32  # samples; a take that goes wrong costs one step of up to a second, so under 1/5 of the time


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """CPU seconds so far: of the whole machine, and of this process."""

    machine_s: float
    own_s: float


class Governor:
    """Decides from readings of the CPU times; holds no other state than the last ones. Owner thread only."""

    def __init__(self, cores: int, read: Callable[[], CpuTimes] | None, *, machine_cores: int | None = None) -> None:
        """cores: the most threads to use. machine_cores: those that `read` speaks of, when more.

        read: None leaves it at `cores` threads.
        """
        self.threads = self.limit = cores
        self._machine_cores = max(cores, machine_cores or cores)
        self._read = read
        self._last: tuple[float, CpuTimes] | None = None
        self._busy_s = 0.0  # seconds of busy samples in a row
        self._quiet = 0  # quiet samples in a row
        self._wanted = MIN_QUIET  # of them, before a core is taken: doubles with each take that did not last
        self._since_take = MAX_QUIET  # samples

    @classmethod
    def for_machine(cls, cores: int) -> Self:
        return cls(cores, read_cpu_times, machine_cores=psutil.cpu_count())

    def update(self, now: float) -> int:
        """The number of threads for a step that starts at `now` (seconds, monotonic)."""
        if self._read is None or self.limit == 1:
            return self.threads
        if self._last is None:
            self._last = now, self._read()
        elif now - self._last[0] >= SAMPLE_S:
            times = self._read()
            then, before = self._last
            self._last = now, times
            busy = (times.machine_s - before.machine_s) - (times.own_s - before.own_s)
            self._decide(max(0.0, busy / (now - then)), now - then)
        return self.threads

    def _decide(self, others: float, span_s: float) -> None:
        """others: cores that other processes kept busy over the last sample, which took so long."""
        free = self._machine_cores - others
        self._since_take += 1
        if free + YIELD_ABOVE >= self.threads:
            self._busy_s = 0.0
        else:
            self._busy_s += span_s
            self._quiet = 0
            if self._busy_s < MIN_BUSY_S and self._since_take > MIN_QUIET:
                return
            lasted = self._since_take > MAX_QUIET
            self._wanted = MIN_QUIET if lasted else min(MAX_QUIET, 2 * self._wanted)
            self.threads = max(1, int(free + YIELD_ABOVE))
            return
        target = min(self.limit, int(free + TAKE_BELOW))
        self._quiet = self._quiet + 1 if target > self.threads else 0
        if self._quiet >= self._wanted:
            self._quiet = self._since_take = 0
            self.threads = target


def read_cpu_times() -> CpuTimes:
    """Stolen time counts as busy: another machine has the core."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # Linux counts these in user and nice
    return CpuTimes(machine_s=sum(times) - idle - guests, own_s=time.process_time())
