"""Policies without a model: generations are counts of tokens, a step costs what it is said to cost."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count

from aios_kernel.protocol import Pid, PolicyClass
from aios_kernel.scheduler.policies import make_policy
from aios_kernel.scheduler.policy import PREFILL_COST, Runnable
from aios_kernel.scheduler.service import Ledger

STEP_S = 0.01


@dataclass(frozen=True, slots=True)
class Costs:
    """What a machine needs."""

    step_s: Callable[[int], float]  # a decode step, by the number of sequences
    prefill_s: float  # a prompt's token
    swap_s: float  # a token of a context, each way
    chunk: int  # tokens of prefill in a step; two of them while most prefill


UNIT = Costs(lambda _: STEP_S, 0.0, 0.0, 1 << 30)
CPU = Costs(lambda batch: 0.009 + 0.036 / 7 * (batch - 1), 0.0037, 6e-6, 32)  # 2 cores, AVX2, the embedded model


@dataclass(slots=True, eq=False)
class Call:
    tokens: int
    prompt: int
    asked_at: float = 0.0
    arrived: int = 0
    queued: int = 0
    queued_at: float = 0.0
    waited_s: float = 0.0  # before the slot that it holds
    holds_slot: bool = False
    used: int = 0
    fed: int = 0
    produced: int = 0
    first_at: float | None = None  # when its first token was there


@dataclass(frozen=True, slots=True)
class Turn:
    """Of a program: so much to read, so much to say, so long a pause before it."""

    prompt: int
    tokens: int
    pause_s: float = 0.0


@dataclass(slots=True, eq=False)
class Proc:
    pid: Pid
    root: Pid
    nice: int
    policy_class: PolicyClass
    calls: deque[Call] = field(default_factory=deque)
    turns: deque[Turn] = field(default_factory=deque)  # still to come
    context: int = 0  # tokens
    started_at: float = 0.0
    done_at: float = 0.0


class Simulator:
    """Processes' calls, one after the other within a process, under one policy."""

    def __init__(self, policy: str, *, slots: int = 1, quantum: int = 8, costs: Costs = UNIT) -> None:
        self.policy = make_policy(policy)
        self.slots, self.quantum, self.costs = slots, quantum, costs
        self.procs: dict[Pid, Proc] = {}
        self.ledger = Ledger()
        self.now = 0.0
        self.service: Counter[int] = Counter()  # decoded tokens by process
        self.served: list[set[int]] = []  # who ran, by step
        self.finished: list[int] = []  # by process, in order
        self.ended: list[tuple[Pid, Call]] = []
        self.swaps = 0  # contexts brought in
        self._resident: list[Pid] = []  # whose context is in a slot, least recently used first
        self._count = count(1)
        self._later: list[tuple[float, int, Proc, Call]] = []  # calls that are yet to come

    def call(
        self,
        pid: int,
        tokens: int,
        *,
        prompt: int = 4,
        nice: int = 0,
        root: int | None = None,
        policy_class: PolicyClass = PolicyClass.NORMAL,
    ) -> None:
        proc = self.procs.setdefault(Pid(pid), Proc(Pid(pid), Pid(root or pid), nice, policy_class))
        self._ask(proc, Call(tokens, prompt))

    def program(self, pid: int, turns: Iterable[Turn], *, at: float = 0.0, root: int | None = None) -> None:
        """A process that begins at `at`; each turn follows the one before it."""
        proc = self.procs[Pid(pid)] = Proc(Pid(pid), Pid(root or pid), 0, PolicyClass.NORMAL, started_at=at)
        proc.turns.extend(turns)
        self._next_turn(proc, at)

    def _next_turn(self, proc: Proc, now: float) -> None:
        turn = proc.turns.popleft()
        heapq.heappush(self._later, (now + turn.pause_s, next(self._count), proc, Call(turn.tokens, turn.prompt)))

    def _ask(self, proc: Proc, call: Call) -> None:
        call.asked_at = self.now
        if not proc.calls:
            self.ledger.join(proc.pid, proc.root, self.queue())
        proc.calls.append(call)
        if len(proc.calls) == 1:
            self._begin(proc)

    def _begin(self, proc: Proc) -> None:
        proc.calls[0].arrived = next(self._count)
        self._line_up(proc.calls[0])

    def _line_up(self, call: Call) -> None:
        call.queued, call.queued_at, call.holds_slot, call.used = next(self._count), self.now, False, 0

    def queue(self) -> tuple[Runnable, ...]:
        return tuple(
            Runnable(
                pid=proc.pid,
                program=proc.root,
                arrived=call.arrived,
                queued=call.queued,
                nice=proc.nice,
                holds_slot=call.holds_slot,
                used=call.used,
                pending=max(1, call.prompt - call.fed),
                policy_class=proc.policy_class,
                waited_s=call.waited_s if call.holds_slot else self.now - call.queued_at,
                prompt=call.prompt,
                produced=call.produced,
                counter=self.ledger.counter(proc.pid),
                attained=self.ledger.attained(proc.pid),
            )
            for proc in self.procs.values()
            if proc.calls and (call := proc.calls[0])
        )

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self._step()

    def _step(self) -> None:
        while self._later and self._later[0][0] <= self.now:
            _, _, proc, call = heapq.heappop(self._later)
            self._ask(proc, call)
        queue = self.queue()
        if not queue and self._later:
            self.now = self._later[0][0]
            return
        run = self.policy.plan(queue, slots=self.slots, quantum=self.quantum).run
        self.served.append(set(run))
        for entry in queue:
            if entry.holds_slot and entry.pid not in run:
                self._line_up(self.procs[entry.pid].calls[0])
        running = [self.procs[pid] for pid in run]
        contended = len(run) < len(queue)
        took = self._swap(running) + self._prefill(running, contended)
        decoding = [proc for proc in running if proc.calls[0].fed >= proc.calls[0].prompt]
        self.now += took + (self.costs.step_s(len(decoding)) if decoding or not took else 0.0)
        for proc in decoding:
            self._decode(proc, contended)

    def _swap(self, running: list[Proc]) -> float:
        took = 0.0
        for proc in running:
            call = proc.calls[0]
            if not call.holds_slot:
                call.holds_slot, call.waited_s = True, self.now - call.queued_at
            if proc.pid in self._resident:
                self._resident.remove(proc.pid)
            else:
                self.swaps += 1
                took += self.costs.swap_s * proc.context
                if len(self._resident) == self.slots:
                    keep = {one.pid for one in running}
                    victim = next(pid for pid in self._resident if pid not in keep)
                    self._resident.remove(victim)
                    took += self.costs.swap_s * self.procs[victim].context
            self._resident.append(proc.pid)
        return took

    def _prefill(self, running: list[Proc], contended: bool) -> float:
        prefilling = [proc for proc in running if proc.calls[0].fed < proc.calls[0].prompt]
        budget = self.costs.chunk * (2 if 2 * len(prefilling) > len(running) else 1)
        took = 0.0
        for proc in prefilling:
            call = proc.calls[0]
            fed = min(budget, call.prompt - call.fed)
            budget -= fed
            call.fed += fed
            proc.context += fed
            took += fed * self.costs.prefill_s
            self.ledger.charge(proc.pid, PREFILL_COST * fed, proc.nice, contended=contended)
        return took

    def _decode(self, proc: Proc, contended: bool) -> None:
        call = proc.calls[0]
        self.ledger.charge(proc.pid, 1.0, proc.nice, contended=contended)
        if call.first_at is None:
            call.first_at = self.now
        call.used += 1
        call.produced += 1
        proc.context += 1
        self.service[proc.pid] += 1
        if call.produced == call.tokens:
            self.ended.append((proc.pid, proc.calls.popleft()))
            self.finished.append(proc.pid)
            proc.done_at = self.now
            if proc.calls:
                self._begin(proc)
            elif proc.turns:
                self._next_turn(proc, self.now)

    def drain(self, limit: int = 20_000) -> None:
        """Run until nobody wants anything."""
        for _ in range(limit):
            if not self._later and not any(proc.calls for proc in self.procs.values()):
                return
            self._step()
        raise AssertionError(f"not done after {limit} steps")

    def longest_wait(self, pid: int) -> int:
        """Steps in a row in which `pid` did not run."""
        longest = current = 0
        for served in self.served:
            current = 0 if pid in served else current + 1
            longest = max(longest, current)
        return longest
