"""What a scheduling policy sees and what it answers. Policies are pure: no I/O, clock, logging or chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from aios_kernel.protocol import Pid


@dataclass(frozen=True, slots=True)
class Runnable:
    """A process whose generation could run in the next step."""

    pid: Pid
    arrived: int  # order in which the generations came; unique
    queued: int  # order in which they joined the run queue, anew after each preemption; unique
    nice: int
    holds_slot: bool  # it ran in the last step
    used: int  # tokens it produced since it got its slot
    pending: int  # tokens to be fed before it produces again


@dataclass(frozen=True, slots=True)
class Plan:
    """Who runs in the next step, at most as many as there are slots; earlier ones prefill first.

    Whoever holds a slot and is not in `run` is preempted.
    """

    run: tuple[Pid, ...]


class Policy(Protocol):
    name: ClassVar[str]
    preempts: ClassVar[bool]  # takes slots from processes that have used their quantum

    def plan(self, queue: tuple[Runnable, ...], *, slots: int, quantum: int) -> Plan:
        """Choose from `queue`, given in any order. quantum: tokens a process may produce while others wait."""
        ...
