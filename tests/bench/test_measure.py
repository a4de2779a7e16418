from __future__ import annotations

import pytest

from aios_shell.bench.measure import Goal, Measure, distribution, failed, measure


def test_a_rate_is_better_when_higher_and_a_time_when_lower() -> None:
    rate = measure("rate", [200.0, 190.0, 210.0], [100.0, 90.0, 120.0], unit="tok/s", goal=Goal(2, "at least"))
    assert (rate.ratio, rate.ours, rate.peer, rate.met, rate.runs) == (2.0, 200.0, 100.0, True, 3)
    time = measure("time", [2.0], [10.0], unit="s", lower_is_better=True, goal=Goal(6, "at least"))
    assert (time.ratio, time.met, time.goal) == (5.0, False, "at least 6x")


def test_a_ratio_that_may_be_at_most_so_much_is_ours_over_the_peers() -> None:
    share = measure("victim", [2.2], [2.0], unit="s", goal=Goal(1.2, "at most"))
    assert (pytest.approx(1.1), True, "at most 1.2x") == (share.ratio, share.met, share.goal)


@pytest.mark.parametrize(("ours", "met"), [(8.9, True), (9.1, False)])
def test_an_excess_is_ours_minus_the_peers(ours: float, met: bool) -> None:
    goal = Goal(5, "at most", "excess")
    found = measure("call", [ours], [4.0], unit="ms", lower_is_better=True, goal=goal)
    assert (met, "at most 5 ms more") == (found.met, found.goal)


def test_a_value_needs_no_peer_and_a_ratio_without_one_is_not_judged() -> None:
    assert measure("equal", [100.0], unit="%", goal=Goal(100, "at least", "value")).met is True
    alone = measure("rate", [1.0], unit="tok/s", goal=Goal(1, "at least"))
    assert (alone.ratio, alone.peer, alone.met) == (None, None, None)


def test_a_goal_that_this_run_cannot_judge_is_neither_met_nor_missed() -> None:
    found = measure("rate", [1.0], [2.0], unit="tok/s", goal=Goal(1, "at least"), judged=False)
    assert (found.ratio, found.met, found.goal) == (0.5, None, "at least 1x")


def test_beside_nothing_anything_is_infinitely_better() -> None:
    assert float("inf") == measure("rate", [1.0], [0.0], unit="tok/s").ratio


def test_failures_are_a_row_only_when_there_are_some() -> None:
    assert failed("agents", []) == []
    (row,) = failed("agents", ["a", "b"])
    assert (row.name, row.ours, row.met) == ("agents that failed", 2.0, False)
    assert isinstance(row, Measure)
    assert row.peer_name == "first: a"


def test_a_distribution_ends_at_all_of_them() -> None:
    series = distribution("ours", [3.0, 1.0, 2.0, 2.0])
    assert (series.x, series.y) == ((1.0, 2.0, 2.0, 3.0), (25.0, 50.0, 75.0, 100.0))
