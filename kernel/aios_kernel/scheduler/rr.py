"""Round robin: after `quantum` tokens a process yields its slot, if another waits for one."""

from __future__ import annotations

from typing import ClassVar

from aios_kernel.scheduler.policy import Plan, Runnable, choose


class RoundRobin:
    name: ClassVar[str] = "rr"
    preempts: ClassVar[bool] = True
    overtakes: ClassVar[bool] = False

    def plan(self, queue: tuple[Runnable, ...], *, slots: int, quantum: int) -> Plan:
        return choose(queue, slots, quantum=quantum, rank=lambda _: 0)
