"""Program-level least attained service: programs that have had little go first; one is an agent with its children.

Autellix (Luo et al. 2025): many short calls of a long program do not pass for short work. Programs are compared by
levels: a short request, an agent's run, what goes on and on. Within a level the oldest runs to its end: of programs of
one length that is the best there is, while taking turns would end them all last. The levels are far apart, so that
few programs meet the end of one on their way, where those behind overtake them.
"""

from __future__ import annotations

from typing import ClassVar, Final

from aios_kernel.scheduler.policy import PREFILL_COST, Plan, Runnable, level, lowest

BASE: Final = 2  # quanta: 64 tokens, at 32 a quantum; then 4,096
GROWTH: Final = 64  # agents of 2,400 tokens end after 152 s in the mean, with 16 after 176 s (compare.py in its tests)


class Plas:
    name: ClassVar[str] = "plas"

    def plan(self, queue: tuple[Runnable, ...], *, slots: int, quantum: int) -> Plan:
        def key(entry: Runnable) -> tuple[int, bool, int, int]:
            service = entry.attained + PREFILL_COST * (entry.pending - 1)  # a long prompt is not short work either
            depth = level(entry, service, quantum=quantum, base=BASE * quantum, growth=GROWTH)
            return depth, entry.turn(quantum) != 0, entry.program, entry.queued

        return lowest(queue, slots, key)
