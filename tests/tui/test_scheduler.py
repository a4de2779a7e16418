"""The scheduler's view in a terminal that is not there: slots, queue, lanes, and what its keys do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from factories import NOW, entry, live, proc, status, use
from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.events import MouseScrollDown, MouseScrollUp
from textual.geometry import Region
from textual.message import Message
from textual.pilot import Pilot
from textual.widget import Widget

from aios_kernel.protocol import ProcState, StepInfo, StepPhase, Tier
from aios_shell.tui.glyphs import glyphs
from aios_shell.tui.live import Live
from aios_shell.tui.messages import Act, Run
from aios_shell.tui.themes import Themed
from aios_shell.tui.widgets.board import Board
from aios_shell.tui.widgets.lanes import Lanes
from aios_shell.tui.widgets.scheduler import Scheduler

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No theme or setting of whoever runs the tests."""
    monkeypatch.setenv("AIOS_HOME", str(tmp_path))
    monkeypatch.delenv("NO_COLOR", raising=False)


@asynccontextmanager
async def running(app: Host, width: int, height: int) -> AsyncIterator[Pilot[int]]:
    """The app, laid out."""
    async with app.run_test(size=(width, height)) as pilot:
        await pilot.pause()
        yield pilot


class Host(Themed):
    """An app of nothing but the view."""

    def __init__(self, told: Live) -> None:
        super().__init__()
        self.view = Scheduler(told)
        self.heard: list[Any] = []

    def compose(self) -> ComposeResult:
        yield self.view

    def on_mount(self) -> None:
        self.view.focus()

    @on(Act)
    @on(Run)
    def hear(self, message: Message) -> None:
        self.heard.append(message)

    @property
    def lanes(self) -> Lanes:
        return self.query_one(Lanes)


def lines(widget: Widget) -> list[str]:
    return [strip.text for strip in widget.render_lines(Region(0, 0, *widget.size))]


def seen(app: Host) -> str:
    return "\n".join(
        line for widget in (app.query_one("Head"), app.query_one(Board), app.lanes) for line in lines(widget)
    )


def steps(count: int, first: int = 0, pid: int = 12) -> list[StepInfo]:
    """`pid` decodes in slot 0; 13 prefills in slot 1."""
    uses = (use(0, pid), use(1, 13, StepPhase.PREFILL, 64))
    return [StepInfo(number, NOW + number * 0.05, 50.0, uses, ()) for number in range(first, first + count)]


def told(**changes: Any) -> Live:
    """Two that run, three that wait, one suspended."""
    procs = [
        proc(12, agent="planner", slot=0, tokens_out=57, task="find the reason"),
        proc(13, agent="critic", slot=1, reason="prefilling 120/340", tok_per_s=0.0),
        *(proc(pid, agent="writer", slot=None, state=ProcState.READY) for pid in (21, 22, 23)),
        proc(31, agent="reader", slot=None, state=ProcState.SUSPENDED, tier=Tier.RAM, ctx_used=512),
    ]
    queue = [
        entry(12, queue="running", eta_ms=0.0, reason="decoding"),
        entry(21, position=1, reason="next", eta_ms=4000.0),
        entry(22, position=2, reason="behind 12 and 21", eta_ms=None),
        entry(23, position=3, reason="behind 12, 21 and 22", eta_ms=90_000.0),
    ]
    return live(*procs, **({"queue": queue, "steps": steps(100)} | changes))


async def test_slots_queue_and_suspended_ones_are_told_with_their_reasons() -> None:
    app = Host(told())
    async with running(app, 120, 30):
        picture = seen(app)
    for words in (
        "12 planner        decoding 57 tok     12.5 tok/s",
        "13 critic         prefilling 120/340",
        "2 " + glyphs().idle + "    - idle",
        "run queue 3",
        "1   21 writer          ~4.0s next",
        "2   22 writer                behind 12 and 21",
        "3   23 writer         ~1m30s behind 12, 21 and 22",
        "31 reader         512 tokens on ram",
    ):
        assert words in picture


async def test_the_timeline_has_the_newest_at_the_right() -> None:
    app = Host(told(steps=steps(8)))
    async with running(app, 80, 24):
        drawn = [line for line in lines(app.lanes) if glyphs().decode in line or glyphs().prefill in line]
    assert drawn[1].endswith(glyphs().idle + glyphs().decode * 2)  # under the legend; four steps a cell
    assert drawn[2].endswith(glyphs().idle + glyphs().prefill * 2)


async def test_a_lane_a_slot_whatever_the_room() -> None:
    for size in ((20, 6), (20, 10), (40, 16), (80, 10), (80, 24), (200, 60), (1000, 8)):
        app = Host(told())
        async with running(app, *size) as pilot:
            for line in seen(app).split("\n"):
                assert cell_len(line) <= size[0]
            await pilot.resize_terminal(30, 12)
            numbered = [line for line in lines(app.lanes) if line[:2] in ("0 ", "1 ", "2 ", "3 ")]
            assert len(numbered) == 4


async def test_more_slots_than_rows_can_be_looked_through() -> None:
    app = Host(told(status=status(slots=40)))
    async with running(app, 60, 14) as pilot:
        first = lines(app.lanes)[0]
        await pilot.press("shift+down")
        assert first.startswith(" 0 ")
        assert "slots 1 to 7 of 40" in seen(app)
        assert lines(app.lanes)[0].startswith(" 1 ")
        for _ in range(60):
            await pilot.press("shift+down")
        await pilot.press("shift+up")
        assert lines(app.lanes)[0].startswith(tuple(f"{number} " for number in range(20, 39)))


async def test_zoom_changes_how_many_steps_a_cell_has() -> None:
    app = Host(told())
    async with running(app, 80, 24) as pilot:
        assert "a cell is 4 steps" in seen(app)
        await pilot.press("plus", "plus", "plus")
        assert app.lanes.per_cell == 1
        assert "a cell is a step" in seen(app)
        await pilot.press(*["minus"] * 9)
        assert app.lanes.per_cell == 32


async def test_looking_back_holds_the_picture_until_end() -> None:
    app = Host(told(steps=steps(2000)))
    async with running(app, 80, 24) as pilot:
        await pilot.press("left")
        assert app.lanes.paused
        held = lines(app.lanes)[1:9]
        app.view._live.steps.extend(steps(40, first=2000, pid=21))
        app.view.show()
        assert lines(app.lanes)[1:9] == held
        assert "back, End follows" in seen(app)
        await pilot.press("end")
        assert lines(app.lanes)[1:9] != held
        assert not app.lanes.paused


async def test_looking_forward_to_the_newest_follows_again() -> None:
    app = Host(told(steps=steps(2000)))
    async with running(app, 80, 24) as pilot:
        await pilot.press("left", "left", "right", "right")
        assert not app.lanes.paused
        await pilot.press("right")
        assert not app.lanes.paused


async def test_the_wheel_looks_back_too() -> None:
    app = Host(told(steps=steps(2000)))
    async with running(app, 80, 24) as pilot:
        await pilot._post_mouse_events([MouseScrollUp], widget=Lanes, offset=(5, 3))
        assert app.lanes.paused
        await pilot._post_mouse_events([MouseScrollDown], widget=Lanes, offset=(5, 3))
        assert not app.lanes.paused


async def test_p_asks_for_the_next_policy() -> None:
    app = Host(told())
    async with running(app, 80, 24) as pilot:
        await pilot.press("p")
    assert [message.line for message in app.heard] == ["sched priority"]


async def test_a_switch_of_the_policy_is_marked_in_the_timeline() -> None:
    app = Host(told())
    app.view._lanes._clock = lambda: NOW + 4.0
    async with running(app, 80, 24):
        app.view._live.status = status(policy="rr")
        app.view.show()
        assert f"{glyphs().tick}rr" in lines(app.lanes)[-2]


async def test_a_click_looks_at_whose_row_or_cell_it_is() -> None:
    app = Host(told())
    async with running(app, 120, 30) as pilot:
        await pilot.click(Board, offset=(8, 1))  # slot 1
        await pilot.click(Board, offset=(70, 2))  # second in the queue
        await pilot.click(Lanes, offset=(app.lanes.size.width - 2, 2))  # under the legend and the names: slot 0
        await pilot.click(Lanes, offset=(app.lanes.size.width - 2, 8))  # slot 3, where nobody was
    assert [(message.verb, message.pids) for message in app.heard] == [
        ("focus", (13,)),
        ("focus", (22,)),
        ("focus", (12,)),
    ]


async def test_nothing_is_repainted_when_nothing_changed() -> None:
    app = Host(told())
    app.view._lanes._clock = lambda: NOW + 5.0
    async with running(app, 80, 24) as pilot:
        app.view.show()
        await pilot.pause()
        for widget in (app.query_one("Head"), app.query_one(Board), app.lanes):
            widget._repaint_required = False
        app.view.show()
        assert not any(widget._repaint_required for widget in (app.query_one("Head"), app.query_one(Board), app.lanes))


async def test_a_kernel_that_is_not_there_yet_and_one_that_did_nothing_say_so() -> None:
    for empty in (Live(), live()):
        app = Host(empty)
        async with running(app, 60, 20) as pilot:
            assert "nothing has run" in seen(app)
            assert "run queue empty" in seen(app)
            await pilot.press("p", "plus", "left", "right", "end", "down", "shift+down")


async def test_names_of_agents_cannot_reach_the_terminal() -> None:
    evil = "\x1b]0;owned\x07[bold]\u202e日本"
    app = Host(
        live(proc(12, agent=evil, slot=0, task=evil, reason=evil), steps=steps(400), queue=[entry(12, reason=evil)])
    )
    for size in ((40, 16), (120, 30)):
        async with running(app, *size):
            picture = seen(app)
        assert not set("\x1b\x07\u202e") & set(picture)
        app = Host(app.view._live)
