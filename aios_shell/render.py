"""Tables and JSON. A table is Rich's on a terminal and plain aligned text anywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from aios_shell.io import Io
from aios_shell.text import one_line

GAP: Final = "  "  # between columns
LAST_COLUMN: Final = 24  # characters of the last column that are worth a column dropped before it

STATE_STYLES: Final = {
    "asking": "bold yellow reverse",
    "running": "green",
    "ready": "cyan",
    "waiting": "blue",
    "suspended": "magenta",
    "zombie": "red",
    "exited": "dim",
}


def json(io: Io, value: Any) -> None:
    """`value` (dataclasses, lists, dicts) as indented JSON."""
    io.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def table(
    io: Io,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    right: frozenset[str] = frozenset(),
    spare: Sequence[str] = (),
) -> None:
    """Write a table. Cells are made safe for a terminal here.

    Args:
        right: right-aligned columns.
        spare: columns that a narrow terminal does without, the first one first.
    """
    cells = [["" if cell is None else one_line(str(cell)) for cell in row] for row in rows]
    if io.tty(io.stdout):
        io.write(_rich(io, *_fitting(io.columns, columns, cells, spare), right))
    else:
        io.write(_plain(columns, cells, right))


def facts(io: Io, pairs: Sequence[tuple[str, object]]) -> None:
    """Names and values, one pair a line."""
    width = max(len(name) for name, _ in pairs) + 2
    io.write("".join(f"{name:<{width}}{one_line(str(value))}\n" for name, value in pairs))


def _width(text: str) -> int:
    """Columns that it takes on a terminal: Chinese characters and most emoji take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _widths(columns: Sequence[str], cells: list[list[str]]) -> list[int]:
    return [max(map(_width, column)) for column in zip(columns, *cells, strict=True)]


def _aligned(columns: Sequence[str], row: Sequence[str], widths: list[int], right: frozenset[str]) -> list[str]:
    """The row's cells, each as wide on the screen as its column."""
    pads = [" " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
    return [pad + cell if name in right else cell + pad for name, cell, pad in zip(columns, row, pads, strict=True)]


def _plain(columns: Sequence[str], cells: list[list[str]], right: frozenset[str]) -> str:
    widths = _widths(columns, cells)
    rows = [_aligned(columns, row, widths, right) for row in (columns, *cells)]
    return "".join(GAP.join(row).rstrip() + "\n" for row in rows)


def _fitting(
    width: int, columns: Sequence[str], cells: list[list[str]], spare: Sequence[str]
) -> tuple[Sequence[str], list[list[str]]]:
    """The columns that fit, the last of them down to a readable rest of the line."""
    for name in spare:
        *widths, last = _widths(columns, cells)
        if sum(widths) + 2 * len(widths) + min(last, LAST_COLUMN) <= width:
            break
        index = list(columns).index(name)
        columns = [*columns[:index], *columns[index + 1 :]]
        cells = [[*row[:index], *row[index + 1 :]] for row in cells]
    return columns, cells


def _rich(io: Io, columns: Sequence[str], cells: list[list[str]], right: frozenset[str]) -> str:
    """Each row one line, cut where the terminal ends: the first columns are those that a reader cannot do without."""
    from io import StringIO

    from rich.console import Console
    from rich.text import Text

    out = StringIO()
    console = Console(
        file=out,
        width=io.columns,
        force_terminal=io.color,
        color_system="auto" if io.color else None,
        no_color=not io.color,
        highlight=False,
    )
    widths = _widths(columns, cells)
    for row in (columns, *cells):
        line = Text()
        for name, cell, text in zip(columns, row, _aligned(columns, row, widths, right), strict=True):
            style = "bold" if row is columns else STATE_STYLES.get(cell, "") if name == "STATE" else ""
            line.append(GAP if line else "").append(text, style)
        line.rstrip()
        console.print(line, no_wrap=True, overflow="ellipsis")
    return out.getvalue()


def size(num_bytes: float) -> str:
    """Bytes for a person: 0, 812 B, 3.4 MB."""
    if not num_bytes:
        return "0"
    units = ("B", "kB", "MB", "GB", "TB")
    power = 0
    while num_bytes >= 1000 and power < len(units) - 1:
        num_bytes /= 1000
        power += 1
    return f"{num_bytes:.0f} {units[power]}" if power == 0 or num_bytes >= 100 else f"{num_bytes:.1f} {units[power]}"


def span(milliseconds: float) -> str:
    """A duration for a person: 0.4s, 12s, 3m05s, 2h10m."""
    seconds = milliseconds / 1000
    if seconds < 10:
        return f"{seconds:.1f}s"
    if seconds < 60:
        return f"{seconds:.0f}s"
    minutes, seconds = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{seconds:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"
