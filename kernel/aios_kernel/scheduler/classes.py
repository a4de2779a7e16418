"""Policy classes: one that is higher goes first, whatever the policy does within each."""

from __future__ import annotations

from typing import Final

from aios_kernel.protocol import Pid, PolicyClass
from aios_kernel.scheduler.policy import STARVING_S, Plan, Policy, Runnable

HIGHEST_FIRST: Final = (PolicyClass.INTERACTIVE, PolicyClass.NORMAL, PolicyClass.IDLE)


class ByClass:
    """A policy over the classes: the slots that a class leaves go to the next one.

    While classes compete, whoever has waited for long gets a quantum in one slot, one process after the other: no
    class starves, and what that costs the higher ones is bounded.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    @property
    def name(self) -> str:
        return self._policy.name

    def plan(self, queue: tuple[Runnable, ...], *, slots: int, quantum: int) -> Plan:
        """As Policy.plan."""
        if len({entry.policy_class for entry in queue}) <= 1:
            return self._policy.plan(queue, slots=slots, quantum=quantum)
        run = self._by_class(queue, slots, quantum)
        starving = [entry for entry in queue if entry.patience_s(quantum) >= STARVING_S]
        if not starving:
            return Plan(run)
        first = max(starving, key=lambda entry: (entry.holds_slot, entry.pid not in run, entry.waited_s, -entry.queued))
        if first.pid in run:
            return Plan(run)
        others = tuple(entry for entry in queue if entry is not first)
        return Plan((first.pid, *self._by_class(others, slots - 1, quantum)))

    def _by_class(self, queue: tuple[Runnable, ...], slots: int, quantum: int) -> tuple[Pid, ...]:
        run: tuple[Pid, ...] = ()
        for policy_class in HIGHEST_FIRST:
            members = tuple(entry for entry in queue if entry.policy_class is policy_class)
            if members:
                run += self._policy.plan(members, slots=slots - len(run), quantum=quantum).run
        return run
