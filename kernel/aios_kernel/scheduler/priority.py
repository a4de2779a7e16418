"""Priority: the lowest nice value runs first; each second of waiting counts for one, so that nobody waits for ever."""

from __future__ import annotations

from typing import ClassVar, Final

from aios_kernel.scheduler.policy import Plan, Runnable, lowest

AGEING: Final = 1.0  # nice values per second: nice 19 runs beside nice 0 after 19 s
MARGIN: Final = 5.0  # nice values by which one that comes must be better to cut a quantum short


class Priority:
    name: ClassVar[str] = "priority"

    def plan(self, queue: tuple[Runnable, ...], *, slots: int, quantum: int) -> Plan:
        def key(entry: Runnable) -> tuple[float, int, int]:
            turn = entry.turn(quantum)
            rank = entry.nice - AGEING * entry.patience_s(quantum)
            return rank - MARGIN if turn == 0 else rank, turn, entry.queued

        return lowest(queue, slots, key)
