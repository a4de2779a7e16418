"""Program-level least attained service: programs that have had little go first; one is an agent with its children.

Autellix (Luo et al. 2025): many short calls of a long program do not pass for short work. Service is compared by
levels, each twice as wide as the one before, so that programs of one age do not swap at every token. One that has
waited for long gets a quantum at the top.
"""

from __future__ import annotations

from typing import ClassVar

from aios_kernel.scheduler.policy import STARVING_S, Plan, Runnable, choose, level


class Plas:
    name: ClassVar[str] = "plas"
    preempts: ClassVar[bool] = True
    overtakes: ClassVar[bool] = True

    def plan(self, queue: tuple[Runnable, ...], *, slots: int, quantum: int) -> Plan:
        def rank(entry: Runnable) -> int:
            return 0 if entry.patience_s(quantum) >= STARVING_S else level(entry.program, quantum)

        return choose(queue, slots, quantum=quantum, rank=rank)
