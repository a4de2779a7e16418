"""The process table in a terminal that is not there: what it draws, what it repaints, what its keys ask for."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from factories import NOW, ended, entry, live, proc
from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.geometry import Region
from textual.message import Message
from textual.pilot import Pilot
from textual.widgets import Input

from aios_kernel.protocol import ProcState, Tier
from aios_shell.tui import glyphs
from aios_shell.tui.live import Link, Live
from aios_shell.tui.messages import Act
from aios_shell.tui.themes import Themed
from aios_shell.tui.widgets.process_table import ProcessTable

pytestmark = pytest.mark.anyio

Told = list[Any]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No theme or setting of whoever runs the tests."""
    monkeypatch.setenv("AIOS_HOME", str(tmp_path))
    monkeypatch.delenv("NO_COLOR", raising=False)


class Host(Themed):
    """An app of nothing but the table."""

    def __init__(self, told: Live) -> None:
        super().__init__()
        self.now = NOW
        self.table = ProcessTable(told, lambda: self.now)
        self.heard: Told = []

    def compose(self) -> ComposeResult:
        yield self.table

    def on_mount(self) -> None:
        self.table.focus()

    @on(Act)
    @on(ProcessTable.Chosen)
    def hear(self, message: Message) -> None:
        self.heard.append(message)

    @property
    def acts(self) -> Told:
        return [(act.verb, act.pids, act.value) for act in self.heard if isinstance(act, Act)]

    @property
    def chosen(self) -> Told:
        return [message.pid for message in self.heard if isinstance(message, ProcessTable.Chosen)]

    @property
    def lines(self) -> list[str]:
        rows = self.table.rows
        return [rows.render_line(y).text for y in range(rows.size.height)]

    @property
    def pids(self) -> list[int]:
        return [row.pid for row in self.table.rows.rows]


@asynccontextmanager
async def shown(told: Live, width: int = 80, height: int = 24) -> AsyncIterator[tuple[Host, Pilot[int]]]:
    app = Host(told)
    async with app.run_test(size=(width, height)) as pilot:
        await pilot.pause()
        yield app, pilot


@pytest.mark.parametrize("width", [1, 2, 14, 20, 33, 80, 120, 200, 1000])
async def test_every_line_is_as_wide_as_the_table(width: int) -> None:
    hostile = "\x1b[2J\x1b]52;c;aGk=\x07 \u202e 日本語 🦊\u200d👩 " * 30
    told = live(
        proc(1, agent=hostile, task=hostile, reason=hostile, group=hostile, state=ProcState.READY),
        proc(2, task="[bold]not markup[/]", window="dropped 4 turns", ctx_used=2048),
        ended(3, exit_code=137),
        proc(99999, nice=-20, tokens_in=12_345_678, tokens_out=999_999, started_at=NOW - 400_000),
        queue=[entry(1)],
    )
    async with shown(told, width) as (app, _):
        assert {cell_len(line) for line in app.lines} == {width}
        text = "".join(app.lines)
        assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or char == "\u202e" for char in text)
        if width >= 80:
            assert "[bold]not" in text


async def test_a_row_says_what_is_known() -> None:
    told = live(
        proc(1, agent="narrate", task="a fox", state=ProcState.READY, slot=None, tier=Tier.RAM, tokens_out=1234),
        queue=[entry(1, reason="behind 4", eta_ms=4100.0)],
    )
    told.rates[1] = deque([0.0, 4.0, 8.0])
    async with shown(told, 200) as (app, _):
        heading, line, *_ = app.lines
    assert heading.split() == [
        *("PID▴", "AGENT", "STATE", "WHY", "TOK/S", "CTX", "IN/OUT", "WAIT", "TIME", "NI", "GROUP", "SLOT", "TIER"),
        "TASK",
    ]
    assert line.split() == [
        *("1", "narrate", "…", "ready", "behind", "4,", "~4s", "▄█", "12.5", "━━━━━━━", "25%", "120/1.2k", "0.3s"),
        *("4s", "0", "user", "ram", "a", "fox"),
    ]


async def test_without_utf8_all_is_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("cells", "rows", "glyphs"):
        monkeypatch.setattr(f"aios_shell.tui.{module}.glyphs", lambda: glyphs.ASCII)
    told = live(
        *(proc(number, state=state) for number, state in enumerate(ProcState, 1)), proc(20, ppid=1, task="é" * 99)
    )
    async with shown(told) as (app, pilot):
        await pilot.press("t", "A", "space")
        assert "".join(app.lines).replace("é", "").isascii()


async def test_who_asks_is_first_and_can_be_answered() -> None:
    told = live(proc(1), proc(2, state=ProcState.ASKING))
    async with shown(told) as (app, pilot):
        assert app.pids == [2, 1]
        await pilot.press("a", "d", "end", "a", "d")
        assert app.acts == [("approve", (2,), None), ("deny", (2,), None)]


async def test_the_verbs_are_for_the_pid_under_the_cursor() -> None:
    told = live(proc(1), proc(2), proc(3, nice=5))
    async with shown(told) as (app, pilot):
        await pilot.press("j", "down", *"srxinfw", "[", "]", "enter")
        verbs = ("suspend", "resume", "kill", "int", "renice", "fork", "save")
        expected = [(verb, (3,), None) for verb in verbs]
        assert app.acts == [*expected, ("renice", (3,), 4), ("renice", (3,), 6), ("attach", (3,), None)]


async def test_a_verb_is_for_the_marked_rows_that_are_seen() -> None:
    told = live(proc(1, agent="math"), proc(2), proc(3, agent="math"), proc(4))
    async with shown(told) as (app, pilot):
        await pilot.press("space", "space", "space", "x")
        await pilot.press("slash", *"math", "enter", "x")
        await pilot.press("escape", "escape", "x")
        assert [pids for _, pids, _ in app.acts] == [(1, 2, 3), (1, 3), (3,)]


async def test_the_cursor_stays_on_its_pid_when_the_order_changes() -> None:
    told = live(proc(1), proc(2), proc(3))
    async with shown(told) as (app, pilot):
        await pilot.press("down")
        told.procs[3] = replace(told.procs[3], state=ProcState.ASKING)
        app.table.show()
        assert (app.pids, app.table.rows.cursor) == ([1, 2, 3], 2)  # held: a key was pressed just now
        app.table.rows.let_go()
        assert (app.pids, app.table.rows.cursor) == ([3, 1, 2], 2)
        await pilot.press("x")
        assert app.acts == [("kill", (2,), None)]


async def test_while_the_cursor_moves_new_rows_are_appended() -> None:
    told = live(proc(2), proc(3))
    async with shown(told) as (app, pilot):
        await pilot.press("down")
        told.procs[1] = proc(1, state=ProcState.ASKING)
        app.table.show()
        assert app.pids == [2, 3, 1]
        app.table.rows.let_go()
        assert app.pids == [1, 2, 3]


async def test_the_order_is_let_go_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aios_shell.tui.widgets.process_rows.HOLD_S", 0.01)
    told = live(proc(2), proc(3))
    async with shown(told) as (app, pilot):
        await pilot.press("down")
        told.procs[1] = proc(1)
        while app.pids != [1, 2, 3]:
            await pilot.pause(0.01)


async def test_when_its_process_is_gone_the_cursor_takes_the_row_that_is_there_now() -> None:
    told = live(proc(1), proc(2), proc(3))
    async with shown(told) as (app, pilot):
        await pilot.press("down")
        app.table.rows.let_go()
        del told.procs[2]
        app.table.show()
        assert app.table.rows.cursor == 3
        told.procs.clear()
        app.table.show()
        assert app.table.rows.cursor is None
        await pilot.press("x", "enter", "space", "s", "down")
        assert app.acts == []


async def test_it_is_told_where_the_cursor_came_to_rest() -> None:
    told = live(proc(1), proc(2), proc(3))
    async with shown(told) as (app, pilot):
        while not app.chosen:
            await pilot.pause(0.01)
        await pilot.press("down", "down", "up")
        while app.chosen[-1] != 2:
            await pilot.pause(0.01)
        told.procs.clear()
        app.table.show()
        while app.chosen[-1] is not None:
            await pilot.pause(0.01)


async def test_only_lines_that_differ_are_painted_again() -> None:
    told = live(*(proc(pid) for pid in range(1, 200)))
    async with shown(told) as (app, pilot):
        asked: list[Region] = []
        rows = app.table.rows
        refresh = rows.refresh
        rows.refresh = lambda *regions, **options: (asked.extend(regions), refresh(*regions, **options))[1]  # type: ignore[method-assign]
        app.table.show()
        assert asked == []
        told.procs[2] = replace(told.procs[2], tokens_out=999, ctx_used=2000)
        told.procs[4] = replace(told.procs[4], state=ProcState.SUSPENDED)
        told.procs[5] = replace(told.procs[5], state=ProcState.SUSPENDED)
        told.procs[150] = replace(told.procs[150], state=ProcState.SUSPENDED)  # is not seen
        app.table.show()
        assert [(region.y, region.height) for region in asked] == [(2, 1), (4, 2)]
        await pilot.pause()
        assert "suspended" in app.lines[5]


async def test_many_lines_that_differ_are_painted_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aios_shell.tui.widgets.process_rows.SLICE_S", 0.001)
    told = live(*(proc(pid) for pid in range(1, 100)))
    async with shown(told, height=60) as (app, pilot):
        painted: set[int] = set()
        rows = app.table.rows
        render_line = rows.render_line
        rows.render_line = lambda y: (painted.add(y), render_line(y))[1]  # type: ignore[method-assign]
        told.procs = {pid: replace(each, tokens_out=999) for pid, each in told.procs.items()}
        app.table.show()
        while painted != set(range(1, 60)):
            await pilot.pause(0.01)


async def test_two_thousand_rows_scroll_and_the_cursor_is_always_seen() -> None:
    told = live(*(proc(pid) for pid in range(1, 2001)))
    async with shown(told) as (app, pilot):
        await pilot.press("end")
        assert "2000" in app.lines[-1]
        assert app.lines[0].split()[0] == "PID▴"
        await pilot.press("pageup")
        assert app.table.rows.cursor == 2000 - 23
        assert any(line.split()[0] == "1977" for line in app.lines)
        await pilot.press("home")
        assert app.lines[1].split()[0] == "1"


async def test_a_heading_sorts_and_again_the_other_way() -> None:
    told = live(proc(1, tok_per_s=1.0), proc(2, tok_per_s=9.0), proc(3, tok_per_s=5.0))
    async with shown(told) as (app, pilot):
        x = app.lines[0].index("TOK/S")
        await pilot.click(offset=(x, 0))
        assert app.pids == [2, 3, 1]
        assert "TOK/S▾" in app.lines[0]
        await pilot.click(offset=(x, 0))
        assert app.pids == [1, 3, 2]
        await pilot.press("O")
        assert app.pids == [2, 3, 1]
        await pilot.press("o")
        assert app.table.rows.choice.sort == "CTX"


async def test_a_click_chooses_in_the_margin_it_marks_and_twice_attaches() -> None:
    told = live(proc(1), proc(2), proc(3))
    async with shown(told) as (app, pilot):
        await pilot.click(offset=(20, 3))
        assert app.table.rows.cursor == 3
        await pilot.click(offset=(0, 2))
        assert (app.table.rows.cursor, app.table.rows.marked) == (2, {2})
        await pilot.click(offset=(20, 20))
        await pilot.double_click(offset=(20, 1))
        assert app.acts == [("attach", (1,), None)]


async def test_the_filter_is_typed_in_place() -> None:
    told = live(proc(1, agent="math"), proc(2, agent="chat"))
    async with shown(told) as (app, pilot):
        await pilot.press("slash", *"math")
        assert app.pids == [1]
        assert app.table.query_one(Input).has_focus
        await pilot.press("enter")
        assert app.table.rows.has_focus
        assert app.table.has_class("-filtered")
        await pilot.press("escape")
        assert app.pids == [1, 2]
        assert not app.table.has_class("-filtered")
        assert app.acts == []  # letters of the filter are no verbs


async def test_ended_processes_are_shown_when_asked_for() -> None:
    told = live(proc(1), ended(2, ended_at=NOW - 60))
    async with shown(told) as (app, pilot):
        assert app.pids == [1]
        await pilot.press("A")
        assert app.pids == [1, 2]


async def test_times_go_on_while_the_kernel_is_silent() -> None:
    told = live(proc(1, started_at=NOW - 4))
    async with shown(told, 120) as (app, pilot):
        assert " 4s " in app.lines[1]
        app.now += 60
        app.table.show()
        await pilot.pause()
        assert " 1m04s " in app.lines[1]


async def test_an_empty_table_invites_with_lines_that_work() -> None:
    async with shown(live()) as (app, _):
        text = "\n".join(app.lines)
        assert 'run math "What is 12*7?"' in text
        assert 'run --bg narrate "a fox"' in text
        assert "agents ls" in text


async def test_before_there_is_a_kernel_its_note_is_shown() -> None:
    told = Live(link=Link.STARTING, note="starting the kernel \x1b[2J")
    async with shown(told) as (app, _):
        assert any("starting the kernel ^[[2J" in line for line in app.lines)
        told.link = Link.LIVE
        app.table.show()
        assert any("run math" in line for line in app.lines)


async def test_a_filter_that_nothing_matches_says_so() -> None:
    async with shown(live(proc(1))) as (app, pilot):
        await pilot.press("slash", *"zzz")
        assert any("esc  clears the filter" in line for line in app.lines)


async def test_another_theme_paints_all_lines_anew() -> None:
    async with shown(live(proc(1))) as (app, pilot):
        before = app.table.rows.render_line(1)
        app.theme = "paper"
        await pilot.pause()
        assert app.table.rows.render_line(1) != before
        assert app.table.rows.render_line(1).text == before.text


async def test_a_reversed_cursor_shows_how_full_the_window_is() -> None:
    async with shown(live(proc(1, ctx_used=1024)), 200) as (app, pilot):
        app.theme = "ansi"
        await pilot.pause()
        assert "━━━╸    " in app.lines[1]


async def test_a_storm_of_sizes_ends_in_the_last_one() -> None:
    told = live(*(proc(pid) for pid in range(1, 100)))
    async with shown(told) as (app, pilot):
        await pilot.press("end")
        for width, height in ((20, 5), (1000, 3), (1, 1), (200, 60), (80, 24)):
            await pilot.resize_terminal(width, height)
        assert any(line.split()[:1] == ["99"] for line in app.lines)


@pytest.mark.parametrize(
    ("share", "drawn"), [(0.0, ""), (0.01, ""), (0.5, "━━"), (0.6, "━━╸"), (1.0, "━━━━"), (7.0, "━━━━")]
)
def test_a_bar_is_as_long_as_its_share(share: float, drawn: str) -> None:
    assert glyphs.bar(share, 4, glyphs.UNICODE.line).rstrip() == drawn


def test_a_sparkline_shows_the_newest_and_that_something_is_more_than_nothing() -> None:
    assert glyphs.spark([9, 0, 0.01, 4, 8], 4, 8.0, glyphs.UNICODE.sparks) == " ▁▄█"
    assert glyphs.spark([8], 3, 8.0, glyphs.UNICODE.sparks) == "  █"
    assert glyphs.spark([], 2, 8.0, glyphs.UNICODE.sparks) == "  "


@pytest.mark.parametrize("drawn", [glyphs.UNICODE, glyphs.ASCII], ids=["unicode", "ascii"])
def test_every_glyph_takes_one_cell(drawn: glyphs.Glyphs) -> None:
    chars = [*drawn.states.values(), *drawn.sparks, *drawn.parts, *drawn.line]
    assert {cell_len(char) for char in chars} == {1}
    assert len(set(drawn.states.values())) == len(ProcState)
