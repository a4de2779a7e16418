"""What the steps are recorded to have done, and how often things that cost are done."""

from __future__ import annotations

import time

import pytest
from loop_bench import Bench

from aios_kernel.core import EngineConfig, NoKvSlot
from aios_kernel.protocol import Pid, SlotUse, StepPhase
from aios_kernel.scheduler.pace import CHEAP_S, SHARE, Pace
from aios_kernel.scheduler.record import NUM_STEPS, RATE_S, Recorder
from aios_kernel.scheduler.view import Viewer, view_of
from aios_kernel.testing import FakeClock, ScriptedCore

PREFILL, DECODE = StepPhase.PREFILL, StepPhase.DECODE


def test_a_step_tells_whose_tokens_went_through_which_slot() -> None:
    clock = FakeClock()
    core = ScriptedCore(config=EngineConfig(slots=2, window=96), on_call=lambda *_: clock.advance(0.25))
    bench = Bench(core, slots=2, clock=clock)
    bench.submit(1, "x" * 47 + "\n", max_tokens=50)  # three pieces, of which a step feeds one: others wait for it
    bench.submit(2, "x", max_tokens=50)
    bench.step(3)
    first, second, third = bench.loop.recorder.steps
    assert first.uses == (SlotUse(0, 1, PREFILL, 16), SlotUse(1, 2, DECODE, 1))
    assert (first.step, first.took_ms, first.preempted) == (1, 500.0, ())
    assert [step.step for step in (first, second, third)] == [1, 2, 3]
    assert first.at < second.at < third.at
    fed = [use for step in bench.loop.recorder.steps for use in step.uses if use.phase is PREFILL]
    assert {use.pid for use in fed} == {1}
    assert view_of(bench.loop).stats.prefill_tok_per_s == sum(use.tokens for use in fed) / RATE_S
    clock.advance(RATE_S)
    assert view_of(bench.loop).stats.prefill_tok_per_s == 0


def test_pieces_of_one_prompt_are_one_use() -> None:
    bench = Bench(slots=1)
    bench.submit(1, "x" * 64, max_tokens=5)
    bench.step(1)
    assert bench.loop.recorder.steps[0].uses == (SlotUse(0, 1, PREFILL, 32),)


def test_a_step_tells_who_lost_the_slot() -> None:
    bench = Bench(slots=1)  # rr, a quantum of 4
    for pid in (1, 2):
        bench.submit(pid, "x", max_tokens=6)
    bench.finish()
    told = [(step.preempted, {use.pid for use in step.uses}) for step in bench.loop.recorder.steps if step.preempted]
    assert told == [((1,), {2}), ((2,), {1})]
    bench.submit(3, "x", max_tokens=6)
    bench.step(2)
    bench.loop.suspend(Pid(3))  # by a person, not by the plan
    bench.submit(4, "x", max_tokens=2)
    bench.step(1)
    assert bench.loop.recorder.steps[-1].preempted == ()


def test_what_a_failed_call_was_to_feed_is_not_recorded() -> None:
    bench = Bench(slots=1)
    bench.submit(1, "x" * 32, max_tokens=5)
    bench.core.fail_next = NoKvSlot("scripted")
    bench.step(1)
    assert bench.loop.recorder.steps[-1].uses == ()


def test_only_the_newest_steps_are_kept() -> None:
    recorder = Recorder()
    for step in range(1, NUM_STEPS + 11):
        recorder.begin()
        recorder.end(step, at=0.0, now=float(step), took_s=0.01, preempted=())
    assert [step.step for step in recorder.steps] == list(range(11, NUM_STEPS + 11))


def test_a_view_takes_over_what_has_not_changed() -> None:
    clock = FakeClock()
    bench = Bench(slots=1, clock=clock, policy="fifo")
    for pid in (1, 2, 3):
        bench.submit(pid, "x" * 20, max_tokens=50)
    bench.step(2)
    viewer = Viewer(bench.loop)
    before = viewer.view().usage
    bench.step(2)
    after = viewer.view().usage
    assert after[Pid(2)] is before[Pid(2)]
    assert after[Pid(1)] != before[Pid(1)]
    assert after[Pid(2)].wait_ms(clock.monotonic()) == pytest.approx(40.0)


def spend(pace: Pace, now: float, cpu_s: float) -> None:
    with pace.spend(now):
        end = time.thread_time() + cpu_s
        while time.thread_time() < end:
            pass


def test_what_costs_is_done_seldom() -> None:
    pace = Pace()
    spend(pace, 0.0, 4 * CHEAP_S)
    assert pace.due(0.0)  # once may have been chance
    spend(pace, 0.0, 4 * CHEAP_S)
    assert not pace.due(4 * CHEAP_S)
    assert not pace.due(3.9 * CHEAP_S / SHARE)
    assert pace.due(60.0)
    spend(pace, 60.0, 0.0)
    assert pace.due(60.0)
