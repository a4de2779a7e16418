"""Service that programs have had, over all generations of all their processes; in decoded tokens."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from aios_kernel.protocol import Pid
from aios_kernel.scheduler.policy import Runnable

NICE_RATIO: Final = 1.25  # one nice value is worth this factor, as in Linux
MAX_OVER: Final = 1_024  # programs whose processes have all ended, of which the service is remembered


@dataclass(slots=True)
class Program:
    """A process that a person started, with all its descendants."""

    attained: float = 0.0
    counter: float = 0.0  # weighted service that others had to wait for
    members: set[Pid] = field(default_factory=set)  # living processes that have generated


class Ledger:
    """Counts for the policies `fair` and `plas`, whichever policy is on. Owner thread only."""

    def __init__(self) -> None:
        self._programs: dict[Pid, Program] = {}
        self._roots: dict[Pid, Pid] = {}  # of each process that has joined
        self._over: OrderedDict[Pid, None] = OrderedDict()  # programs without members, the first to end first

    def join(self, pid: Pid, root: Pid, others: Iterable[Runnable]) -> None:
        """`pid`, of the program that `root` began, wants to run from now on, beside `others`.

        A program of which nothing wanted to run may not have saved up for this.
        """
        self._roots[pid] = root
        program = self._programs.setdefault(root, Program())
        program.members.add(pid)
        self._over.pop(root, None)
        others = tuple(others)
        if all(other.program != root for other in others):
            program.counter = lifted(program.counter, others)

    def charge(self, pid: Pid, tokens: float, nice: int, *, contended: bool) -> None:
        """`pid` had so much service. contended: somebody waits; a slot that nobody else wants costs nothing."""
        program = self._of(pid)
        program.attained += tokens
        if contended:
            program.counter += tokens * NICE_RATIO**nice

    def counter(self, pid: Pid) -> float:
        """Of the program of `pid`."""
        return self._of(pid).counter

    def attained(self, pid: Pid) -> float:
        """By the program of `pid`."""
        return self._of(pid).attained

    def _of(self, pid: Pid) -> Program:
        return self._programs[self._roots[pid]]

    def release(self, pid: Pid) -> None:
        """The process has ended. A program without members is remembered for a while: a conversation may go on."""
        root = self._roots.pop(pid, pid)
        program = self._programs.get(root)
        if program is None or pid not in program.members:
            return
        program.members.discard(pid)
        if not program.members:
            self._over[root] = None
            if len(self._over) > MAX_OVER:
                oldest, _ = self._over.popitem(last=False)
                del self._programs[oldest]


def lifted(counter: float, others: Iterable[Runnable]) -> float:
    """The counter of a program that comes beside others: at least the smallest of those that wait.

    If nobody waits, nobody is behind, and the largest of those that run is the one it will take turns with.
    """
    running: list[float] = []
    waiting: list[float] = []
    for other in others:
        (running if other.holds_slot else waiting).append(other.counter)
    return max(counter, min(waiting, default=max(running, default=0.0)))
