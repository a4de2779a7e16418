"""Policies without a model: generations are counters of tokens, a step is 10 ms and gives each chosen one a token."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from aios_kernel.protocol import Pid
from aios_kernel.scheduler.policies import make_policy
from aios_kernel.scheduler.policy import PREFILL_COST, Runnable
from aios_kernel.scheduler.service import Ledger

STEP_S = 0.01


@dataclass(slots=True, eq=False)
class Call:
    tokens: int
    prompt: int
    arrived: int = 0
    queued: int = 0
    queued_at: float = 0.0
    waited_s: float = 0.0  # before the slot that it holds
    holds_slot: bool = False
    used: int = 0
    produced: int = 0


@dataclass(slots=True, eq=False)
class Proc:
    pid: Pid
    root: Pid
    nice: int
    calls: deque[Call] = field(default_factory=deque)


class Simulator:
    """Processes' calls, one after the other within a process, under one policy."""

    def __init__(self, policy: str, *, slots: int = 1, quantum: int = 8) -> None:
        self.policy = make_policy(policy)
        self.slots, self.quantum = slots, quantum
        self.procs: dict[Pid, Proc] = {}
        self.ledger = Ledger()
        self.now = 0.0
        self.service: Counter[int] = Counter()  # decoded tokens by process
        self.served: list[set[int]] = []  # who ran, by step
        self.finished: list[int] = []  # by process, in order
        self.swaps = 0
        self._count = 0

    def call(self, pid: int, tokens: int, *, prompt: int = 4, nice: int = 0, root: int | None = None) -> None:
        proc = self.procs.setdefault(Pid(pid), Proc(Pid(pid), Pid(root or pid), nice))
        if not proc.calls:
            self.ledger.join(proc.pid, proc.root, self.queue())
        proc.calls.append(Call(tokens, prompt))
        if len(proc.calls) == 1:
            self._begin(proc)

    def _begin(self, proc: Proc) -> None:
        proc.calls[0].arrived = self._next()
        self._line_up(proc.calls[0])

    def _line_up(self, call: Call) -> None:
        call.queued, call.queued_at, call.holds_slot, call.used = self._next(), self.now, False, 0

    def _next(self) -> int:
        self._count += 1
        return self._count

    def queue(self) -> tuple[Runnable, ...]:
        return tuple(
            Runnable(
                pid=proc.pid,
                arrived=call.arrived,
                queued=call.queued,
                nice=proc.nice,
                holds_slot=call.holds_slot,
                used=call.used,
                pending=1,
                waited_s=call.waited_s if call.holds_slot else self.now - call.queued_at,
                prompt=call.prompt,
                produced=call.produced,
                counter=self.ledger.counter(proc.pid),
                program=self.ledger.attained(proc.pid),
            )
            for proc in self.procs.values()
            if proc.calls and (call := proc.calls[0])
        )

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self._step()

    def _step(self) -> None:
        queue = self.queue()
        run = self.policy.plan(queue, slots=self.slots, quantum=self.quantum).run
        self.served.append(set(run))
        for entry in queue:
            if entry.holds_slot and entry.pid not in run:
                self._line_up(self.procs[entry.pid].calls[0])
        for pid in run:
            self._serve(self.procs[pid], contended=len(run) < len(queue))
        self.now += STEP_S

    def _serve(self, proc: Proc, *, contended: bool) -> None:
        call = proc.calls[0]
        if not call.holds_slot:
            call.holds_slot, call.waited_s = True, self.now - call.queued_at
            self.swaps += 1
        fed = 1.0 if call.produced else 1.0 + PREFILL_COST * call.prompt
        self.ledger.charge(proc.pid, fed, proc.nice, contended=contended)
        call.used += 1
        call.produced += 1
        self.service[proc.pid] += 1
        if call.produced == call.tokens:
            proc.calls.popleft()
            self.finished.append(proc.pid)
            if proc.calls:
                self._begin(proc)

    def drain(self, limit: int = 20_000) -> None:
        """Run until nobody wants anything."""
        for _ in range(limit):
            if not any(proc.calls for proc in self.procs.values()):
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
