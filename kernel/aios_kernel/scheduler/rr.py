"""Round robin: after `quantum` tokens a process yields its slot, if another waits for one."""

from __future__ import annotations

from typing import ClassVar

from aios_kernel.scheduler.policy import Plan, Runnable, lowest


class RoundRobin:
    name: ClassVar[str] = "rr"

    def plan(self, queue: tuple[Runnable, ...], *, slots: int, quantum: int) -> Plan:
        return lowest(queue, slots, lambda entry: (entry.turn(quantum), entry.queued))
