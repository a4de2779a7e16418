"""What differs between two versions of a file, as a unified diff."""

from __future__ import annotations

import difflib
import io
from typing import Final

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
    first, last = max(0, head - CONTEXT), max(0, tail - CONTEXT)
    cut_a, cut_b = before[first : len(before) - last], after[first : len(after) - last]
    if max(len(cut_a), len(cut_b)) <= MAX_LINES:
        lines = list(difflib.unified_diff(cut_a, cut_b, a_name, b_name, n=CONTEXT))
    else:
        lines = [f"--- {a_name}\n", f"+++ {b_name}\n", f"@@ -1,{len(cut_a)} +1,{len(cut_b)} @@\n"]
        lines += [*(f"-{line}" for line in cut_a), *(f"+{line}" for line in cut_b)]
    return "".join(_whole(_moved(line, first) if line.startswith("@@") else line) for line in lines)


def _lines(data: bytes) -> list[str]:
    """Of a text, newlines kept: str.splitlines would take other characters for newlines too."""
    return list(io.StringIO(data.decode(), newline="\n"))


def _num_equal(a: list[str], b: list[str]) -> int:
    return next((index for index, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _moved(header: str, by: int) -> str:
    """A hunk's header with its places counted from the beginning of the file."""
    _, minus, plus, _ = header.split(" ", 3)
    return f"@@ {_shift(minus, by)} {_shift(plus, by)} @@\n"


def _shift(place: str, by: int) -> str:
    start, comma, count = place[1:].partition(",")
    return f"{place[0]}{int(start) + by}{comma}{count}"


def _whole(line: str) -> str:
    return line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"
