"""Command lines to a typed tree. Words keep their quote pieces and positions; nothing is expanded here."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from aios_shell.text import sanitize


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of characters under one kind of quoting: "bare", "single", "double" or "escaped"; quotes removed."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Word:
    """Pieces that stand together, and where they stood in the line."""

    pieces: tuple[Piece, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Redirect:
    """`operator` is one of < > >> 2> 2>> with a target, or 2>&1 or >&2 without."""

    operator: str
    target: Word | None


@dataclass(frozen=True, slots=True)
class Command:
    words: tuple[Word, ...]
    redirects: tuple[Redirect, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """`? text`: for the chat agent, taken as it stands."""

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Pipeline:
    stages: tuple[Command | Question, ...]


@dataclass(frozen=True, slots=True)
class AndOr:
    """`first`, then each pipeline whose operator (&& or ||) the status so far allows."""

    first: Pipeline
    rest: tuple[tuple[str, Pipeline], ...]
    background: bool
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    items: tuple[AndOr, ...]


def _blank(char: str) -> str:
    """As wide as `char` on a terminal."""
    return "\t" if char == "\t" else "  " if unicodedata.east_asian_width(char) in "WF" else " "


class SyntaxProblem(Exception):
    """The line cannot be read: where, and what could have stood there."""

    def __init__(self, line: str, position: int, message: str) -> None:
        super().__init__(message)
        self.line, self.position, self.message = line, position, message

    def show(self) -> str:
        """The line, a caret under the place, the message."""
        before = self.line[: self.position]
        row = self.line.split("\n")[before.count("\n")]
        left = sanitize(before[before.rfind("\n") + 1 :])
        return f"{sanitize(row)}\n{''.join(map(_blank, left))}^\naios: {self.message}\n"


class Incomplete(SyntaxProblem):
    """More input may complete it: an unclosed quote, or an operator at the end."""


# What a person calls each terminal of the grammar.
_NAMES: Final = {"WORD": "a command", "QUESTION": "", "REDIRECT": "", "MERGE": "", "$END": ""}
_OPERATORS: Final = {"PIPE": "|", "AND": "&&", "OR": "||", "AMP": "&", "SEMI": ";"}
_GOES_ON: Final = frozenset({"PIPE", "AND", "OR"})

_PIECE: Final = re.compile(
    r"""(?P<single>'[^']*')|(?P<double>"(?:[^"\\]|\\[\s\S])*")|(?P<escaped>\\[\s\S])|(?P<bare>[^'"\\]+)"""
)


def parse(text: str) -> Line:
    """The tree of one logical line. Raises SyntaxProblem, or Incomplete when it may go on."""
    if "\0" in text:
        raise SyntaxProblem(text, text.index("\0"), "unexpected NUL: this is not text")
    try:
        tree = _lark().parse(text)
    except UnexpectedInput as error:
        raise _problem(text, error) from None
    return Line(tuple(_list(text, tree.children[0])) if tree.children[0] is not None else ())


def quote(words: list[str] | tuple[str, ...]) -> str:
    """A line that parses and expands to exactly `words`."""
    return " ".join(word if re.fullmatch(r"[\w@%+=:,./-]+", word) else _quote(word) for word in words)


def _quote(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


@cache
def _lark() -> Lark:
    grammar = Path(__file__).with_name("grammar.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", lexer="contextual", propagate_positions=True, maybe_placeholders=True)


def _problem(text: str, error: UnexpectedInput) -> SyntaxProblem:
    if isinstance(error, UnexpectedCharacters):
        char = text[error.pos_in_stream]
        if char == "\\":
            return Incomplete(text, error.pos_in_stream, "nothing follows the backslash")
        if char in "'\"":
            return Incomplete(text, error.pos_in_stream, f"unclosed {char}")
        return SyntaxProblem(text, error.pos_in_stream, f"unexpected {char!r}")
    assert isinstance(error, UnexpectedToken)
    token = error.token
    last = error.state.value_stack[-1:]  # the parser's stack ends with the operator that waits for its right side
    after = last[0].type if last and isinstance(last[0], Token) else ""
    wanted = "a file name" if after == "REDIRECT" else _expected(error)
    if token.type == "$END":
        kind = Incomplete if after in _GOES_ON else SyntaxProblem
        return kind(text, len(text.rstrip()), f"unexpected end of the line, expected {wanted}")
    return SyntaxProblem(text, token.start_pos or 0, f"unexpected '{token}', expected {wanted}")


def _expected(error: UnexpectedToken) -> str:
    names = [_NAMES.get(name, f"'{_OPERATORS.get(name, name)}'") for name in sorted(error.expected)]
    return " or ".join(name for name in names if name) or "nothing more"


def _list(text: str, tree: Tree[Token]) -> list[AndOr]:
    items: list[AndOr] = []
    children = list(tree.children)
    for index, child in enumerate(children):
        if isinstance(child, Tree):
            after = children[index + 1] if index + 1 < len(children) else None
            items.append(_and_or(text, child, background=isinstance(after, Token) and after.type == "AMP"))
    return items


def _and_or(text: str, tree: Tree[Token], *, background: bool) -> AndOr:
    first, *rest = tree.children
    pairs = tuple((str(rest[i]), _pipeline(rest[i + 1])) for i in range(0, len(rest), 2))
    span = text[tree.meta.start_pos : tree.meta.end_pos]
    return AndOr(_pipeline(first), pairs, background, span)


def _pipeline(tree: Any) -> Pipeline:
    return Pipeline(tuple(_stage(child) for child in tree.children if isinstance(child, Tree)))


def _stage(tree: Tree[Token]) -> Command | Question:
    if tree.data == "question":
        token = tree.children[0]
        assert isinstance(token, Token)
        return Question(str(token)[1:].strip(), token.start_pos or 0)
    words = tuple(_word(child) for child in tree.children if isinstance(child, Token))
    redirects = tuple(_redirect(child) for child in tree.children if isinstance(child, Tree))
    return Command(words, redirects)


def _redirect(tree: Tree[Token]) -> Redirect:
    operator, *target = (child for child in tree.children if isinstance(child, Token))
    sign = str(operator)
    return Redirect(sign.removeprefix("1"), _word(target[0]) if target else None)


def _word(token: Token) -> Word:
    start = token.start_pos or 0
    return Word(tuple(_pieces(str(token))), start, start + len(token))


def _pieces(word: str) -> list[Piece]:
    pieces: list[Piece] = []
    for match in _PIECE.finditer(word):
        kind, text = match.lastgroup or "bare", match.group()
        if kind in ("single", "double"):
            text = text[1:-1]
        elif kind == "escaped":
            text = text[1:]
            if text == "\n":
                continue  # a line that was folded
        pieces.append(Piece(kind, text))
    return pieces
