"""Which processes the table shows, in which order and columns: no screen."""

from __future__ import annotations

import pytest
from factories import NOW, ended, proc
from hypothesis import given
from hypothesis import strategies as st

from aios_kernel.protocol import ProcInfo, ProcState
from aios_shell.tui import rows
from aios_shell.tui.rows import GAP, LINGER_S, Choice, Row, arrange, column_at, hold, layout


def table(*procs: ProcInfo) -> dict[int, ProcInfo]:
    return {each.pid: each for each in procs}


def pids(found: list[Row]) -> list[int]:
    return [row.pid for row in found]


def names(width: int) -> list[str]:
    return [place.column.name for place in layout(width)]


def test_at_80_columns_what_counts_is_there() -> None:
    assert names(80) == ["PID", "AGENT", "STATE", "TOK/S", "CTX", "TASK"]


def test_at_20_columns_the_state_is_its_glyph() -> None:
    assert [(place.column.name, place.width) for place in layout(20)] == [("PID", 5), ("AGENT", 8), ("STATE", 1)]


def test_a_wide_table_has_all_columns_and_the_task_gets_the_rest() -> None:
    assert len(names(200)) == len(rows.COLUMNS)
    assert layout(1000)[-1].width > 800


@given(st.integers(1, 1000))
def test_columns_lie_side_by_side_within_the_table(width: int) -> None:
    places = layout(width)
    ends = [place.x + place.width for place in places]
    assert all(place.x == end + GAP for place, end in zip(places[1:], ends, strict=False))
    assert ends[-1] <= max(width, 15)  # pid, one letter of the agent, and the glyph


@given(st.integers(20, 999))
def test_a_wider_table_loses_no_column(width: int) -> None:
    assert set(names(width)) <= set(names(width + 1))


def test_a_heading_is_found_by_its_cells_and_the_gap_behind() -> None:
    places = layout(80)
    agent = places[1]
    assert column_at(places, agent.x) is column_at(places, agent.x + agent.width + GAP - 1) is agent.column
    assert column_at(places, 0) is None


def test_who_asks_is_first_whatever_the_order() -> None:
    procs = table(proc(1), proc(2, tok_per_s=90.0), proc(3, state=ProcState.ASKING, tok_per_s=0.0))
    assert pids(arrange(procs, Choice(), NOW)) == [3, 1, 2]
    assert pids(arrange(procs, Choice("TOK/S"), NOW)) == [3, 2, 1]
    assert pids(arrange(procs, Choice("TOK/S", reverse=True), NOW)) == [3, 1, 2]


def test_equal_ones_stand_by_pid_either_way() -> None:
    procs = table(*(proc(pid, nice=0) for pid in (3, 1, 2)))
    assert pids(arrange(procs, Choice("NI"), NOW)) == pids(arrange(procs, Choice("NI", reverse=True), NOW)) == [1, 2, 3]


@pytest.mark.parametrize("column", [column.name for column in rows.COLUMNS])
def test_every_column_sorts(column: str) -> None:
    procs = table(proc(1, slot=None), proc(2, ctx_max=0), ended(3, ended_at=NOW))
    assert sorted(pids(arrange(procs, Choice(column), NOW))) == [1, 2, 3]


def test_the_same_heading_again_turns_the_order_round() -> None:
    choice = Choice().sorted_by("TOK/S")
    assert choice.descending
    assert not choice.sorted_by("TOK/S").descending
    assert not choice.sorted_by("TOK/S").sorted_by("AGENT").reverse


def test_the_next_sort_is_of_the_columns_shown_and_comes_round() -> None:
    choice, seen = Choice(), []
    for _ in names(80):
        choice = choice.next_sort(layout(80))
        seen.append(choice.sort)
    assert seen == ["AGENT", "STATE", "TOK/S", "CTX", "TASK", "PID"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", [1, 2, 3]),
        ("MATH", [1, 2]),
        ("math fox", [2]),
        ("!math", [3]),
        ("math !fox", [1]),
        ("ready", [3]),
        ("!", [1, 2, 3]),
        ("nothing like it", []),
    ],
)
def test_words_of_the_filter_are_anded_and_may_be_inverse(words: str, found: list[int]) -> None:
    procs = table(
        proc(1, agent="math", task="12*7"),
        proc(2, agent="math", task="count the Fox"),
        proc(3, agent="chat", task="hello", state=ProcState.READY),
    )
    assert pids(arrange(procs, Choice(words=words), NOW)) == found


def test_an_ended_process_stays_for_a_moment_or_while_it_is_chosen_or_when_asked_for() -> None:
    procs = table(proc(1), ended(2, ended_at=NOW - LINGER_S + 1), ended(3, ended_at=NOW - LINGER_S - 1))
    assert pids(arrange(procs, Choice(), NOW)) == [1, 2]
    assert pids(arrange(procs, Choice(), NOW, kept=3)) == [1, 2, 3]
    assert pids(arrange(procs, Choice(ended=True), NOW)) == [1, 2, 3]


def test_a_tree_has_children_under_their_parents() -> None:
    procs = table(proc(1), proc(2), proc(3, ppid=1), proc(4, ppid=3), proc(5, ppid=1), proc(6, ppid=77))
    found = arrange(procs, Choice(tree=True), NOW)
    assert [(row.pid, row.stem) for row in found] == [
        (1, ""),
        (3, "├ "),
        (4, "│ └ "),
        (5, "└ "),
        (2, ""),
        (6, ""),
    ]


def test_a_filtered_tree_keeps_the_ancestors_aside() -> None:
    procs = table(proc(1), proc(2), proc(3, ppid=1), proc(4, ppid=3, agent="math"))
    found = arrange(procs, Choice(tree=True, words="math"), NOW)
    assert [(row.pid, row.aside) for row in found] == [(1, True), (3, True), (4, False)]


def test_a_tree_with_one_that_asks_comes_first_as_a_whole() -> None:
    procs = table(proc(1), proc(2), proc(3, ppid=2), proc(4, ppid=2, state=ProcState.ASKING))
    assert pids(arrange(procs, Choice(tree=True), NOW)) == [2, 4, 3, 1]


def test_a_deep_chain_of_forks_is_drawn_in_a_bounded_width() -> None:
    procs = table(*(proc(pid, ppid=pid - 1) for pid in range(1, 3001)))
    found = arrange(procs, Choice(tree=True), NOW)
    assert len(found) == 3000
    assert max(len(row.stem) for row in found) <= rows.STEM + 2


def test_while_it_is_held_the_order_stands_and_new_ones_come_last() -> None:
    choice = Choice("TOK/S")
    before = arrange(table(proc(1, tok_per_s=9.0), proc(2, tok_per_s=5.0), proc(3, tok_per_s=1.0)), choice, NOW)
    procs = table(proc(1, tok_per_s=0.0), proc(3, tok_per_s=7.0), proc(4, state=ProcState.ASKING), proc(5))
    assert pids(hold(before, procs, choice, NOW)) == [1, 3, 4, 5]
    assert pids(arrange(procs, choice, NOW))[0] == 4


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40), st.sampled_from(list(ProcState))), max_size=30))
def test_every_process_that_is_shown_has_one_row(told: list[tuple[int, int, ProcState]]) -> None:
    procs = {pid: proc(pid, ppid=min(ppid, pid - 1), state=state) for pid, ppid, state in told}
    for tree in (False, True):
        assert sorted(pids(arrange(procs, Choice(tree=tree, ended=True), NOW))) == sorted(procs)
