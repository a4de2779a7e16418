"""What was typed, and how it is coloured: the same for every way of typing it."""

from __future__ import annotations

from pathlib import Path

import pytest
from prompt_toolkit.history import FileHistory

from aios_shell import history
from aios_shell.language.highlight import highlight

ENTRIES = ["ps", "echo 'two\nlines'", "", "+ plus", "# comment", "ü \u2028 x"]


def test_the_file_is_the_one_of_prompt_toolkit(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for entry in ENTRIES:
        history.append(ours, entry)
        FileHistory(str(theirs)).store_string(entry)
    assert ENTRIES == history.load(ours) == history.load(theirs)
    assert list(FileHistory(str(ours)).load_history_strings())[::-1] == ENTRIES
    assert history.load(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("ps --all", ["command ps"]),
        ("math '1+1' | wc -l", ["agent math", "string '1+1'", "operator |"]),
        ("ls > ps; kill $PID # why", ["operator >", "operator ;", "command kill", "variable $PID", "comment # why"]),
        ('echo "half', ['string "half']),
        ("echo ps a#b", []),
        ("", []),
    ],
)
def test_kinds(text: str, kinds: list[str]) -> None:
    (line,) = highlight(text, {"math"})
    assert kinds == [f"{kind} {part}" for kind, part in line if kind]
    assert text == "".join(part for _, part in line)


def test_a_quote_goes_on_in_the_next_line() -> None:
    assert highlight("echo 'a\nb' &&\nps", ()) == [
        [("", "echo"), ("", " "), ("string", "'a")],
        [("string", "b'"), ("", " "), ("operator", "&&"), ("", "")],
        [("", ""), ("command", "ps")],
    ]
