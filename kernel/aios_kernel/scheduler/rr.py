"""Round robin: after `quantum` tokens a process yields its slot, if another waits for one."""

from __future__ import annotations

from typing import ClassVar

from aios_kernel.scheduler.policy import Plan, Runnable


class RoundRobin:
    name: ClassVar[str] = "rr"
    preempts: ClassVar[bool] = True

    def plan(self, queue: tuple[Runnable, ...], *, slots: int, quantum: int) -> Plan:
        def turn(entry: Runnable) -> tuple[int, int]:
            """Holders within their quantum, then those that wait, then holders whose quantum is used up."""
            if not entry.holds_slot:
                return 1, entry.queued
            return (0 if entry.used < quantum else 2), entry.queued

        return Plan(tuple(entry.pid for entry in sorted(queue, key=turn)[:slots]))
