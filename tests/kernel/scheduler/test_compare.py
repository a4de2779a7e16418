"""What the policies are good for, with a CPU's costs."""

from __future__ import annotations

import pytest
from compare import LOADS, play

from aios_kernel.scheduler.policies import POLICIES


@pytest.mark.parametrize(("load", "rounds"), [("agents", 6), ("big", 6), ("huge", 3)])
def test_plas_ends_programs_of_like_length_in_little_more_than_the_least_mean_time(load: str, rounds: int) -> None:
    """That is when as many as there are slots run to their ends, round by round."""
    outcome = play(load, "plas", seeds=2)
    least_s = outcome.makespan_s * (rounds + 1) / 2 / rounds
    assert least_s < outcome.completion_s < 1.25 * least_s
    assert outcome.completion_s < 0.8 * play(load, "rr", seeds=2).completion_s


@pytest.mark.parametrize("policy", ["mlfq", "plas"])
def test_a_short_request_is_fast_behind_long_ones(policy: str) -> None:
    outcome, fifo = (play("mixed", name, seeds=2) for name in (policy, "fifo"))
    assert outcome.first_token_s < 1.5 < 10 < fifo.first_token_s
    assert outcome.completion_s < fifo.completion_s / 2


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_no_policy_spends_its_time_swapping(policy: str) -> None:
    """A swap in and out of 1,000 tokens costs 12 ms, about two tokens of a batch."""
    for load in LOADS:
        assert play(load, policy, seeds=1).swaps < 50
