"""First in, first out: a generation keeps its slot until it ends."""

from __future__ import annotations

from typing import ClassVar

from aios_kernel.scheduler.policy import Plan, Runnable, lowest


class Fifo:
    name: ClassVar[str] = "fifo"

    def plan(self, queue: tuple[Runnable, ...], *, slots: int, quantum: int) -> Plan:  # noqa: ARG002 - the protocol's
        return lowest(queue, slots, lambda entry: (entry.arrived,))
