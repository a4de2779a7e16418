"""Service that processes and their programs have had, over all their generations; in decoded tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from aios_kernel.protocol import Pid
from aios_kernel.scheduler.policy import Runnable

NICE_RATIO: Final = 1.25  # one nice value is worth this factor, as in Linux


@dataclass(slots=True)
class Program:
    """A process that a person started, with all its descendants."""

    attained: float = 0.0
    members: set[Pid] = field(default_factory=set)  # those that still count: the first one, and who generated


@dataclass(slots=True)
class Account:
    root: Pid
    counter: float = 0.0  # weighted service that others had to wait for


class Ledger:
    """Counts for the policies `fair` and `plas`, whichever policy is on. Owner thread only."""

    def __init__(self) -> None:
        self._accounts: dict[Pid, Account] = {}
        self._programs: dict[Pid, Program] = {}

    def join(self, pid: Pid, root: Pid, others: Iterable[Runnable]) -> None:
        """`pid`, of the program that `root` started, wants to run from now on, beside `others`.

        It may not save up for this: its counter is lifted to the smallest of those that wait. If nobody waits,
        nobody is behind, and the largest of those that run is the one it will take turns with.
        """
        account = self._accounts.setdefault(pid, Account(root))
        account.root = root
        self._programs.setdefault(root, Program()).members.update((root, pid))
        running: list[float] = []
        waiting: list[float] = []
        for other in others:
            (running if other.holds_slot else waiting).append(other.counter)
        account.counter = max(account.counter, min(waiting, default=max(running, default=0.0)))

    def charge(self, pid: Pid, tokens: float, nice: int, *, contended: bool) -> None:
        """`pid` had so much service. contended: somebody waits; a slot that nobody else wants costs nothing."""
        account = self._accounts[pid]
        self._programs[account.root].attained += tokens
        if contended:
            account.counter += tokens * NICE_RATIO**nice

    def counter(self, pid: Pid) -> float:
        return self._accounts[pid].counter

    def attained(self, pid: Pid) -> float:
        """By the whole program of `pid`."""
        return self._programs[self._accounts[pid].root].attained

    def release(self, pid: Pid) -> None:
        """The process has ended. Its program is forgotten with the last of its members."""
        account = self._accounts.pop(pid, None)
        root = account.root if account else pid
        program = self._programs.get(root)
        if program is not None:
            program.members.discard(pid)
            if not program.members:
                del self._programs[root]
