"""First in, first out: a generation keeps its slot until it ends."""

from __future__ import annotations

from typing import ClassVar

from aios_kernel.scheduler.policy import Plan, Runnable


class Fifo:
    name: ClassVar[str] = "fifo"
    preempts: ClassVar[bool] = False
    overtakes: ClassVar[bool] = False

    def plan(self, queue: tuple[Runnable, ...], *, slots: int, quantum: int) -> Plan:  # noqa: ARG002 - the protocol's
        first = sorted(queue, key=lambda entry: entry.arrived)[:slots]
        return Plan(tuple(entry.pid for entry in first))
