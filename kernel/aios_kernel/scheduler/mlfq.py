"""Multi-level feedback queue: short generations first; one that goes on sinks, level by level, below those that begin.

A generation leaves level n at `quantum` * 2**n tokens; within a level the one that came first keeps its slot. Its
prompt counts beforehand, so that one with a long prompt joins at the level where it would soon be anyway (skip-join,
FastServe, Wu et al. 2023).
"""

from __future__ import annotations

from typing import ClassVar, Final

from aios_kernel.scheduler.policy import PREFILL_COST, Plan, Runnable, level, lowest

GROWTH: Final = 2


class Mlfq:
    name: ClassVar[str] = "mlfq"

    def plan(self, queue: tuple[Runnable, ...], *, slots: int, quantum: int) -> Plan:
        def key(entry: Runnable) -> tuple[int, bool, int]:
            service = PREFILL_COST * entry.prompt + entry.produced
            depth = level(entry, service, quantum=quantum, base=quantum, growth=GROWTH)
            return depth, entry.turn(quantum) != 0, entry.arrived

        return lowest(queue, slots, key)
