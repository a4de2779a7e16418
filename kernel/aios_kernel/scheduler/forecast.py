"""When who gets a slot, and whom it lets go first: the future, played with the policy itself.

Coarse, so that it takes milliseconds: those that run go on together until one of them ends, has used up its quantum
or has its prompt fed. Everyone produces what it will likely produce and asks again as often and as soon as processes
do, and others come as they have lately come: without them, policies that let them overtake are foreseen too early.
"""

from __future__ import annotations

import copy
import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Final

from aios_kernel.protocol import Pid
from aios_kernel.scheduler.classes import ByClass
from aios_kernel.scheduler.experience import Costs, Habits
from aios_kernel.scheduler.policy import PREFILL_COST, Runnable
from aios_kernel.scheduler.service import NICE_RATIO, lifted

MAX_WORK: Final = 5_000  # entries in all plans together: about 10 ms
NOBODY: Final = 1 << 40  # pids from here on are of those that nobody knows yet


@dataclass(frozen=True, slots=True)
class Prospect:
    """One that runs or waits."""

    entry: Runnable
    max_tokens: int  # of its generation
    room: int = 1 << 20  # tokens that its window has left
    adoptable: int = 0  # of its pending tokens: those that it takes over from others when it gets a slot


@dataclass(frozen=True, slots=True)
class Machine:
    """What they run on. budget: prompt tokens that a step feeds, by how many prefill and how many run."""

    policy: ByClass
    slots: int
    quantum: int
    costs: Costs
    habits: Habits
    budget: Callable[[int, int], int]
    newcomers_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """Of one that waits."""

    in_s: float | None  # until it gets a slot; None: too far ahead, or it is not known yet how long anything takes
    behind: tuple[Pid, ...]  # who runs before it, in the order in which they do


def foresee(prospects: Iterable[Prospect], machine: Machine) -> dict[Pid, Forecast]:
    """For each that waits, in the order in which they get slots; within a bounded amount of work."""
    future = _Future(prospects, machine)
    waiting = {entry.pid for entry in future.queue if not entry.holds_slot}
    found: dict[Pid, Forecast] = {}
    ran: dict[Pid, None] = {}  # in order
    work = 0
    while waiting and work < MAX_WORK:
        work += len(future.queue)
        run = machine.policy.plan(tuple(future.queue), slots=machine.slots, quantum=machine.quantum).run
        for pid in run:
            if pid in waiting:
                found[pid] = Forecast(future.now_s if machine.costs.known else None, _known(ran))
        waiting.difference_update(run)
        ran.update(dict.fromkeys(run))
        future.play(frozenset(run))
    late = [entry.pid for entry in future.queue if entry.pid in waiting]
    return found | {pid: Forecast(None, _known(ran)) for pid in late}


def _known(pids: Iterable[Pid]) -> tuple[Pid, ...]:
    return tuple(pid for pid in pids if pid < NOBODY)


class _Future:
    """How things stand, `now_s` from now."""

    def __init__(self, prospects: Iterable[Prospect], machine: Machine) -> None:
        self.now_s = 0.0
        self.queue: list[Runnable] = []
        self._machine = machine
        self._max_tokens: dict[Pid, int] = {}
        self._left: dict[Pid, int] = {}  # tokens that it will yet produce
        self._adoptable: dict[Pid, int] = {}
        for prospect in prospects:
            entry = copy.copy(prospect.entry)
            self._max_tokens[entry.pid], self._adoptable[entry.pid] = prospect.max_tokens, prospect.adoptable
            self._add(entry)
            self._left[entry.pid] = min(self._left[entry.pid], prospect.room)
        self._places = count(1 + max((max(entry.arrived, entry.queued) for entry in self.queue), default=0))
        self._returns = 0.5  # of those that have ended, rounded: who is due to ask again
        self._away: list[tuple[float, Pid, Runnable]] = []  # a heap: who asks again when
        self._num_newcomers = 0

    def _add(self, entry: Runnable) -> None:
        left = self._machine.habits.left(entry.program, self._max_tokens[entry.pid], entry.produced)
        self._left[entry.pid] = max(1, round(left))
        self.queue.append(entry)

    def play(self, run: frozenset[Pid]) -> None:
        """Let those have the slots and go on until a plan could be another one."""
        running = [entry for entry in self.queue if entry.pid in run]
        for entry in running:
            adopted = self._adoptable.pop(entry.pid, 0)
            entry.pending, entry.prompt = entry.pending - adopted, entry.prompt - adopted
        decoding = [entry for entry in running if entry.pending <= 1]
        prefilling = sorted((entry for entry in running if entry.pending > 1), key=lambda entry: entry.pending)
        budget = self._machine.budget(len(prefilling), len(running))
        steps = self._steps(decoding, prefilling, budget)
        fed = dict(_shares(prefilling, steps * budget))
        costs = self._machine.costs
        took_s = steps * costs.step_s(len(decoding)) + sum(fed.values()) * costs.prefill_s
        self._pass(run, took_s)
        self._charge(running, fed, steps)
        for entry in prefilling:
            entry.pending -= fed[entry.pid]
        for entry in decoding:
            entry.used += steps
            entry.produced += steps
            self._left[entry.pid] -= steps
            if self._left[entry.pid] <= 0:
                self._end(entry)
        self.queue = [entry for entry in self.queue if self._left[entry.pid] > 0]
        self._admit()

    def _steps(self, decoding: list[Runnable], prefilling: list[Runnable], budget: int) -> int:
        """Until the first of them ends, has used up its quantum, or has its prompt fed."""
        quantum = self._machine.quantum
        ends = [min(self._left[entry.pid], quantum - entry.used % quantum) for entry in decoding]
        ends += [math.ceil((entry.pending - 1) / budget) for entry in prefilling[:1]]
        return min(ends)

    def _pass(self, run: frozenset[Pid], took_s: float) -> None:
        self.now_s += took_s
        for entry in self.queue:
            if entry.pid in run:
                entry.holds_slot = True
            elif entry.holds_slot:
                entry.holds_slot, entry.used, entry.queued, entry.waited_s = False, 0, next(self._places), took_s
            else:
                entry.waited_s += took_s

    def _charge(self, running: list[Runnable], fed: dict[Pid, int], steps: int) -> None:
        """As service.Ledger does."""
        attained: defaultdict[Pid, float] = defaultdict(float)
        owed: defaultdict[Pid, float] = defaultdict(float)
        for entry in running:
            service = PREFILL_COST * fed[entry.pid] if entry.pid in fed else steps
            attained[entry.program] += service
            if len(running) < len(self.queue):
                owed[entry.program] += service * NICE_RATIO**entry.nice
        for entry in self.queue:
            entry.attained += attained[entry.program]
            entry.counter += owed[entry.program]

    def _end(self, entry: Runnable) -> None:
        self._returns += self._machine.habits.again
        if self._returns >= 1:
            self._returns -= 1
            heapq.heappush(self._away, (self.now_s + self._machine.habits.pause_s, entry.pid, entry))

    def _admit(self) -> None:
        """Those who ask again, and those who come for the first time."""
        while self._away and self._away[0][0] <= self.now_s:
            self._ask(heapq.heappop(self._away)[2])
        while self._num_newcomers < self._machine.newcomers_per_s * self.now_s - 0.5:
            self._num_newcomers += 1
            pid = Pid(NOBODY + self._num_newcomers)
            self._max_tokens[pid] = max(self._max_tokens.values())
            self._ask(Runnable(pid, pid, 0, 0, 0, holds_slot=False, used=0, pending=0))

    def _ask(self, entry: Runnable) -> None:
        prompt = round(self._machine.habits.prompt)
        mates = [other for other in self.queue if other.program == entry.program]
        entry.counter = mates[0].counter if mates else lifted(entry.counter, self.queue)
        entry.attained = max(other.attained for other in (entry, *mates))
        entry.arrived = entry.queued = next(self._places)
        entry.holds_slot, entry.used, entry.produced, entry.waited_s = False, 0, 0, 0.0
        entry.prompt, entry.pending = prompt, prompt + 1
        self._add(entry)


def _shares(prefilling: list[Runnable], tokens: int) -> Iterable[tuple[Pid, int]]:
    """Who is fed how many of so many tokens: the shortest first, as the feeder does."""
    for entry in prefilling:
        fed = min(tokens, entry.pending - 1)
        tokens -= fed
        yield entry.pid, fed
