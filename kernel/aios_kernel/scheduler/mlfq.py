"""Multi-level feedback queue: short generations first; one that goes on sinks, level by level, below those that begin.

A generation leaves level n after `quantum` * 2**n tokens there; within a level the slot is kept. Its prompt counts
beforehand, so that one with a long prompt joins at the level where it would soon be anyway (skip-join, FastServe,
Wu et al. 2023). One that has waited for long gets a quantum at the top.
"""

from __future__ import annotations

from typing import ClassVar, Final

from aios_kernel.scheduler.policy import PREFILL_COST, STARVING_S, Plan, Runnable, choose, level

LAST: Final = 4  # with a quantum of 32, for what is beyond 480 tokens; taken in turns there


class Mlfq:
    name: ClassVar[str] = "mlfq"
    preempts: ClassVar[bool] = True
    overtakes: ClassVar[bool] = True

    def plan(self, queue: tuple[Runnable, ...], *, slots: int, quantum: int) -> Plan:
        def rank(entry: Runnable) -> int:
            if entry.patience_s(quantum) >= STARVING_S:
                return 0
            return min(LAST, level(PREFILL_COST * entry.prompt + entry.produced, quantum))

        return choose(queue, slots, quantum=quantum << LAST, rank=rank)
