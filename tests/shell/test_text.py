"""What agents wrote reaches a terminal without control characters."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from aios_shell import render
from aios_shell.io import Screen
from aios_shell.text import TerminalText, one_line, sanitize
from shell.conftest import Shell

CONTROLS = {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))}


@given(st.text())
def test_no_control_character_survives_but_newline_and_tab(text: str) -> None:
    assert not (CONTROLS - {"\n", "\t"}) & set(sanitize(text))
    assert not CONTROLS & set(one_line(text))


@given(st.binary(max_size=64), st.integers(1, 7))
def test_a_stream_comes_out_the_same_however_it_is_cut(data: bytes, step: int) -> None:
    whole, cut = TerminalText(), TerminalText()
    pieces = [cut.feed(data[start : start + step]) for start in range(0, len(data), step)]
    assert whole.feed(data) + whole.feed(b"", final=True) == b"".join(pieces) + cut.feed(b"", final=True)


def test_an_escape_sequence_is_made_visible() -> None:
    assert sanitize("a\x1b]0;title\x07b\x9b31m\n") == "a^[]0;title^Gb\\u009b31m\n"


def test_a_plain_table_aligns_and_keeps_cells_on_their_line(shell: Shell) -> None:
    rows = [(1, "a\nb\x1b[2J"), (12, None)]

    def draw(io: render.Io) -> int:
        render.table(io, ("PID", "TASK"), rows, right=frozenset({"PID"}))
        return 0

    assert shell._with_io("", draw) == (0, "PID  TASK\n  1  a b^[[2J\n 12\n", "")


def test_a_table_on_a_narrow_terminal_keeps_its_first_columns_and_cuts_the_last(shell: Shell) -> None:
    rows = [(1, "日本", "a long task that goes on"), (12, "waiting", "b")]

    def draw(io: render.Io) -> int:
        render.table(replace(io, screen=Screen(io.stdout, 24, False)), ("PID", "WHY", "TASK"), rows)
        return 0

    lines = ["PID  WHY      TASK", "1    日本     a long ta…", "12   waiting  b"]
    assert shell._with_io("", draw)[1].splitlines() == lines


def test_sizes_and_spans_read_well() -> None:
    assert [render.size(n) for n in (0, 812, 3_400_000, 98_000_000, 120e9)] == [
        "0",
        "812 B",
        "3.4 MB",
        "98.0 MB",
        "120 GB",
    ]
    assert [render.span(ms) for ms in (400, 12_000, 185_000, 7_800_000)] == ["0.4s", "12s", "3m05s", "2h10m"]
