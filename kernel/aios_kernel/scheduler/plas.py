"""Program-level least attained service: programs that have had little go first; one is an agent with its children.

Autellix (Luo et al. 2025): many short calls of a long program do not pass for short work. Programs are compared by
levels, and within a level the oldest runs to its end: of programs of one length that is the best there is, while
taking turns would end them all last. The first level is narrow, so that a short request does not stand behind them;
the next is 16 times as wide, so that few programs meet an end of a level on their way, where those behind overtake.
"""

from __future__ import annotations

from typing import ClassVar, Final

from aios_kernel.scheduler.policy import PREFILL_COST, Plan, Runnable, level, lowest

BASE: Final = 2  # quanta
GROWTH: Final = 16


class Plas:
    name: ClassVar[str] = "plas"

    def plan(self, queue: tuple[Runnable, ...], *, slots: int, quantum: int) -> Plan:
        def key(entry: Runnable) -> tuple[int, bool, int, int]:
            service = entry.attained + PREFILL_COST * (entry.pending - 1)  # a long prompt is not short work either
            depth = level(entry, service, quantum=quantum, base=BASE * quantum, growth=GROWTH)
            return depth, entry.turn(quantum) != 0, entry.program, entry.queued

        return lowest(queue, slots, key)
