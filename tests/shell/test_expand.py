from __future__ import annotations

from pathlib import Path

import pytest

from aios_shell.language.expand import Scope, expand_all
from aios_shell.language.parse import Command, parse


def words(text: str, cwd: str = "/", status: int = 0, **env: str) -> list[str]:
    (stage,) = parse(text).items[0].first.stages
    assert isinstance(stage, Command)
    return expand_all(stage.words, Scope({"HOME": "/home/a", **env}, cwd, status))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$X", ["a b"]),  # one word, spaces and all
        ('"$X"c', ["a bc"]),
        ("'$X'", ["$X"]),
        ("\\$X", ["$X"]),
        ('"\\$X \\" \\n"', ['$X " \\n']),
        ("${X}y", ["a by"]),
        ("$NONE", []),
        ('"$NONE"', [""]),
        ("a$NONE", ["a"]),
        ("$?", ["3"]),
        ("$ 5$", ["$", "5$"]),
        ("~", ["/home/a"]),
        ("~/x", ["/home/a/x"]),
        ("'~'/x a~ ~b", ["~/x", "a~", "~b"]),
        ("a'b'\"c\"\\ d", ["abc d"]),
        ("a\\\nb", ["ab"]),
    ],
)
def test_words_expand_as_a_shell_user_expects(text: str, expected: list[str]) -> None:
    assert expected == words(text, status=3, X="a b")


def test_globs_match_in_the_sessions_folder_and_stay_as_they_are_without_a_match(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c d.txt", ".hidden.txt", "[x].md"):
        (tmp_path / name).touch()
    cwd = str(tmp_path)
    assert words("*.txt", cwd) == ["a.txt", "b.txt", "c d.txt"]
    assert words('"*.txt" \\*.txt *.none What?', cwd) == ["*.txt", "*.txt", "*.none", "What?"]
    assert words("'[x]'*", cwd) == ["[x].md"]
    assert words("$X", cwd, X="*.txt") == ["*.txt"]  # what a variable holds is no pattern
    assert words(f"{tmp_path}/a*", "/") == [f"{tmp_path}/a.txt"]
