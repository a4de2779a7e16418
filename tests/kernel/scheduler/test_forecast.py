"""What is told of the future, against what comes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulator import STEP_S, Simulator
from steady import SteadyLoad

from aios_kernel.protocol import Pid
from aios_kernel.scheduler import forecast
from aios_kernel.scheduler.experience import MIN_SAMPLES, WINDOW_S, Costs, Habits
from aios_kernel.scheduler.forecast import Machine, Prospect, foresee
from aios_kernel.scheduler.policies import POLICIES, make_policy
from aios_kernel.scheduler.policy import Runnable

QUANTUM = 8
STEP_COSTS = Costs(decode_s={1: STEP_S, 8: STEP_S})


def machine(policy: str, *, slots: int = 1, costs: Costs = STEP_COSTS) -> Machine:
    return Machine(make_policy(policy), slots, QUANTUM, costs, Habits(), budget=lambda *_: 1 << 20)


def prospects(world: Simulator) -> list[Prospect]:
    """With the lengths known."""
    return [Prospect(entry, world.procs[entry.pid].calls[0].tokens) for entry in world.queue()]


def test_fifo_waits_for_the_end_of_those_before_and_rr_for_a_quantum() -> None:
    for policy, waits in (("fifo", (18, 38)), ("rr", (6, 14))):
        world = Simulator(policy, quantum=QUANTUM)
        for pid in (1, 2, 3):
            world.call(pid, 20, prompt=0)
        world.step(2)
        told = foresee(prospects(world), machine(policy))
        assert {pid: one.behind for pid, one in told.items()} == {2: (1,), 3: (1, 2)}
        assert [pytest.approx(steps * STEP_S) for steps in waits] == [one.in_s for one in told.values()]


calls = st.tuples(st.integers(1, 6), st.integers(1, 60), st.integers(-3, 3))  # pid, tokens, nice


@pytest.mark.parametrize("policy", sorted(POLICIES))
@settings(max_examples=25, deadline=None)
@given(first=st.lists(calls, min_size=1, max_size=6, unique_by=lambda call: call[0]), ran=st.integers(0, 40))
def test_what_is_told_comes_to_pass_when_nobody_else_comes(
    policy: str, first: list[tuple[int, int, int]], ran: int
) -> None:
    """Give or take the quantum that a forecast moves on by."""
    world = Simulator(policy, slots=2, quantum=QUANTUM)
    for pid, tokens, nice in first:
        world.call(pid, tokens, prompt=0, nice=nice, root=pid % 3 + 1)
    world.step(ran)
    told, begun = foresee(prospects(world), machine(policy, slots=2)), len(world.served)
    world.drain()
    for pid, one in told.items():
        steps = next(step for step, served in enumerate(world.served[begun:]) if pid in served)
        assert one.in_s == pytest.approx(steps * STEP_S, abs=QUANTUM * STEP_S)


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_under_a_steady_load_the_median_error_is_small(policy: str) -> None:
    """24 programs of four turns over 4 slots, as one ends another begins."""
    load = SteadyLoad(policy)
    load.run(30)
    load.loop.eta_errors.clear()
    load.run(60)
    assert len(load.loop.eta_errors) > 30
    assert load.eta_error is not None
    assert load.eta_error <= 0.3


def waiting(count: int) -> list[Prospect]:
    entries = (Runnable(Pid(n), Pid(n), n, n, 0, holds_slot=False, used=0, pending=1) for n in range(1, count + 1))
    return [Prospect(entry, 100) for entry in entries]


def test_the_work_is_bounded_and_what_is_too_far_ahead_is_not_told() -> None:
    planned = 0

    @dataclass
    class Counting:
        name: str = "fifo"

        def plan(self, queue, *, slots, quantum):  # type: ignore[no-untyped-def]
            nonlocal planned
            planned += len(queue)
            return make_policy("fifo").plan(queue, slots=slots, quantum=quantum)

    told = foresee(waiting(300), replace(machine("fifo"), policy=Counting()))  # type: ignore[arg-type]
    assert planned <= forecast.MAX_WORK + 300
    assert list(told) == list(range(1, 301))
    assert told[Pid(2)].in_s is not None
    assert told[Pid(300)].in_s is None


def test_nothing_is_told_before_anything_was_measured() -> None:
    told = foresee(waiting(3), machine("fifo", costs=Costs()))
    assert [(one.in_s, one.behind) for one in told.values()] == [(None, ()), (None, (1,)), (None, (1, 2))]


def test_what_others_have_of_a_prompt_is_not_waited_for() -> None:
    entries = [prospect.entry for prospect in waiting(2)]
    for entry in entries:
        entry.pending = 501
    costs = Costs(decode_s={1: STEP_S}, prefill_s=0.01)
    slow, fast = (
        foresee([Prospect(entries[0], 1, adoptable=adoptable), Prospect(entries[1], 1)], machine("fifo", costs=costs))
        for adoptable in (0, 400)
    )
    assert slow[Pid(2)].in_s == pytest.approx(5 + STEP_S)
    assert fast[Pid(2)].in_s == pytest.approx(1 + STEP_S)


def test_who_asks_again_before_another_had_its_turn_goes_first_if_it_has_had_less() -> None:
    queue = [
        Runnable(Pid(1), Pid(1), 1, 1, 0, holds_slot=True, used=0, pending=1),
        Runnable(Pid(2), Pid(2), 2, 2, 0, holds_slot=False, used=0, pending=1),
        Runnable(Pid(3), Pid(3), 3, 3, 0, holds_slot=False, used=0, pending=1, attained=10_000),
    ]
    leaves, returns = Habits(), Habits().asked(0.01, 0.0)
    told = [
        foresee([Prospect(entry, 4) for entry in queue], replace(machine("plas"), habits=habits))[Pid(3)].in_s
        for habits in (leaves, returns)
    ]
    assert told[0] == pytest.approx(8 * STEP_S)
    assert told[1] > told[0]  # type: ignore[operator] # neither is None: the first would not be equal


# --- experience


def test_the_cost_of_a_step_is_read_off_the_line_between_those_that_were_seen() -> None:
    costs = Costs()
    assert (costs.known, costs.step_s(3)) == (False, 0.0)
    for batch, took in ((2, 0.02), (6, 0.04)):
        costs = costs.decoded(batch, took)
    assert [pytest.approx(s) for s in (0.02, 0.03, 0.04)] == [costs.step_s(batch) for batch in (2, 4, 6)]
    assert costs.step_s(1) < costs.step_s(2) < costs.step_s(6) < costs.step_s(8)
    assert costs.stepped(0.001).step_s(2) == pytest.approx(0.021)


def test_a_mean_follows_what_happens_lately() -> None:
    costs = Costs()
    for _ in range(50):
        costs = costs.decoded(1, 0.01).prefilled(10, 0.1)
    for _ in range(50):
        costs = costs.decoded(1, 0.05).prefilled(10, 0.2)
    assert costs.decode_s[1] == pytest.approx(0.05, rel=0.05)
    assert costs.prefill_s == pytest.approx(0.02, rel=0.05)


def test_a_length_is_foreseen_by_the_most_telling_kind_that_is_known() -> None:
    habits = Habits()
    assert habits.left(Pid(1), 100, 10) == 90
    for _ in range(MIN_SAMPLES):
        habits = habits.finished(Pid(1), 100, 20).finished(Pid(2), 50, 40).finished(Pid(3), 100, 60)
    assert habits.left(Pid(1), 100, 0) == 20, "of this program"
    assert habits.left(Pid(9), 50, 0) == 40, "of those with this limit"
    assert habits.left(Pid(9), 70, 0) == 40, "of all: 20, 40 and 60"
    assert habits.left(Pid(9), 100, 20) == 40, "of those with this limit, the ones that came as far"
    assert habits.left(Pid(1), 100, 25) == 25, "longer than its program's ever were: in its middle"


@given(lengths=st.lists(st.integers(1, 500), max_size=60), most=st.integers(1, 500), data=st.data())
def test_what_is_left_is_never_more_than_may_be(lengths: list[int], most: int, data: st.DataObject) -> None:
    habits = Habits()
    for length in lengths:
        habits = habits.finished(Pid(1), most, length)
    produced = data.draw(st.integers(0, most - 1))
    assert 0 <= habits.left(Pid(1), most, produced) <= most - produced


def test_a_crowd_says_little_about_later_and_a_stream_says_much() -> None:
    crowd = stream = Habits()
    for n in range(30):
        crowd, stream = crowd.asked(100 + n / 100, None), stream.asked(100.0 + n, 10.0)
    assert crowd.newcomers_per_s(131) < 0.1
    assert stream.newcomers_per_s(130) > 1
    assert stream.again == 0, "90 s later it is a newcomer"
    assert stream.newcomers_per_s(131 + WINDOW_S) == 0
