"""How often something may be done that costs more, the more processes there are."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from typing import Final

SHARE: Final = 1 / 100  # of a core, at most
CHEAP_S: Final = 0.5e-3  # what costs no more may always be done: at most once a step, which takes 9 ms and more


class Pace:
    """Says when something is due again. Its cost is CPU time of the thread that does it, which others do not slow."""

    def __init__(self) -> None:
        self._due = -math.inf
        self._cost_s = 0.0  # of the last time

    def due(self, now: float) -> bool:
        return now >= self._due

    @contextlib.contextmanager
    def spend(self, now: float) -> Iterator[None]:
        """Do it within this block; `now` is in seconds, monotonic."""
        began = time.thread_time()
        yield
        before, self._cost_s = self._cost_s, time.thread_time() - began
        cost_s = min(before, self._cost_s)  # once is chance: the garbage of others was collected meanwhile
        self._due = now + cost_s / SHARE if cost_s > CHEAP_S else -math.inf
