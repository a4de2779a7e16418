"""Steps put into columns, and what is read off them."""

from __future__ import annotations

from collections import deque

import pytest
from factories import NOW, use
from hypothesis import given
from hypothesis import strategies as st

from aios_kernel.protocol import SlotUse, StepInfo, StepPhase
from aios_shell.tui import timeline
from aios_shell.tui.timeline import Column, Stretch, Timeline, stretches

STEP_S = 0.05


def steps(
    *uses: tuple[SlotUse, ...], first: int = 0, preempted: dict[int, tuple[int, ...]] | None = None
) -> list[StepInfo]:
    """Steps without a pause between them. preempted: by step number."""
    return [
        StepInfo(number, NOW + number * STEP_S, STEP_S * 1e3, each, (preempted or {}).get(number, ()))
        for number, each in enumerate(uses, first)
    ]


def held(slot: int, pids: str, **options: object) -> list[StepInfo]:
    """One step a character: the pid that had the slot, or a space."""
    return steps(*((use(slot, int(pid)),) if pid != " " else () for pid in pids), **options)  # type: ignore[arg-type]


def made(told: list[StepInfo], per_cell: int = 1) -> Timeline:
    line = Timeline(per_cell)
    line.follow(told)
    return line


def columns(told: list[StepInfo], per_cell: int = 1) -> list[Column]:
    return list(made(told, per_cell).columns)


def pids(drawn: list[Column], slot: int = 0) -> str:
    return "".join(
        "|" if column.gap else str(cell.pid) if (cell := column.cells.get(slot)) else " " for column in drawn
    )


def test_a_column_is_one_step() -> None:
    assert pids(columns(held(0, "11 22"))) == "11 22"


def test_zoomed_out_a_column_is_several_steps_cut_at_their_multiples() -> None:
    drawn = columns(held(0, "1111222"), per_cell=2)
    assert pids(drawn) == "1122"
    assert [(column.first, column.last) for column in drawn] == [(0, 1), (2, 3), (4, 5), (6, 6)]
    assert [cell.tokens for column in drawn for cell in column.cells.values()] == [2, 2, 2, 1]


def test_cells_stay_as_they_are_while_steps_come() -> None:
    told = held(0, "1112223331", first=3)
    whole = made(told, per_cell=4)
    growing = Timeline(4)
    seen: deque[StepInfo] = deque()
    for step in told:
        seen.append(step)
        assert growing.follow(seen)
    assert list(growing.columns) == list(whole.columns)
    assert not growing.follow(seen)


def test_a_cell_with_some_prefill_is_prefill() -> None:
    drawn = columns(steps((use(0, 1, StepPhase.PREFILL, 64),), (use(0, 1),), (use(0, 1),), (use(0, 1),)), per_cell=2)
    assert [column.cells[0].phase for column in drawn] == [StepPhase.PREFILL, StepPhase.DECODE]
    assert drawn[0].cells[0].tokens == 65


def test_the_last_one_of_a_cell_is_the_one_shown() -> None:
    assert pids(columns(held(0, "12"), per_cell=2)) == "2"


def test_a_pause_without_steps_is_a_gap() -> None:
    early, late = held(0, "11"), held(0, "1", first=2)
    late = [StepInfo(2, late[0].at + 30, 50, late[0].uses, ())]
    drawn = columns(early + late)
    assert pids(drawn) == "11|1"
    assert drawn[2].at - drawn[2].began == pytest.approx(30)


def test_steps_that_were_not_told_of_are_a_gap() -> None:
    assert pids(columns(held(0, "11") + held(0, "2", first=9))) == "11|2"


def test_a_preemption_is_marked_where_the_slot_was_lost() -> None:
    drawn = columns(held(0, "1122", preempted={2: (1,)}))
    assert [column.preempted for column in drawn] == [{}, {0: 1}, {}, {}]


def test_a_preemption_within_a_column_marks_it() -> None:
    drawn = columns(held(0, "1112", preempted={3: (1,)}), per_cell=4)
    assert drawn[0].preempted == {0: 1}
    assert pids(drawn) == "2"


def test_a_preemption_of_one_that_was_never_seen_is_no_error() -> None:
    assert columns(held(0, "22", preempted={0: (7,)}))[0].preempted == {}


def test_a_new_kernel_begins_a_new_timeline() -> None:
    line = made(held(0, "111"))
    assert line.follow(held(0, "2"))
    assert pids(list(line.columns)) == "2"


def test_a_window_ends_before_the_newest() -> None:
    line = made(held(0, "123456789"))
    assert pids(line.window(3)) == "789"
    assert pids(line.window(3, back=2)) == "567"
    assert pids(line.window(3, back=7)) == "12"
    assert line.made == 9


@pytest.mark.parametrize(
    ("lane", "expected"),
    [
        ("", []),
        ("   ", []),
        ("1122", [Stretch(0, 2, 1), Stretch(2, 4, 2)]),
        (" 11 11", [Stretch(1, 6, 1)]),
        ("11   11", [Stretch(0, 2, 1), Stretch(5, 7, 1)]),
        ("1 2", [Stretch(0, 1, 1), Stretch(2, 3, 2)]),
    ],
)
def test_stretches(lane: str, expected: list[Stretch]) -> None:
    assert list(stretches(columns(held(0, lane)), 0)) == expected


def test_a_gap_ends_a_stretch() -> None:
    drawn = columns(held(0, "11") + held(0, "11", first=9))
    assert list(stretches(drawn, 0)) == [Stretch(0, 2, 1), Stretch(3, 5, 1)]


@given(st.text("123 ", max_size=60), st.integers(1, 8))
def test_stretches_hold_every_cell_of_their_process_and_no_other(lane: str, per_cell: int) -> None:
    drawn = columns(held(0, lane), per_cell)
    owner: dict[int, int] = {}
    for stretch in stretches(drawn, 0):
        for x in range(stretch.start, stretch.end):
            assert x not in owner
            owner[x] = stretch.pid
    for x, column in enumerate(drawn):
        if 0 in column.cells:
            assert owner[x] == column.cells[0].pid


def test_shares_are_of_the_cells_that_were_used() -> None:
    assert timeline.shares(columns(held(0, "1112  "))) == [(1, 0.75), (2, 0.25)]
    assert timeline.shares([]) == []


def test_ticks_fall_on_round_times() -> None:
    drawn = columns(held(0, "1" * 50))
    marks = list(timeline.ticks(drawn, 1.0))
    assert [at for _, at in marks] == [NOW + 1, NOW + 2]
    assert all(drawn[x].began - 1e-6 <= at <= drawn[x].at + 1e-6 for x, at in marks)


def test_ticks_stand_apart_and_do_not_dance() -> None:
    drawn = columns(held(0, "1" * 80))
    every = timeline.tick_s(drawn, 14)
    assert every == 1.0  # 14 cells of 50 ms are 0.7 s
    assert timeline.tick_s(drawn, 14, former=2.0) == 2.0
    assert timeline.tick_s(drawn, 14, former=60.0) == 1.0
    assert timeline.tick_s([], 14) > 0


def test_notes_stand_where_their_time_is() -> None:
    drawn = columns(held(0, "1" * 10))
    assert list(timeline.notes(drawn, [(NOW + 0.11, "rr")])) == [(3, "rr")]
    assert list(timeline.notes(drawn, [(NOW - 9, "before"), (NOW + 9, "after")])) == []
    assert list(timeline.notes([], [(NOW, "rr")])) == []
