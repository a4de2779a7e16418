"""What becomes of a line before the app runs it: agents go to the background, what takes the terminal is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Final

from aios_kernel.errors import BadRequest, KernelError
from aios_shell import registry
from aios_shell.language.lookup import Builtin, look_up
from aios_shell.language.parse import AndOr, Command, Line, Piece, Question, Redirect, Word
from aios_shell.session import Session

# Programs that are nothing without a whole terminal. Unknown ones find none and end by themselves.
# fmt: off
FULL_SCREEN: Final = frozenset({
    "vi", "vim", "nvim", "view", "nano", "pico", "emacs", "micro", "hx", "helix", "joe", "less", "more", "most", "pg",
    "htop", "btop", "atop", "iotop", "nvtop", "watch", "tmux", "screen", "zellij", "mc", "ranger", "nnn", "lf",
    "tig", "lazygit", "lazydocker", "k9s", "fzf", "dialog", "whiptail",
})
# fmt: on


class NeedsTerminal(BadRequest):
    """It would draw on the terminal that the app has."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A line as it is run here."""

    line: Line
    starts: bool = False  # an agent that a person wants to look at
    attach: int | None = None  # it only names a process to look at


def prepare(line: Line, session: Session, note: Callable[[str], None]) -> Prepared:
    """Look at each command of the line. Raises NeedsTerminal, and KernelError when names cannot be looked up."""
    for item in line.items:
        for pipeline in (item.first, *(pipeline for _, pipeline in item.rest)):
            _refuse(pipeline.stages[-1])
    if len(line.items) == 1 and (pid := _attached(line.items[0])) is not None:
        return Prepared(line, attach=pid)
    items = tuple(_started(item, session, note) for item in line.items)
    return Prepared(Line(items), starts=items != line.items)


def _literals(command: Command) -> list[str]:
    """The words as they were typed, unquoted; "" for one that a variable or a pattern is part of."""
    return [
        "".join(piece.text for piece in word.pieces)
        if all(piece.kind != "bare" or not set(piece.text) & set("$*?[~") for piece in word.pieces)
        else ""
        for word in command.words
    ]


def _refuse(stage: Command | Question) -> None:
    """Only the last stage is looked at: what writes into a pipe does not draw."""
    if isinstance(stage, Question):
        return
    words = _literals(stage)
    name = PurePath(words[0]).name if words else ""
    to_file = any(_is_output(redirect) for redirect in stage.redirects)
    if name == "aios":
        name, *words = words[1:] or ["top"]
    if name in ("repl", "top"):
        raise NeedsTerminal("this is the shell already: type its commands here")
    if name == "serve":
        raise NeedsTerminal("serve goes on until it is stopped; run `aios serve` in another terminal")
    if name == "kernel" and "--foreground" in words:
        raise NeedsTerminal("a kernel in the foreground would take the place of this app; start it elsewhere")
    if name in FULL_SCREEN and not to_file:
        raise NeedsTerminal(f"{name} wants the whole terminal; run it in another one")


def _is_output(redirect: Redirect) -> bool:
    return redirect.operator in (">", ">>")


def _bare(item: AndOr) -> Command | Question | None:
    """The one command that the item is, nothing redirected."""
    stage = item.first.stages[0]
    if item.background or item.rest or len(item.first.stages) > 1:
        return None
    return stage if isinstance(stage, Question) or not stage.redirects else None


def _attached(item: AndOr) -> int | None:
    stage = _bare(item)
    words = _literals(stage) if isinstance(stage, Command) else []
    return int(words[1]) if len(words) == 2 and words[0] == "attach" and words[1].isdecimal() else None


def _started(item: AndOr, session: Session, note: Callable[[str], None]) -> AndOr:
    """`math 1+1` as `run --bg math 1+1`: the agent's own pane shows it, and the line is free for the next command."""
    stage = _bare(item)
    if stage is None:
        return item
    if isinstance(stage, Question):
        return _with_words(item, (*_words("run", "--bg", "chat", "--"), *_words(stage.text)))
    literals = _literals(stage)
    if not literals[0]:
        return item
    if registry.is_builtin(literals[0]):
        spec, _ = registry.find(literals)
        if spec is None or "--bg" in literals or all(param.name != "bg" for param in spec.params):
            return item
        at = len(spec.name.split())
        return _with_words(item, (*stage.words[:at], *_words("--bg"), *stage.words[at:]))
    try:
        target = look_up(literals[:1], session, note)
    except KernelError:
        return item  # told when it is run
    if isinstance(target, Builtin) and target.agent:
        return _with_words(item, (*_words("run", "--bg"), *stage.words))
    return item


def _words(*texts: str) -> tuple[Word, ...]:
    return tuple(Word((Piece("single", text),), 0, 0) for text in texts)


def _with_words(item: AndOr, words: tuple[Word, ...]) -> AndOr:
    return replace(item, first=replace(item.first, stages=(Command(words, ()),)))
