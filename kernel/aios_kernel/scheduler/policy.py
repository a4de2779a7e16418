"""What a scheduling policy sees and what it answers. Policies are pure: no I/O, clock, logging or chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from aios_kernel.protocol import Pid

PREFILL_COST: Final = 0.25  # of a prompt's token, in decoded ones: 499 tokens/s against 116-130 on two cores
STARVING_S: Final = 10.0  # who has waited this long goes first, in policies that could pass it over for ever


@dataclass(frozen=True, slots=True)
class Runnable:
    """A process whose generation could run in the next step. Service is counted in decoded tokens."""

    pid: Pid
    arrived: int  # order in which the generations came; unique
    queued: int  # order in which they joined the run queue, anew after each preemption; unique
    nice: int
    holds_slot: bool  # it ran in the last step
    used: int  # tokens it produced since it got its slot; 0 while it waits
    pending: int  # tokens to be fed before it produces again
    waited_s: float = 0.0  # since it joined the run queue; of a holder: until it got its slot
    prompt: int = 0  # tokens of its prompt that its context did not already hold
    produced: int = 0  # tokens of this generation
    counter: float = 0.0  # what the process owes the others, see service.py
    program: float = 0.0  # service that its program has attained: it, its ancestors and all their descendants

    def patience_s(self, quantum: int) -> float:
        """Its wait, which it has been repaid for once it has run a quantum."""
        return self.waited_s if self.used < quantum else 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Who runs in the next step, at most as many as there are slots; earlier ones prefill first.

    Whoever holds a slot and is not in `run` is preempted.
    """

    run: tuple[Pid, ...]


class Policy(Protocol):
    name: ClassVar[str]
    preempts: ClassVar[bool]  # takes slots from processes that have used their quantum
    overtakes: ClassVar[bool]  # who comes later may run earlier: nobody can say when a waiting one's turn is

    def plan(self, queue: tuple[Runnable, ...], *, slots: int, quantum: int) -> Plan:
        """Choose from `queue`, given in any order. quantum: tokens a process may produce while others wait."""
        ...


def choose(
    queue: tuple[Runnable, ...], slots: int, *, quantum: int, rank: Callable[[Runnable], float], margin: float = 0.0
) -> Plan:
    """Those of the lowest rank.

    A holder within its quantum gives way only to a rank that is lower by more than `margin`: a swap costs as much as
    a few tokens. Of equals, a holder whose quantum is used up comes last.
    """

    def place(entry: Runnable) -> tuple[float, int, int]:
        if not entry.holds_slot:
            return rank(entry), 1, entry.queued
        if entry.used < quantum:
            return rank(entry) - margin, 0, entry.queued
        return rank(entry), 2, entry.queued

    return Plan(tuple(entry.pid for entry in sorted(queue, key=place)[:slots]))


def level(service: float, quantum: int) -> int:
    """The level of one that has attained this much: it leaves level n after 2**n quanta there."""
    return (int(service) // quantum + 1).bit_length() - 1
