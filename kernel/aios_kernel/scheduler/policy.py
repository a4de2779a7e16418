"""What a scheduling policy sees and what it answers. Policies are pure: no I/O, clock, logging or chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from aios_kernel.protocol import Pid, PolicyClass

PREFILL_COST: Final = 0.5  # of a prompt's token, in decoded ones: 3.7 ms against 5.6 (of 8) to 9 (alone), 2 cores
STARVING_S: Final = 30.0  # of waiting, where others may pass one by for ever; at 10 s, 24 programs keep swapping


@dataclass(slots=True)
class Runnable:
    """A process whose generation could run in the next step. Service is counted in decoded tokens.

    Policies only read it; a forecast moves its own copies on.
    """

    pid: Pid
    program: Pid  # the process that a person started and that this one descends from, or itself
    arrived: int  # order in which the generations came; unique
    queued: int  # order in which they joined the run queue, anew after each preemption; unique
    nice: int
    holds_slot: bool  # it ran in the last step
    used: int  # tokens it produced since it got its slot; 0 while it waits
    pending: int  # tokens to be fed before it produces again
    policy_class: PolicyClass = PolicyClass.NORMAL
    waited_s: float = 0.0  # since it joined the run queue; of a holder: until it got its slot
    prompt: int = 0  # tokens of its prompt that its context did not already hold
    produced: int = 0  # tokens of this generation
    counter: float = 0.0  # what its program owes the others, see service.py
    attained: float = 0.0  # service that its program has had

    def patience_s(self, quantum: int) -> float:
        """Its wait, which it has been repaid for once it has run a quantum."""
        return self.waited_s if self.used < quantum else 0.0

    def turn(self, quantum: int) -> int:
        """0: it holds its slot by right, 1: it waits, 2: its quantum is used up."""
        if not self.holds_slot:
            return 1
        return 0 if self.used < quantum else 2


@dataclass(frozen=True, slots=True)
class Plan:
    """Who runs in the next step, at most as many as there are slots; earlier ones prefill first.

    Whoever holds a slot and is not in `run` is preempted.
    """

    run: tuple[Pid, ...]


class Policy(Protocol):
    name: ClassVar[str]

    def plan(self, queue: tuple[Runnable, ...], *, slots: int, quantum: int) -> Plan:
        """Choose from `queue`, given in any order. quantum: tokens a process may produce while others wait."""
        ...


def lowest(queue: tuple[Runnable, ...], slots: int, key: Callable[[Runnable], tuple[float, ...]]) -> Plan:
    """Those with the lowest keys, which must differ."""
    return Plan(tuple(entry.pid for entry in sorted(queue, key=key)[:slots]))


def level(entry: Runnable, service: float, *, quantum: int, base: int, growth: int) -> int:
    """The level of one that has had so much service: level n ends at `base` * `growth`**n, 0 is the best.

    Waiting lifts it by a level for each STARVING_S, for one quantum: nobody is passed by for ever.
    """
    depth, end = 0, base
    while service >= end:
        depth, end = depth + 1, end * growth
    return max(0, depth - int(entry.patience_s(quantum) / STARVING_S))
