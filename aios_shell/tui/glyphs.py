"""Every character that is drawn rather than written, in Unicode and in ASCII. Each takes one cell.

A state has a glyph of its own beside its colour, for whoever sees no colours or has turned them off.
"""

from __future__ import annotations

import locale
from collections.abc import Mapping, Reversible
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Final

from aios_kernel.protocol import ProcState

S = ProcState


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One set of characters."""

    states: Mapping[ProcState, str]
    sparks: str  # of a sparkline, nothing first, most last
    parts: str  # of a bar's last cell, nothing first, a full cell last
    line: str  # the same of a bar that is only a line, for bars that stand under each other
    track: str  # what is left of such a line
    mark: str  # a row that is chosen
    descending: str
    ascending: str
    branch: str  # before a child in a tree
    last: str  # before the last child of its parent
    through: str  # a branch that goes on below
    held: str  # a slot that somebody holds
    free: str
    prefill: str  # a cell of the timeline, as the three below
    decode: str
    preempt: str
    idle: str
    tick: str  # a mark of the time axis
    cut: str  # text that goes on


UNICODE: Final = Glyphs(
    states={
        S.NEW: "+",
        S.READY: "…",
        S.RUNNING: "▶",
        S.WAITING: "◌",
        S.ASKING: "?",
        S.SUSPENDED: "‖",
        S.ZOMBIE: "✝",
        S.EXITED: "·",
    },
    sparks=" ▁▂▃▄▅▆▇█",
    parts=" ▏▎▍▌▋▊▉█",
    line=" ╸━",
    track="━",
    mark="●",
    descending="▾",
    ascending="▴",
    branch="├",
    last="└",
    through="│",
    held="▮",
    free="▯",
    prefill="▃",
    decode="▇",
    preempt="╳",
    idle="·",
    tick="╵",
    cut="…",
)
ASCII: Final = Glyphs(
    states={
        S.NEW: "+",
        S.READY: ".",
        S.RUNNING: ">",
        S.WAITING: "o",
        S.ASKING: "?",
        S.SUSPENDED: "=",
        S.ZOMBIE: "z",
        S.EXITED: "-",
    },
    sparks=" _.-:=+*#",
    parts=" #",
    line=" -=",
    track=" ",
    mark="*",
    descending="v",
    ascending="^",
    branch="|",
    last="`",
    through="|",
    held="#",
    free=".",
    prefill=":",
    decode="#",
    preempt="x",
    idle=".",
    tick="'",
    cut="~",
)


@cache
def glyphs() -> Glyphs:
    """The set that the locale's encoding has. Python's UTF-8 mode does not count: the terminal knows nothing of it."""
    return UNICODE if locale.getencoding().lower().replace("-", "") == "utf8" else ASCII


def spark(values: Reversible[float], width: int, top: float, chars: str | None = None) -> str:
    """The newest `width` values as a sparkline, the newest on the right; `top` is a full cell.

    What is more than nothing is seen: it has the lowest mark at least.
    """
    chars = chars or glyphs().sparks
    newest = islice(reversed(values), width)
    return "".join(_level(value, top, chars) for value in newest)[::-1].rjust(width)


def _level(value: float, top: float, chars: str) -> str:
    if value <= 0 or top <= 0:
        return chars[0]
    return chars[max(1, min(len(chars) - 1, round(value / top * (len(chars) - 1))))]


def bar(share: float, width: int, chars: str | None = None) -> str:
    """The filled part of a bar of `width` cells, at most that long: what is left of it is the track."""
    chars = chars or glyphs().parts
    per_cell = len(chars) - 1
    num_parts = round(max(0.0, min(1.0, share)) * width * per_cell)
    full, rest = divmod(num_parts, per_cell)
    return chars[-1] * full + (chars[rest] if rest else "")
