"""The only place that reads the machine's clocks; everything else takes a `Clock`."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Time of day and elapsed time, both in seconds."""

    def now(self) -> float:
        """Unix time; may jump."""
        ...

    def monotonic(self) -> float:
        """Never goes back; its zero means nothing."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        return time.time()  # noqa: TID251 - this is the Clock

    def monotonic(self) -> float:
        return time.monotonic()  # noqa: TID251 - this is the Clock
