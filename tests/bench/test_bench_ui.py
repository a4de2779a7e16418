"""What `aios bench ui` reads off the terminal, tells the app, and makes of its figures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from aios_kernel.client import KernelClient, frame_of
from aios_kernel.errors import DeadlineHit, InternalError
from aios_kernel.protocol import ProcState
from aios_shell.bench import ui
from aios_shell.bench.feed import Script, telling
from aios_shell.bench.terminal import CursorRow, terminal

CURSOR = "#102030"
ON, OFF = "\x1b[1;38;2;1;2;3;48;2;16;32;48m", "\x1b[38;2;1;2;3;48;2;0;0;0m"


def test_the_cursor_is_where_its_background_is() -> None:
    row = CursorRow(CURSOR)
    row.feed(
        f"\x1b[?2026h\x1b]22;default\x07\x1b[3;1H{OFF}      7  chat\x1b[0m\r\n"
        f"{ON}  \x1b[0m{ON}   12\x1b[0m{ON}  math\x1b[0m"
    )
    assert row.pid == 12
    assert row.text.split() == ["7", "chat", "12", "math"]


def test_a_row_that_comes_in_pieces_is_put_together() -> None:
    row = CursorRow(CURSOR)
    for piece in ("\x1b[4;1", f"H{ON[:9]}", f"{ON[9:]}●   ", "34", "5  chat\x1b", "[0m"):
        row.feed(piece)
    assert row.pid == 345


def test_other_text_on_the_cursors_background_is_no_pid() -> None:
    row = CursorRow(CURSOR)
    row.feed(f"{ON}  some words of a prompt 12\x1b[2;5H{OFF}    99  ")
    assert row.pid is None


RAW = """
import os, tty
tty.setraw(0)
print("ready", flush=True)
print(os.get_terminal_size().columns, os.read(0, 1), flush=True)
os.read(0, 1)
"""


def test_a_program_on_a_terminal_is_heard_and_answers() -> None:
    with terminal([sys.executable, "-c", RAW], {}, CURSOR) as program:
        program.read_until(lambda row: "ready" in row.text, 20, "nothing came")
        pressed = program.press("x")
        seen = program.read_until(lambda row: "120 b'x'" in row.text, 20, "nothing came")
        assert program.began < pressed < seen
        with pytest.raises(DeadlineHit, match="it is late after 0"):
            program.read_until(lambda _: False, 0.01, "it is late")


def test_a_program_that_ends_early_is_an_error() -> None:
    with (
        terminal([sys.executable, "-c", "print('oh no')"], {}, CURSOR) as program,
        pytest.raises(InternalError, match=r"ended with 0.*oh no"),
    ):
        program.read_until(lambda _: False, 20, "it is late")


def test_the_feed_tells_that_every_agent_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOS_HOME", str(tmp_path))
    with telling(Script(6, changing=True)):
        stream = KernelClient().watch(50.0)
        told = iter(stream)
        first, second = (frame_of(next(told)[1]) for _ in range(2))
        stream.close()
    states = [{proc.pid: proc.state for proc in frame.procs} for frame in (first, second)]
    assert set(states[0]) == set(states[1]) == set(range(1, 7))
    assert all(states[0][pid] is not states[1][pid] for pid in states[0])
    assert [entry.pid for entry in first.queue or []] == [
        proc.pid for proc in first.procs if proc.state is ProcState.READY
    ]


def run(**changes: Any) -> dict[str, Any]:
    figures = {
        "bare_ms": 300.0,
        "imports_ms": 500.0,
        "paint_ms": 900.0,
        "ready_ms": 1100.0,
        "cpu": 0.2,
        "cpu_keys": 0.3,
        "keys_ms": [10.0] * 99 + [80.0],
        "tok_per_s": 120.0,
        "pages_ms": [12.0, 30.0, 20.0],
    }
    return figures | changes


def test_the_goals_are_judged() -> None:
    rows = {row.name: row for row in ui.measures([run()])}
    assert {row.name: row.met for row in rows.values() if row.goal} == {
        "first paint": True,
        "CPU time, 200 agents changing at 10 Hz": True,
        "keys answered within 50 ms": True,
        "slowest page of 2,000 rows": True,
    }
    assert rows["imports of the app"].peer == 300.0
    late = {
        row.name: row.met for row in ui.measures([run(paint_ms=1001.0, cpu=0.26, keys_ms=[60.0], pages_ms=[101.0])])
    }
    assert [late[name] for name, row in rows.items() if row.goal] == [False] * 4


def test_the_chart_has_keys_and_pages_of_all_runs() -> None:
    (chart,) = ui.charts([run(), run()])
    assert [len(series.x) for series in chart.series] == [200, 6]
