"""What the policies promise over time, without a model."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulator import STEP_S, Simulator, Turn

from aios_kernel.protocol import Pid
from aios_kernel.scheduler.policies import POLICIES
from aios_kernel.scheduler.policy import PREFILL_COST, STARVING_S, Runnable, level
from aios_kernel.scheduler.priority import AGEING
from aios_kernel.scheduler.service import MAX_OVER, NICE_RATIO, Ledger

QUANTUM = 8

calls = st.tuples(st.integers(1, 6), st.integers(1, 60), st.integers(0, 200))  # pid, tokens, prompt


@pytest.mark.parametrize("name", sorted(POLICIES))
@settings(max_examples=25, deadline=None)
@given(arrivals=st.lists(calls, max_size=12), slots=st.integers(1, 3), gap=st.integers(0, 20))
def test_everyone_finishes_and_no_slot_is_idle(
    name: str, arrivals: list[tuple[int, int, int]], slots: int, gap: int
) -> None:
    world = Simulator(name, slots=slots, quantum=QUANTUM)
    for pid, tokens, prompt in arrivals:
        world.call(pid, tokens, prompt=prompt, nice=3 * pid - 12, root=pid % 2 + 1)
        world.step(gap)
    world.drain()
    assert sum(world.service.values()) == sum(tokens for _, tokens, _ in arrivals)
    assert len(world.finished) == len(arrivals)


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_a_swap_is_worth_its_cost(name: str) -> None:
    world = Simulator(name, slots=2, quantum=QUANTUM)
    for pid in range(1, 6):
        world.call(pid, 100)
    world.drain()
    assert world.swaps <= sum(world.service.values()) / QUANTUM + 10


# --- priority


def test_the_lower_nice_value_goes_first() -> None:
    world = Simulator("priority", quantum=QUANTUM)
    for pid, nice in ((1, 10), (2, 0), (3, -10)):
        world.call(pid, 20, nice=nice)
    world.drain()
    assert world.finished == [3, 2, 1]


def test_much_better_cuts_a_quantum_short_and_a_little_better_does_not() -> None:
    for nice, first in ((-10, 2), (-2, 1)):
        world = Simulator("priority", quantum=QUANTUM)
        world.call(1, QUANTUM)
        world.step(2)
        world.call(2, QUANTUM, nice=nice)
        world.drain()
        assert world.finished[0] == first


@pytest.mark.parametrize(("nice", "rival"), [(19, 0), (5, 0), (19, 15), (0, 0)])
def test_no_nice_value_waits_for_ever(nice: int, rival: int) -> None:
    """It waits the difference in age, and the quanta of others that have waited as long."""
    world = Simulator("priority", quantum=QUANTUM)
    world.call(1, 5000, nice=nice)
    for pid in (2, 3):
        world.call(pid, 100_000, nice=rival)
    world.step(5000)
    assert world.service[1] >= QUANTUM
    assert world.longest_wait(1) * STEP_S <= (nice - rival) / AGEING + 3 * QUANTUM * STEP_S


def test_one_that_floods_its_own_line_does_not_age() -> None:
    world = Simulator("priority", quantum=QUANTUM)
    for _ in range(200):
        world.call(1, QUANTUM, nice=5)
    world.step(1000)
    world.call(2, 100)
    world.step(100 + 2 * QUANTUM)
    assert 2 in world.finished


# --- mlfq


def test_a_short_one_overtakes_long_ones() -> None:
    world = Simulator("mlfq", quantum=QUANTUM)
    for pid in (1, 2, 3):
        world.call(pid, 400)
    world.step(100)
    world.call(4, QUANTUM)
    world.step(QUANTUM)
    assert world.finished == [4]
    world.drain()


def test_a_long_prompt_joins_lower_down() -> None:
    world = Simulator("mlfq", quantum=QUANTUM)
    world.call(1, QUANTUM, prompt=2000)
    world.call(2, QUANTUM, prompt=1)
    world.drain()
    assert world.finished == [2, 1]


def test_a_stream_of_short_ones_does_not_starve_a_long_one() -> None:
    world = Simulator("mlfq", quantum=QUANTUM)
    world.call(1, 200)
    for pid in range(2, 500):
        world.call(pid, QUANTUM)
        world.step(QUANTUM)
    assert world.longest_wait(1) * STEP_S <= STARVING_S + 4 * QUANTUM * STEP_S
    assert world.service[1] > QUANTUM


@given(base=st.integers(1, 64), growth=st.integers(2, 16), depth=st.integers(0, 4))
def test_each_level_ends_a_factor_after_the_one_above(base: int, growth: int, depth: int) -> None:
    fresh = Runnable(Pid(1), Pid(1), 1, 1, 0, holds_slot=False, used=0, pending=1)
    end = base * growth**depth
    levels = [level(fresh, service, quantum=1, base=base, growth=growth) for service in (end - 1, end)]
    assert levels == [depth, depth + 1]


# --- fair


@settings(max_examples=25, deadline=None)
@given(
    slots=st.integers(1, 4),
    nice=st.tuples(st.integers(-5, 5), st.integers(-5, 5)),
    members=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    others=st.integers(0, 3),
)
def test_the_service_of_two_programs_that_always_want_more_stays_close(
    slots: int, nice: tuple[int, int], members: tuple[int, int], sizes: tuple[int, int], others: int
) -> None:
    """The bound of VTC: weighted service differs by at most what two rounds of quanta (and prompts) of all slots
    charge, however many processes and calls either program has. Each can fill all slots, as VTC takes for granted."""
    world = Simulator("fair", slots=slots, quantum=QUANTUM)
    prompt = 4
    for program in range(2 + others):
        for member in range(slots + members[program % 2] - 1):
            for _ in range(400 // sizes[program % 2] + 1):
                pid = 100 * (program + 1) + member
                world.call(pid, sizes[program % 2], prompt=prompt, nice=nice[program % 2], root=program + 1)
    bound = 2 * slots * (QUANTUM + PREFILL_COST * prompt) * NICE_RATIO ** max(nice)
    for _ in range(60):
        world.step(5)
        counters = [world.ledger.counter(Pid(pid)) for pid in (100, 200)]
        assert abs(counters[0] - counters[1]) <= bound


def test_twenty_children_get_one_share() -> None:
    world = Simulator("fair", slots=2, quantum=QUANTUM)
    for child in range(20):
        world.call(100 + child, 10_000, root=1)
    for child in range(2):
        world.call(200 + child, 10_000, root=2)
    world.step(1000)
    shares = [sum(world.service[pid] for pid in world.procs if world.procs[pid].root == root) for root in (1, 2)]
    assert shares[0] == pytest.approx(shares[1], abs=4 * QUANTUM)
    assert all(world.service[100 + child] for child in range(20)), "each child has its turn in its program's share"


def test_two_programs_run_beside_each_other_not_one_after_the_other() -> None:
    world = Simulator("fair", slots=2, quantum=QUANTUM)
    for pid, root in ((11, 1), (12, 1), (21, 2), (22, 2)):
        world.call(pid, 1000, root=root)
    world.step(200)
    assert all({world.procs[Pid(pid)].root for pid in served} == {1, 2} for served in world.served[QUANTUM:])


def test_a_nice_value_is_worth_its_weight() -> None:
    world = Simulator("fair", quantum=QUANTUM)
    world.call(1, 100_000)
    world.call(2, 100_000, nice=5)
    world.step(4000)
    assert world.service[1] / world.service[2] == pytest.approx(NICE_RATIO**5, rel=0.1)


def test_a_flood_of_calls_takes_nothing_from_another() -> None:
    world = Simulator("fair", quantum=QUANTUM)
    for _ in range(300):
        world.call(1, 5)
    world.step(200)
    world.call(2, 100)
    world.step(2 * 100 + 4 * QUANTUM)
    assert 2 in world.finished


def test_nobody_saves_up_and_nobody_pays_for_idle_slots() -> None:
    world = Simulator("fair", quantum=QUANTUM)
    world.call(1, 10_000)
    world.step(1000)
    world.call(2, 1000)
    world.step(1000)
    assert abs(world.service[2] - 500) <= 2 * QUANTUM
    before = world.service[1]
    world.call(3, 1000)
    world.step(300)
    assert abs(world.service[3] - 100) <= 2 * QUANTUM
    assert world.service[1] - before >= 100 - 2 * QUANTUM


def test_a_slot_that_nobody_else_wanted_is_not_charged() -> None:
    world = Simulator("fair", slots=2, quantum=QUANTUM)
    world.call(1, 10_000, nice=5)
    world.call(2, 10_000)
    world.step(500)
    for pid in (3, 4):
        world.call(pid, 10_000)
    before = world.service[2]
    world.step(400)
    assert abs(world.service[2] - before - 240) <= 4 * QUANTUM
    assert abs(world.service[3] - 240) <= 4 * QUANTUM


# --- plas


def test_a_program_that_had_little_goes_first_over_calls_and_children() -> None:
    world = Simulator("plas", quantum=QUANTUM)
    world.call(1, 1100)
    world.drain()
    world.call(11, 60, root=1)  # a child of 1, new itself
    world.call(2, 60)
    world.drain()
    assert world.finished == [1, 2, 11]
    for pid, root in ((12, 1), (1, 1), (2, 2), (21, 2)):
        world.call(pid, 4, root=root)
    world.drain()
    assert set(world.finished[3:5]) == {2, 21}


def test_of_programs_of_one_length_the_oldest_runs_to_its_end() -> None:
    """Taking turns would end them all at the end."""
    world = Simulator("plas", slots=2, quantum=QUANTUM)
    for pid in range(1, 9):
        world.program(pid, [Turn(4, 2 * QUANTUM)] * 5)
    world.drain()
    done = [world.procs[Pid(pid)].done_at for pid in range(1, 9)]
    assert done == sorted(done)
    assert sum(done) / len(done) < 0.75 * world.now


def test_an_old_program_is_not_starved_by_new_ones() -> None:
    world = Simulator("plas", quantum=QUANTUM)
    world.call(1, 400)
    world.step(200)
    for pid in range(2, 400):
        world.call(pid, QUANTUM)
        world.step(QUANTUM)
    assert world.longest_wait(1) * STEP_S <= STARVING_S + 4 * QUANTUM * STEP_S


# --- the ledger


def test_a_program_is_remembered_until_many_others_have_ended() -> None:
    ledger = Ledger()
    ledger.join(Pid(2), Pid(1), ())
    ledger.charge(Pid(2), 10, 0, contended=False)
    ledger.release(Pid(2))
    ledger.join(Pid(3), Pid(1), ())
    assert ledger.attained(Pid(3)) == 10
    for pid in (1, 3):
        ledger.release(Pid(pid))
    ledger.join(Pid(4), Pid(1), ())
    assert ledger.attained(Pid(4)) == 10  # a conversation goes on
    ledger.release(Pid(4))
    for pid in range(10, 11 + MAX_OVER):
        ledger.join(Pid(pid), Pid(pid), ())
        ledger.release(Pid(pid))
    ledger.join(Pid(5), Pid(1), ())
    assert ledger.attained(Pid(5)) == 0


def test_counters_only_rise() -> None:
    world = Simulator("fair", slots=2, quantum=QUANTUM)
    seen = []
    for pid in range(1, 5):
        world.call(pid, 30)
        world.step(20)
        world.call(1, 10)
        seen.append(world.ledger.counter(Pid(1)))
    assert all(before <= after for before, after in pairwise(seen))
