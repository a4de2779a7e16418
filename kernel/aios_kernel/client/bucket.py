"""The pace of agents, on both sides of the kernel's socket: so much at once, and then so much a second."""

from __future__ import annotations

from typing import Final

# Of one agent's denials, by the system and by the kernel alike, each is a row of the audit log: so many at once, then
# so many a second. A program that looks around meets the first; who knocks without end needs days to fill the log.
DENIALS: Final = 200
DENIALS_PER_S: Final = 20.0


class TokenBucket:
    """What one may take of something that all share, in units of the caller's choice."""

    def __init__(self, burst: float, per_s: float, now: float) -> None:
        """now: seconds of a monotonic clock, here and in `take`."""
        self._burst, self._per_s = burst, per_s
        self._left, self._at = burst, now

    def take(self, now: float, amount: float = 1.0) -> float:
        """So much has been taken; returns for how many seconds nothing more should be."""
        self._left, self._at = min(self._burst, self._left + (now - self._at) * self._per_s) - amount, now
        return max(0.0, -self._left / self._per_s)
