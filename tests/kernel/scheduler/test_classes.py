"""Policy classes, under every policy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulator import STEP_S, Simulator

from aios_kernel.admission import check_request, inherited_class
from aios_kernel.errors import BadRequest
from aios_kernel.process import ProcessTable
from aios_kernel.protocol import Pid, PolicyClass, RunRequest
from aios_kernel.scheduler.classes import HIGHEST_FIRST
from aios_kernel.scheduler.policies import POLICIES
from aios_kernel.scheduler.policy import STARVING_S

INTERACTIVE, NORMAL, IDLE = HIGHEST_FIRST
QUANTUM = 8
every_policy = pytest.mark.parametrize("policy", sorted(POLICIES))


@every_policy
def test_an_interactive_one_goes_before_normal_ones_at_once(policy: str) -> None:
    world = Simulator(policy, slots=2, quantum=QUANTUM)
    for pid in range(1, 9):
        world.call(pid, 400)
    world.step(20)
    world.call(9, 100, policy_class=INTERACTIVE)
    world.step(100)
    assert world.finished == [9]


@every_policy
def test_an_idle_one_runs_only_in_slots_that_nobody_else_wants(policy: str) -> None:
    world = Simulator(policy, slots=2, quantum=QUANTUM)
    world.call(1, 500, policy_class=IDLE)
    world.call(2, 500, policy_class=IDLE)
    world.call(3, 100)
    world.step(100)
    assert (world.finished, world.service[1] + world.service[2]) == ([3], 100)
    world.call(4, 100)
    world.call(5, 100, policy_class=INTERACTIVE)
    before = world.service[1] + world.service[2]
    world.step(100)
    assert sorted(world.finished) == [3, 4, 5]
    assert world.service[1] + world.service[2] == before


@every_policy
def test_no_class_starves_and_the_higher_ones_keep_all_slots_but_one(policy: str) -> None:
    world = Simulator(policy, slots=3, quantum=QUANTUM)
    for pid, policy_class in enumerate((IDLE, IDLE, NORMAL, NORMAL), 1):
        world.call(pid, 100_000, policy_class=policy_class)
    for pid in range(11, 15):
        world.call(pid, 100_000, policy_class=INTERACTIVE)
    world.step(int(3 * STARVING_S / STEP_S))
    assert all(world.service[pid] >= QUANTUM for pid in range(1, 5))
    low = [len(served & {1, 2, 3, 4}) for served in world.served]
    assert max(low) == 1
    assert sum(low) <= 4 * 3 * QUANTUM


@every_policy
def test_within_a_class_the_policy_is_what_it_is(policy: str) -> None:
    worlds = []
    for policy_class in HIGHEST_FIRST:
        world = Simulator(policy, slots=2, quantum=QUANTUM)
        for pid in range(1, 7):
            world.call(pid, 13 * pid, prompt=50 * (pid % 3), nice=pid - 3, policy_class=policy_class)
            world.step(9)
        world.drain()
        worlds.append(world.finished)
    assert worlds[0] == worlds[1] == worlds[2]


def test_an_unknown_class_is_answered_with_those_there_are() -> None:
    with pytest.raises(BadRequest, match="must be one of interactive, normal, idle") as caught:
        check_request(RunRequest("a", policy_class="batch"), "")
    assert caught.value.data["accepted"] == ["interactive", "normal", "idle"]
    for policy_class in (None, *PolicyClass):
        check_request(RunRequest("a", policy_class=policy_class), "")


@given(wanted=st.sampled_from([None, "batch", *PolicyClass]), parents=st.sampled_from(PolicyClass))
def test_a_child_is_at_best_of_its_parents_class(wanted: str | None, parents: PolicyClass) -> None:
    got = inherited_class(wanted, parents)
    if wanted == "batch":
        assert got == "batch", "to be refused"
    else:
        lowest = max(HIGHEST_FIRST.index(parents), HIGHEST_FIRST.index(PolicyClass(wanted or parents)))
        assert HIGHEST_FIRST[lowest] == got


def test_a_process_is_normal_unless_it_was_started_otherwise() -> None:
    table = ProcessTable()
    plain = table.add(RunRequest("a"), parent=None, model="", at=0)
    idle = table.add(RunRequest("a", policy_class="idle"), parent=None, model="", at=0)
    assert (plain.policy_class, idle.policy_class, idle.pid) == (NORMAL, IDLE, Pid(2))
