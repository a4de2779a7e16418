"""The timeline as cells: glyphs and styles of lanes, names, axis and shares."""

from __future__ import annotations

import pytest
from factories import NOW, use
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.style import Style

from aios_kernel.protocol import StepInfo, StepPhase
from aios_shell.tui import drawing
from aios_shell.tui.drawing import Brush, Cells
from aios_shell.tui.glyphs import ASCII, UNICODE
from aios_shell.tui.palette import Colors
from aios_shell.tui.timeline import Column, Timeline

AGENTS = {1: "planner", 2: "\x1b[31mred\x1b[0m", 3: "日本語エージェント", 4: "a name that is far too long"}
COLORS = Colors({})
BRUSH = Brush(COLORS, UNICODE, lambda pid: AGENTS.get(pid, ""))
PLAIN = Brush(COLORS, ASCII, lambda pid: AGENTS.get(pid, ""))


def columns(lane: str, preempted: dict[int, tuple[int, ...]] | None = None) -> list[Column]:
    """One step a character: a pid that decodes in slot 0, a letter (a is 1) when it prefills, or a space."""
    line = Timeline(1)
    steps = []
    for number, char in enumerate(lane):
        phase = StepPhase.PREFILL if char.isalpha() else StepPhase.DECODE
        pid = ord(char) - 96 if char.isalpha() else int(char) if char != " " else 0
        uses = (use(0, pid, phase),) if pid else ()
        steps.append(StepInfo(number, NOW + number * 0.1, 100.0, uses, (preempted or {}).get(number, ())))
    line.follow(steps)
    return list(line.columns)


def text(cells: Cells) -> str:
    return "".join(char for char, _ in cells)


def test_prefill_and_decode_differ_in_glyph_and_brightness() -> None:
    prefill, decode = drawing.bars(columns("a1"), 0, BRUSH, labelled=False)
    assert (prefill[0], decode[0]) == (UNICODE.prefill, UNICODE.decode)
    assert prefill[1] == COLORS.pid(1) + Style(dim=True)
    assert decode[1] == COLORS.pid(1)


def test_a_lane_reads_without_colour() -> None:
    lane = drawing.bars(columns("aa1122222   bb2", {9: (2,)}), 0, PLAIN, labelled=True)
    assert text(lane) == "1:##2###x...2:#"


def test_a_short_stretch_has_no_room_for_its_number() -> None:
    assert text(drawing.bars(columns("12"), 0, PLAIN, labelled=True)) == "##"


def test_a_gap_is_drawn_through() -> None:
    drawn = [*columns("1"), Column(0, 0, NOW, NOW + 9, gap=True), *columns("1")]
    assert text(drawing.bars(drawn, 0, BRUSH, labelled=False)) == f"{UNICODE.decode}│{UNICODE.decode}"
    assert text(drawing.names(drawn, 0, BRUSH)) == " │ "


def test_names_stand_where_stretches_begin_as_far_as_they_go() -> None:
    drawn = columns("1" * 12 + "4" * 9 + "2")
    assert text(drawing.names(drawn, 0, BRUSH)) == "1 planner   4 a nam…  "


@pytest.mark.parametrize("pid", AGENTS)
def test_names_of_agents_are_harmless_and_keep_the_cells(pid: int) -> None:
    for length in range(1, 30):
        cells = drawing.names(columns(str(pid) * length), 0, BRUSH)
        assert len(cells) == cell_len(text(cells)) == length
        assert "\x1b" not in text(cells)


def test_the_axis_tells_the_time_of_day_on_round_seconds() -> None:
    cells = drawing.axis(columns("1" * 45), 2.0, [], BRUSH)
    expected = drawing.time_of_day(NOW + 2, 2.0)
    assert text(cells).index(f"{UNICODE.tick}{expected}") == 20
    assert expected[-2:] in ("02", "32")  # a clock of half hours is still one of seconds


def test_the_axis_tells_tenths_and_minutes_where_they_matter() -> None:
    assert drawing.time_of_day(NOW + 0.2, 0.2).endswith("00.2")
    assert drawing.time_of_day(NOW, 60.0) == drawing.time_of_day(NOW, 1.0)[:5]


def test_a_switch_of_the_policy_stands_on_the_axis() -> None:
    cells = drawing.axis(columns("1" * 30), 60.0, [(NOW + 1.05, "rr")], BRUSH)
    assert text(cells).rstrip() == " " * 11 + f"{UNICODE.tick}rr"


def test_a_time_that_would_touch_a_note_or_another_time_is_left_out() -> None:
    drawn = columns("1" * 40)
    noted = text(drawing.axis(drawn, 1.0, [(NOW + 1.25, "priority")], BRUSH))
    assert noted.count(UNICODE.tick) == 2  # the note, and the time of three seconds
    assert f"{UNICODE.tick}priority" in noted
    assert text(drawing.axis(drawn, 0.5, [], BRUSH)).split() == [
        UNICODE.tick + drawing.time_of_day(NOW + at, 0.5) for at in (0.5, 2.0)
    ]


def test_shares_are_cut_to_the_room() -> None:
    drawn = columns("1112")
    assert "".join(part for part, _ in drawing.shares(drawn, BRUSH, 60)).split("   ")[0] == "1 planner 75%"
    assert drawing.shares(drawn, BRUSH, 12) == []


@given(st.text(max_size=20), st.integers(0, 24), st.integers(0, 12))
def test_writing_keeps_every_other_cell(words: str, x: int, room: int) -> None:
    cells: Cells = [("-", Style())] * 20
    taken = drawing.write(cells, x, drawing.one_line(words), Style(bold=True), room)
    assert 0 <= taken <= room
    assert len(cells) == 20 == sum(cell_len(char) for char, _ in cells)
    assert text(cells)[: min(x, 20)] == "-" * min(x, 20)


@given(st.text(max_size=30), st.integers(0, 12))
def test_what_is_cut_fits(words: str, width: int) -> None:
    assert cell_len(drawing.cut(words, width, BRUSH.glyphs)) <= width


def test_a_strip_has_the_width_and_the_ground_that_it_is_given() -> None:
    ground = Style(bgcolor="red")
    for width in (0, 3, 9):
        made = drawing.strip([("a", Style(bold=True)), ("b", Style(bold=True)), ("c日", Style())], width, ground)
        assert made.cell_length == width
        assert all(segment.style is not None and segment.style.bgcolor == ground.bgcolor for segment in made)
