from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios_kernel.errors import BadRequest
from aios_kernel.protocol import Pid, PolicyClass
from aios_kernel.scheduler.policies import POLICIES, make_policy
from aios_kernel.scheduler.policy import Runnable


@st.composite
def queues(draw: st.DrawFn, classes: Sequence[PolicyClass] = tuple(PolicyClass)) -> tuple[tuple[Runnable, ...], int]:
    """(run queue, slots), with at most that many holders."""
    slots = draw(st.integers(1, 6))
    count = draw(st.integers(0, 12))
    places = draw(st.permutations(range(count)))
    holders = set(draw(st.permutations(range(count)))[: draw(st.integers(0, slots))])
    queue = [
        Runnable(
            pid=Pid(i + 1),
            program=Pid(draw(st.integers(1, 4))),
            arrived=i,
            queued=places[i],
            nice=draw(st.integers(-20, 19)),
            holds_slot=i in holders,
            used=draw(st.integers(0, 10)) if i in holders else 0,
            pending=draw(st.sampled_from([1, 1, 500])),
            policy_class=draw(st.sampled_from(classes)),
            waited_s=draw(st.sampled_from([0.0, 0.5, 29.0, 31.0, 70.0])),
            prompt=draw(st.integers(0, 4000)),
            produced=draw(st.integers(0, 1000)),
            counter=draw(st.floats(0, 1e6)),
            attained=draw(st.floats(0, 1e6)),
        )
        for i in range(count)
    ]
    return tuple(draw(st.permutations(queue))), slots


@pytest.mark.parametrize("name", sorted(POLICIES))
@settings(max_examples=40, deadline=None)
@given(queue_and_slots=queues(), quantum=st.integers(1, 8))
def test_no_slot_stays_empty_while_someone_waits(
    name: str, queue_and_slots: tuple[tuple[Runnable, ...], int], quantum: int
) -> None:
    queue, slots = queue_and_slots
    run = make_policy(name).plan(queue, slots=slots, quantum=quantum).run
    assert min(slots, len(queue)) == len(run) == len(set(run))
    assert set(run) <= {entry.pid for entry in queue}


@pytest.mark.parametrize("name", sorted(POLICIES))
@settings(max_examples=40, deadline=None)
@given(queue_and_slots=queues(), quantum=st.integers(1, 8), data=st.data())
def test_a_plan_depends_on_the_facts_alone(
    name: str, queue_and_slots: tuple[tuple[Runnable, ...], int], quantum: int, data: st.DataObject
) -> None:
    queue, slots = queue_and_slots
    shuffled = tuple(data.draw(st.permutations(queue)))
    plans = [make_policy(name).plan(order, slots=slots, quantum=quantum) for order in (queue, shuffled)]
    assert plans[0] == plans[1]


@pytest.mark.parametrize("name", sorted(POLICIES))
@settings(max_examples=40, deadline=None)
@given(queue_and_slots=queues(), quantum=st.integers(1, 8))
def test_a_slot_just_given_is_not_taken_again(
    name: str, queue_and_slots: tuple[tuple[Runnable, ...], int], quantum: int
) -> None:
    """While nothing else changes, who was chosen within its quantum is chosen again."""
    queue, slots = queue_and_slots
    policy = make_policy(name)
    run = policy.plan(queue, slots=slots, quantum=quantum).run
    places = {entry.pid: place for place, entry in enumerate(queue, 100)}
    then = tuple(
        entry
        if (entry.pid in run) is entry.holds_slot
        else replace(entry, holds_slot=True)
        if entry.pid in run
        else replace(entry, holds_slot=False, used=0, waited_s=0.0, queued=places[entry.pid])
        for entry in queue
    )
    kept = {entry.pid for entry in then if entry.holds_slot and entry.used < quantum}
    assert kept <= set(policy.plan(then, slots=slots, quantum=quantum).run)


@given(queue_and_slots=queues([PolicyClass.NORMAL]))
def test_fifo_runs_the_earliest(queue_and_slots: tuple[tuple[Runnable, ...], int]) -> None:
    queue, slots = queue_and_slots
    expected = sorted(queue, key=lambda entry: entry.arrived)[:slots]
    assert tuple(entry.pid for entry in expected) == make_policy("fifo").plan(queue, slots=slots, quantum=1).run


@given(queue_and_slots=queues([PolicyClass.NORMAL]), quantum=st.integers(1, 8))
def test_rr_keeps_holders_within_their_quantum_and_yields_after_it(
    queue_and_slots: tuple[tuple[Runnable, ...], int], quantum: int
) -> None:
    queue, slots = queue_and_slots
    run = set(make_policy("rr").plan(queue, slots=slots, quantum=quantum).run)
    assert run >= {entry.pid for entry in queue if entry.holds_slot and entry.used < quantum}
    left_out = [entry for entry in queue if not entry.holds_slot and entry.pid not in run]
    overdrawn = [entry for entry in queue if entry.holds_slot and entry.used >= quantum and entry.pid in run]
    assert not (left_out and overdrawn)
    served = [entry.queued for entry in queue if not entry.holds_slot and entry.pid in run]
    assert not left_out or max(served, default=-1) < min(entry.queued for entry in left_out)


def test_an_unknown_policy_is_answered_with_those_there_are() -> None:
    with pytest.raises(BadRequest, match="fair, fifo, mlfq, plas, priority, rr"):
        make_policy("lottery")
