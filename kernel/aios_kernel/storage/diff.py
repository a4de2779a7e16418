"""What differs between two versions of a file, as a unified diff."""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterator, Sequence
from typing import Final, Literal

Opcode = tuple[Literal["replace", "delete", "insert", "equal"], int, int, int, int]

CONTEXT: Final = 3  # lines around a change
MAX_LINES: Final = (
    20_000  # that differ, on either side: comparing these took up to 0.5 s, and grows faster than they do
)


def unified(a: bytes, b: bytes, a_name: str, b_name: str) -> str:
    """The diff of two contents; "" where they are the same.

    Beyond MAX_LINES of difference it is still right, but one large change.
    """
    if a == b:
        return ""
    try:
        before, after = _lines(a), _lines(b)
    except UnicodeDecodeError:
        return f"binary files {a_name} and {b_name} differ: {len(a)} and {len(b)} bytes\n"
    head = _num_equal(before, after)
    tail = _num_equal(before[head:][::-1], after[head:][::-1])
    changed_a, changed_b = before[head : len(before) - tail], after[head : len(after) - tail]
    if max(len(changed_a), len(changed_b)) <= MAX_LINES:
        changes: Sequence[Opcode] = difflib.SequenceMatcher(None, changed_a, changed_b).get_opcodes()
    else:
        changes = [("replace", 0, len(changed_a), 0, len(changed_b))]
    lines = [f"--- {a_name}\n", f"+++ {b_name}\n"]
    for group in _Compared(changes, head, tail).get_grouped_opcodes(CONTEXT):
        lines += _hunk(group, before, after)
    return "".join(map(_whole, lines))


class _Compared(difflib.SequenceMatcher[str]):
    """Two texts of which only what lies between their equal ends was compared; the context comes from all of them."""

    def __init__(self, changes: Sequence[Opcode], head: int, tail: int) -> None:
        super().__init__()
        _, _, end_a, _, end_b = changes[-1]
        end_a, end_b = head + end_a, head + end_b
        self._whole: list[Opcode] = [
            ("equal", 0, head, 0, head),
            *((tag, head + i1, head + i2, head + j1, head + j2) for tag, i1, i2, j1, j2 in changes),
            ("equal", end_a, end_a + tail, end_b, end_b + tail),
        ]

    def get_opcodes(self) -> list[Opcode]:
        return self._whole


def _hunk(group: Sequence[tuple[str, int, int, int, int]], before: list[str], after: list[str]) -> Iterator[str]:
    _, first_a, _, first_b, _ = group[0]
    _, _, last_a, _, last_b = group[-1]
    yield f"@@ -{_place(first_a, last_a)} +{_place(first_b, last_b)} @@\n"
    for tag, i1, i2, j1, j2 in group:
        if tag == "equal":
            yield from (f" {line}" for line in before[i1:i2])
        else:
            yield from (f"-{line}" for line in before[i1:i2])
            yield from (f"+{line}" for line in after[j1:j2])


def _place(start: int, end: int) -> str:
    """Source: POSIX diff, unified format: an empty range names the line before it, a range of one has no count."""
    count = end - start
    return f"{start + 1}" if count == 1 else f"{start + 1 if count else start},{count}"


def _lines(data: bytes) -> list[str]:
    """Of a text, newlines kept: str.splitlines would take other characters for newlines too."""
    return list(io.StringIO(data.decode(), newline="\n"))


def _num_equal(a: list[str], b: list[str]) -> int:
    return next((index for index, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _whole(line: str) -> str:
    return line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"
