from __future__ import annotations

import pytest

from aios_shell.tui.ansi import MAX_CHARS, clean, decode, plain


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[1;31mred\x1b[0m rest", "red rest"),
        ("match\x1b[m\x1b[K", "match"),
        ("\x1b]0;title\x07a", "a"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP1$r0m\x1b\\x", "x"),
        ("\x1b[2J\x1b[Hhome", "home"),
        ("\x1b(Bset", "set"),
        ("cut \x1b[", "cut ^[["),
        ("never ends \x1b]0;title", "never ends ^[]0;title"),
        ("10%\r 20%\r", " 20%"),
        ("windows\r", "windows"),
        ("a\tb", "a       b"),
        ("bell\x07 \x9b31m", "bell^G \\u009b31m"),
        ("\u202eright to left", "\\u202eright to left"),
    ],
)
def test_what_is_shown_of_a_line(written: str, shown: str) -> None:
    cleaned = clean(written)
    assert shown == plain(cleaned)
    assert shown == decode(cleaned).plain


def test_colours_are_kept() -> None:
    text = decode(clean("\x1b[31mred\x1b[0m rest"))
    assert [(span.start, span.end, str(span.style)) for span in text.spans] == [(0, 3, "color(1)")]


def test_a_line_is_cut() -> None:
    assert len(clean("x" * 1_000_000)) == MAX_CHARS + 1
