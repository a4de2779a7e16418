"""What the benchmarks make of their raw figures: no model, no kernel."""

from __future__ import annotations

from typing import Any

import pytest

from aios_shell.bench import agents, consistency, fair, mixed, neighbours, overhead, paper, scale, short, switch
from aios_shell.bench.measure import Measure
from aios_shell.bench.replay import Reply, RequestFailed


def named(rows: list[Measure]) -> dict[str, Measure]:
    assert len(rows) == len({row.name for row in rows})
    return {row.name: row for row in rows}


def side(span_s: float = 10.0, first_s: float = 0.1, completed_s: float = 5.0, **changes: Any) -> dict[str, Any]:
    groups = ("short", "long", "agent")
    figures = {
        "span_s": span_s,
        "tokens_in": 900,
        "tokens_cached": 450,
        "tokens_out": 100,
        "first_s": {group: [first_s, first_s] for group in groups},
        "completed_s": {group: [completed_s] for group in groups},
        "failures": [],
    }
    return {**figures, **changes}


def replayed(ours: dict[str, Any], peer: dict[str, Any] | None, *, judged: bool = True) -> list[dict[str, Any]]:
    return [{"peer_name": "peer", "judged": judged, "ours": ours, "peer": peer}] * 2


def test_short_compares_produced_tokens() -> None:
    (row,) = short.measures(replayed(side(span_s=5.0), side(span_s=10.0)))
    assert (row.ours, row.peer, row.ratio, row.met) == (20.0, 10.0, 2.0, True)


def test_mixed_judges_the_first_token_of_short_ones_and_all_tokens() -> None:
    rows = named(mixed.measures(replayed(side(first_s=0.5), side(first_s=30.0, span_s=9.0))))
    first, total = rows["short: p99 time to first token"], rows["total tokens a second"]
    assert (first.ratio, first.met) == (60.0, True)
    assert (pytest.approx(0.9), False) == (total.ratio, total.met)


def test_beside_our_own_policy_no_goal_is_judged() -> None:
    rows = mixed.measures(replayed(side(), side(first_s=30.0), judged=False))
    assert all(row.met is None for row in rows)
    assert named(rows)["short: p99 time to first token"].ratio == pytest.approx(300)


def test_without_any_other_side_there_are_figures_of_ours() -> None:
    rows = named(agents.measures(replayed(side(), None)))
    row = rows["four turns: mean time"]
    assert (row.ours, row.peer, row.ratio, row.met) == (5.0, None, None, None)
    assert len(agents.charts(replayed(side(), None))[0].series) == 1


def test_agents_judges_the_mean_time_and_tells_what_was_cached() -> None:
    rows = named(agents.measures(replayed(side(completed_s=4.0), side(completed_s=12.0, tokens_cached=0))))
    assert (rows["four turns: mean time"].ratio, rows["four turns: mean time"].met) == (3.0, True)
    cached = rows["prompt tokens that needed no feeding"]
    assert (cached.ours, cached.peer) == (50.0, 0.0)


def test_requests_that_failed_are_a_row_for_each_side() -> None:
    rows = named(short.measures(replayed(side(), side(failures=["short 3, turn 1: HTTP 500"]))))
    failed = rows["requests to the peer that failed"]
    assert (failed.ours, failed.met, failed.peer_name) == (2.0, False, "first: short 3, turn 1: HTTP 500")
    assert "requests to ours that failed" not in rows


def way(wait_s: float) -> dict[str, Any]:
    return {"policy": "rr", "wait_s": [wait_s] * 4, "turnaround_s": [2 * wait_s] * 4, "failures": []}


def test_paper_compares_each_way_with_one_after_the_other() -> None:
    run = {name: way(12.0 if name == paper.SERIAL else 3.0) for name in paper.WAYS}
    rows = named(paper.measures([run, run]))
    assert len(rows) == 4 * 4
    judged = rows["mean wait, default (rr)"]
    assert (judged.ratio, judged.met) == (4.0, True)
    assert rows["p90 turnaround, fifo"].met is None
    run["fifo"]["failures"] = ["math 3 exited with 1"]
    assert named(paper.measures([run]))["agents that failed"].met is False


def test_paper_gives_each_run_other_tasks_and_every_run_the_same_agents() -> None:
    first, second = paper.tasks(0, 4), paper.tasks(1, 4)
    assert [request.agent for request in first] == ["math", "narrate", "rec"] * 4
    assert first == paper.tasks(0, 4)
    assert not {request.task for request in first} & {request.task for request in second}


def test_consistency_is_the_worst_share_and_none_where_nothing_happened() -> None:
    runs = [
        {"way": each.name, "agents": 8, "same": 8, "happened": 8, "failures": []}
        for each in (consistency.REFERENCE, *consistency.WAYS)
    ]
    assert all(row.met for row in consistency.measures(runs))
    runs[2]["same"], runs[4]["happened"] = 7, 0
    rows = [row.ours for row in consistency.measures(runs)]
    assert rows == [100.0, 87.5, 100.0, 0.0, 100.0, 100.0]


def test_switch_judges_two_thousand_tokens_through_memory() -> None:
    sizes = [
        {"tokens": n, "kv_bytes": 1, "recompute_ms": 9000.0, "ram_ms": [20.0, 18.0, 19.0], "disk_ms": [90.0]}
        for n in switch.SIZES
    ]
    rows = named(switch.measures([{"sizes": sizes}]))
    judged = [row for row in rows.values() if row.goal]
    assert [row.name for row in judged] == ["switch at 2000 tokens through memory"]
    assert (judged[0].ours, judged[0].peer, judged[0].met) == (19.0, 9000.0, True)
    assert [len(switch.SIZES)] * 3 == [len(series.x) for series in switch.charts([{"sizes": sizes}])[0].series]


def test_fair_holds_the_slowest_victim_against_its_share() -> None:
    run = {
        "alone_s": 1.0,
        "fair": {"children": [4.0, 4.6, 4.4], "generations": [3.0, 3.1, 3.2]},
        "rr": {"children": [20.0, 21.0, 22.0], "generations": [4.0, 5.0, 6.0]},
    }
    rows = named(fair.measures([run]))
    fairly = rows["slowest victim of a flood of children, policy fair"]
    assert (4.6, 4.0, pytest.approx(1.15), True) == (fairly.ours, fairly.peer, fairly.ratio, fairly.met)
    assert (
        rows["slowest victim of a flood of children, policy rr"].ratio,
        rows["slowest victim of a flood of children, policy rr"].met,
    ) == (5.5, None)


def agents_alive(size: int, seconds: float) -> dict[str, Any]:
    return {
        "agents": size,
        "alive": size,
        "seconds": seconds,
        "start_s": size / 100,
        "finished": size,
        "kernel_idle_mb": 1000.0,
        "kernel_peak_mb": 1000.0 + 0.3 * size,
        "kernel_besides_mb": 1000.0 + 0.1 * size,
        "agent_mb": 5.6,
        "failures": [],
    }


def test_scale_judges_the_line_the_memory_and_that_all_finished() -> None:
    runs = [agents_alive(size, 0.1 * size + 1) for size in scale.SIZES]
    rows = named(scale.measures(runs))
    assert rows["R² of time over agents"].met is True
    assert rows["time for each agent more"].ours == pytest.approx(100)
    memory = rows["kernel memory besides contexts, for each agent more"]
    assert (pytest.approx(100), True) == (memory.ours, memory.met)
    assert rows["of up to 2,000 agents finished"].met is True
    runs[-1].update(finished=1999, failures=["1 of 2000 agents ended with 1"], seconds=900.0)
    rows = named(scale.measures(runs))
    assert rows["of up to 2,000 agents finished"].met is False
    assert rows["R² of time over agents"].met is False
    assert rows["agents that failed"].met is False


def test_scale_broken_off_after_the_first_size_still_has_figures() -> None:
    rows = named(scale.measures([agents_alive(250, 26.0)]))
    assert "R² of time over agents" not in rows
    assert rows["time, 250 agents"].ours == 26.0
    assert scale.charts([agents_alive(250, 26.0)])


def test_overhead_judges_calls_eight_agents_and_step_time() -> None:
    run = {
        "plain": {"wall_ms": [9.0], "core_ms": [5.0]},
        "streamed": {"wall_ms": [11.0], "core_ms": [5.0]},
        "eight": {"ours": 180.0, "bare": 185.0, "outside": 2.0},
    }
    assert [row.met for row in overhead.measures([run])] == [True, False, True, True]


@pytest.mark.parametrize(
    ("cores", "used", "share"), [(2, 1, 0.5), (2, None, 0.5), (8, 1, 7 / 8), (8, 6, 0.5), (1, 1, 0.5)]
)
def test_what_a_neighbour_leaves_is_the_unused_cores_and_at_least_half(
    cores: int, used: int | None, share: float
) -> None:
    assert share == neighbours.left_over(cores, used)


def test_neighbours_compares_with_the_share_left_and_with_the_peer() -> None:
    run = {
        "cores": 2,
        "peer_name": "peer",
        "alone": {"ours": 120.0, "peer": 118.0},
        "busy": {"ours": 54.0, "peer": 35.0},
        "llama": {"ours": 45.0, "peer": 0.3},
    }
    rows = named(neighbours.measures([run]))
    assert (rows["beside a busy program"].peer, rows["beside a busy program"].met) == (60.0, True)
    assert rows["beside a second llama.cpp"].met is False
    assert rows["beside a second llama.cpp, both"].ratio == pytest.approx(150)


def test_the_decode_rate_is_of_the_last_reply_without_its_first_token() -> None:
    first = Reply("decode", 0, 0, sent_s=0.0, ended_s=1.0, first_s=0.5, tokens_out=16)
    last = Reply("decode", 0, 1, sent_s=1.0, ended_s=3.0, first_s=1.5, tokens_out=31)
    assert neighbours.decode_rate([first, last]) == 20.0
    assert neighbours.decode_rate([Reply("decode", 0, 1, sent_s=1.0, ended_s=3.0)]) == 0.0  # nothing came in time
    with pytest.raises(RequestFailed, match="HTTP 500"):
        neighbours.decode_rate([Reply("decode", 0, 0, sent_s=0.0, ended_s=1.0, error="HTTP 500")])


@pytest.mark.parametrize("module", [short, mixed, agents], ids=lambda module: module.__name__)
def test_a_chart_has_a_line_for_each_side(module: Any) -> None:
    (chart,) = module.charts(replayed(side(), side()))
    assert len(chart.series) == 2
