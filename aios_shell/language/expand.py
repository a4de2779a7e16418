"""What the pieces of a word stand for: variables, the home folder, globs. Quotes were read by the parser.

An unquoted $VAR stays one word, spaces and all, as in zsh and fish; one that is empty and stands alone vanishes.
"""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aios_shell.language.parse import Piece, Word

_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*)|(\?))")
_DOUBLE_ESCAPE: Final = re.compile(r'\\(?:([$`"\\])|\n)')  # the escapes that sh knows inside double quotes
_GLOB: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Scope:
    """What expansion may look at."""

    env: dict[str, str]
    cwd: str
    status: int = 0

    def value(self, match: re.Match[str]) -> str:
        if match.group(3):
            return str(self.status)
        return self.env.get(match.group(1) or match.group(2), "")


def expand(word: Word, scope: Scope) -> list[str]:
    """The words that `word` stands for: usually one, several for a glob, none for an empty variable."""
    parts = [(piece, _text(piece, scope)) for piece in word.pieces]
    if parts and parts[0][0].kind == "bare":
        parts[0] = (parts[0][0], _home(parts[0][1], scope, whole=len(parts) == 1))
    literal = "".join(text for _, text in parts)
    if any(piece.kind == "bare" and _GLOB.search(piece.text) for piece, _ in parts):
        pattern = "".join(_pattern(piece, text) for piece, text in parts)
        found = sorted(glob.glob(pattern, root_dir=scope.cwd))  # noqa: PTH207 -- patterns may be absolute
        return found or [literal]
    if not literal and all(piece.kind == "bare" for piece in word.pieces):
        return []
    return [literal]


def expand_all(words: tuple[Word, ...], scope: Scope) -> list[str]:
    return [text for word in words for text in expand(word, scope)]


def _text(piece: Piece, scope: Scope) -> str:
    if piece.kind == "bare":
        return _VARIABLE.sub(scope.value, piece.text)
    if piece.kind == "double":
        return _double(piece.text, scope)
    return piece.text


def _double(text: str, scope: Scope) -> str:
    """Inside double quotes: variables and a few escapes, read left to right so that an escaped $ stays."""
    both = re.compile(f"{_DOUBLE_ESCAPE.pattern}|{_VARIABLE.pattern}")

    def one(match: re.Match[str]) -> str:
        if match.group().startswith("\\"):
            return match.group(1) or ""
        found = _VARIABLE.match(match.group())
        assert found is not None
        return scope.value(found)

    return both.sub(one, text)


def _home(text: str, scope: Scope, *, whole: bool) -> str:
    """`~` and `~/x`; `~user` is left alone."""
    if (text == "~" and whole) or text.startswith("~/"):
        return scope.env.get("HOME", str(Path.home())) + text[1:]
    return text


def _pattern(piece: Piece, text: str) -> str:
    """Only what was typed bare is a pattern: not quotes, not what a variable held."""
    if piece.kind != "bare":
        return glob.escape(text)
    return text if "$" not in piece.text else glob.escape(text)
