"""snap diff: two contexts compared by token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from aios_kernel.errors import InvalidState
from aios_kernel.protocol import SnapshotDetail
from aios_shell import render
from aios_shell.io import Io
from aios_shell.text import sanitize

SAME, DIFFERENT = 0, 1  # exit codes, those of diff(1)
ISLAND: Final = 4  # tokens: stretches with fewer equal ones between them are read as one

_COLORS: Final = {"-": "31", "+": "32", "@": "36"}


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where two contexts differ. Positions and counts in tokens; `a` and `b` are the texts."""

    a_start: int
    a_tokens: int
    b_start: int
    b_tokens: int
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two contexts. `shared`: tokens that both begin with."""

    a: str
    b: str
    a_tokens: int
    b_tokens: int
    shared: int
    stretches: list[Stretch]


def diff(io: Io, a: str, b: str, json: bool) -> int:
    client = io.session.connect(io.note)
    compared = compare(client.snapshot(a), client.snapshot(b))
    if json:
        render.json(io, compared)
    else:
        io.write("".join(_lines(compared, color=io.color)))
    return DIFFERENT if compared.stretches else SAME


def compare(a: SnapshotDetail, b: SnapshotDetail) -> Comparison:
    """Raises InvalidState when their tokens are of different models, or of one that the kernel does not run."""
    for snap in (a, b):
        if not snap.pieces and snap.token_ids:
            raise InvalidState(f"{snap.id} was made with {snap.model}: `aios model use` that one to compare it")
    stretches = [
        Stretch(i1, i2 - i1, j1, j2 - j1, "".join(a.pieces[i1:i2]), "".join(b.pieces[j1:j2]))
        for i1, i2, j1, j2 in differing(a.token_ids, b.token_ids)
    ]
    return Comparison(a.id, b.id, a.tokens, b.tokens, _num_shared(a.token_ids, b.token_ids), stretches)


def differing(a: Sequence[int], b: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """(i1, i2, j1, j2) with a[i1:i2] in place of b[j1:j2], in order; what is between them is equal."""
    head = _num_shared(a, b)
    tail = _num_shared(a[head:][::-1], b[head:][::-1])
    middle_a, middle_b = a[head : len(a) - tail], b[head : len(b) - tail]
    merged: list[tuple[int, int, int, int]] = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, middle_a, middle_b).get_opcodes():
        if tag == "equal":
            continue
        near = merged.pop() if merged and i1 - merged[-1][1] < ISLAND else (i1, i1, j1, j1)
        merged.append((near[0], i2, near[2], j2))
    return [(i1 + head, i2 + head, j1 + head, j2 + head) for i1, i2, j1, j2 in merged]


def _num_shared(a: Sequence[int], b: Sequence[int]) -> int:
    pairs = enumerate(zip(a, b, strict=False))
    return next((index for index, (x, y) in pairs if x != y), min(len(a), len(b)))


def _lines(compared: Comparison, *, color: bool) -> Iterator[str]:
    yield _line("-", f"-- {compared.a}: {compared.a_tokens} tokens", color=color)
    yield _line("+", f"++ {compared.b}: {compared.b_tokens} tokens", color=color)
    yield f"the first {compared.shared} tokens are the same\n"
    for stretch in compared.stretches:
        where = f"@ -{stretch.a_start},{stretch.a_tokens} +{stretch.b_start},{stretch.b_tokens} @"
        yield _line("@", where, color=color)
        for mark, text in (("-", stretch.a), ("+", stretch.b)):
            yield from (_line(mark, line, color=color) for line in text.split("\n") if text)


def _line(mark: str, text: str, *, color: bool) -> str:
    text = sanitize(text if mark == "@" else mark + text)
    return f"\x1b[{_COLORS[mark]}m{text}\x1b[0m\n" if color else text + "\n"
