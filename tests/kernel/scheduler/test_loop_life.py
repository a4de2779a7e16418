"""Arrivals, suspensions, failures and ends in any order."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from loop_bench import Bench, alone

from aios_kernel.core import CoreError, DecodeAborted, DecodeFailed, NoKvSlot
from aios_kernel.errors import InvalidState
from aios_kernel.protocol import Pid
from aios_kernel.scheduler.policies import POLICIES
from aios_kernel.scheduler.request import JobId
from aios_kernel.scheduler.view import Viewer, view_of

PIDS = st.integers(1, 5)


class Life(RuleBasedStateMachine):
    """Arrivals, steps, suspensions, failures and ends in any order: nobody's text ever differs."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(slots=2, ram_bytes=300)
        self.viewer = Viewer(self.bench.loop)
        self.prompts: dict[JobId, str] = {}
        self.stopped: set[int] = set()
        self.current = {pid: pid for pid in range(1, 6)}  # pids are never used again
        self.kept: list[int] = []

    @rule(pid=PIDS, length=st.integers(1, 60), max_tokens=st.integers(1, 20))
    def submit(self, pid: int, length: int, max_tokens: int) -> None:
        prompt = "p" * length
        self.prompts[self.bench.submit(self.current[pid], prompt, max_tokens=max_tokens)] = prompt

    @rule(count=st.integers(1, 12))
    def step(self, count: int) -> None:
        self.bench.step(count)

    @rule(pid=PIDS)
    def suspend(self, pid: int) -> None:
        self.bench.loop.suspend(Pid(self.current[pid]))
        self.stopped.add(self.current[pid])

    @rule(pid=PIDS)
    def resume(self, pid: int) -> None:
        self.bench.loop.resume(Pid(self.current[pid]))
        self.stopped.discard(self.current[pid])

    @rule(pid=PIDS, keep=st.booleans())
    def release(self, pid: int, keep: bool) -> None:
        ended = self.current[pid]
        self.bench.loop.release(Pid(ended), keep=keep)
        self.stopped.discard(ended)
        self.current[pid] += 5
        if keep:
            self.kept.append(ended)

    @precondition(lambda self: self.kept)
    @rule(pid=PIDS, which=st.integers(0, 50), again=st.booleans())
    def inherit(self, pid: int, which: int, again: bool) -> None:
        """again: nobody took it off the list, so that what is gone is asked for too."""
        former = self.kept[which % len(self.kept)]
        if not again:
            self.kept.remove(former)
        with suppress(InvalidState):
            self.bench.loop.inherit(Pid(self.current[pid]), Pid(former))

    @precondition(lambda self: self.kept)
    @rule()
    def forget(self) -> None:
        self.bench.loop.release(Pid(self.kept.pop(0)))

    @rule(which=st.integers(0, 50))
    def cancel(self, which: int) -> None:
        self.bench.loop.cancel(JobId(which))

    @rule(failure=st.sampled_from([NoKvSlot, DecodeAborted, DecodeFailed]))
    def fail(self, failure: type[CoreError]) -> None:
        self.bench.core.fail_next = failure("scripted")

    @rule(name=st.sampled_from(sorted(POLICIES)), quantum=st.integers(1, 9))
    def set_policy(self, name: str, quantum: int) -> None:
        self.bench.loop.set_policy(name, quantum)

    @invariant()
    def the_world_adds_up(self) -> None:
        self.bench.loop.check_invariants()
        assert self.viewer.view().usage == view_of(self.bench.loop).usage

    @invariant()
    def texts_are_right(self) -> None:
        self.bench.collect()
        for event in self.bench.events:
            if event.done is not None and event.job is not None:
                expected = alone(self.prompts[event.job], len(event.done.tokens)) if event.done.tokens else None
                assert (expected.text if expected else "") == event.done.text
        self.bench.events.clear()

    def teardown(self) -> None:
        for pid in self.stopped:
            self.bench.loop.resume(Pid(pid))
        self.bench.core.fail_next = None
        self.bench.finish()
        self.texts_are_right()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
