"""The timeline's columns as coloured cells: lanes, the time axis, who had how much. Lines of `Cells`, no widget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Final

from rich.cells import cell_len, get_character_cell_size, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from aios_kernel.protocol import StepPhase
from aios_shell.text import one_line
from aios_shell.tui import timeline
from aios_shell.tui.glyphs import Glyphs
from aios_shell.tui.palette import Colors
from aios_shell.tui.timeline import Column

Cells = list[tuple[str, Style]]  # one a cell; a wide character is followed by an empty one
Part = tuple[str, Style]  # some text of one style

PLAIN: Final = Style()
DIM: Final = Style(dim=True)
BOLD: Final = Style(bold=True)
MIN_NAME: Final = 4  # cells of a name that are worth the room


@dataclass(frozen=True, slots=True)
class Brush:
    """What lanes are drawn with."""

    colors: Colors
    glyphs: Glyphs
    name: Callable[[int], str]  # of an agent, by pid; "" when it is not known any more

    def phase(self, phase: StepPhase, style: Style) -> Part:
        """A cell of a process's colour: feeding its prompt is lower and darker than producing."""
        return (self.glyphs.prefill, style + DIM) if phase is StepPhase.PREFILL else (self.glyphs.decode, style)

    def chip(self, pid: int) -> Style:
        return self.colors.pid(pid) + BOLD


def strip(cells: Iterable[Part], width: int, ground: Style) -> Strip:
    """A line of exactly `width` cells. ground: the widget's own style, for what sets no background."""
    grouped = groupby((part for part in cells if part[0]), key=itemgetter(1))
    line = Strip([Segment("".join(map(itemgetter(0), run)), ground + style) for style, run in grouped])
    return line.adjust_cell_length(width, ground)


def write(cells: Cells, x: int, text: str, style: Style, room: int) -> int:
    """Put `text` over `cells` from `x` on, cut to `room` cells and to the line. Returns the cells it took."""
    start = x
    end = min(x + room, len(cells))
    for char in text:
        width = get_character_cell_size(char)
        if x + width > end:
            break
        if width:
            cells[x : x + width] = [(char, style), *[("", style)] * (width - 1)]
            x += width
    return x - start


def bars(columns: Sequence[Column], slot: int, brush: Brush, *, labelled: bool) -> Cells:
    """One slot's lane. labelled: with pids in it, where stretches are long enough for the number and a cell more."""
    cells: Cells = [_cell(column, slot, brush) for column in columns]
    for stretch in timeline.stretches(columns, slot) if labelled else ():
        label = str(stretch.pid)
        if len(label) < stretch.end - stretch.start:
            write(cells, stretch.start, label, brush.chip(stretch.pid), len(label))
    return cells


def _cell(column: Column, slot: int, brush: Brush) -> Part:
    if column.gap:
        return brush.glyphs.through, brush.colors.faint
    if slot in column.preempted:
        return brush.glyphs.preempt, brush.colors.preempt
    cell = column.cells.get(slot)
    if cell is None:
        return brush.glyphs.idle, brush.colors.idle_slot
    return brush.phase(cell.phase, brush.colors.pid(cell.pid))


def names(columns: Sequence[Column], slot: int, brush: Brush) -> Cells:
    """The line over a lane: pid and agent where a stretch begins, as far as it goes."""
    cells: Cells = [(brush.glyphs.through, brush.colors.faint) if column.gap else (" ", PLAIN) for column in columns]
    for stretch in timeline.stretches(columns, slot):
        room = stretch.end - stretch.start
        pid = str(stretch.pid)
        if len(pid) >= room:
            continue
        x = stretch.start + write(cells, stretch.start, pid, brush.chip(stretch.pid), room)
        left = stretch.end - x - 2  # a space before the name, and one after it
        if left >= MIN_NAME:
            write(cells, x + 1, cut(brush.name(stretch.pid), left, brush.glyphs), brush.colors.pid(stretch.pid), left)
    return cells


def cut(text: str, width: int, glyphs: Glyphs) -> str:
    """`text`, made safe, in at most `width` cells."""
    text = one_line(text)
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + glyphs.cut if width > 0 else ""


def axis(columns: Sequence[Column], every: float, notes: Sequence[tuple[float, str]], brush: Brush) -> Cells:
    """What was noted, a switch of the policy, where it falls; and times of day, where there is room beside that."""
    cells: Cells = [(" ", PLAIN)] * len(columns)
    for x, text in timeline.notes(columns, notes):
        write(cells, x, f"{brush.glyphs.tick}{text} ", brush.colors.accent + BOLD, len(cells))
    for x, at in timeline.ticks(columns, every):
        label = brush.glyphs.tick + time_of_day(at, every)
        around = cells[max(0, x - 1) : x + len(label) + 1]
        if x + len(label) <= len(cells) and all(char == " " for char, _ in around):
            write(cells, x, label, brush.colors.muted, len(label))
    return cells


def time_of_day(at: float, every: float) -> str:
    """14:03:05 here; to the tenth where the marks are closer than seconds, without seconds where they are minutes."""
    clock = datetime.fromtimestamp(at + 1e-6).astimezone()
    if every >= 60:
        return f"{clock:%H:%M}"
    return f"{clock:%H:%M:%S}" + (f".{clock.microsecond // 100_000}" if every < 1 else "")


def shares(columns: Sequence[Column], brush: Brush, width: int) -> list[Part]:
    """Each process's part of what is shown, the largest first, as many as there is room for."""
    parts: list[Part] = []
    used = 0
    for pid, share in timeline.shares(columns):
        name = cut(brush.name(pid), 14, brush.glyphs)
        pieces = [(str(pid), brush.chip(pid)), (f" {name}" if name else "", brush.colors.pid(pid))]
        pieces.append((f" {share:.0%}", brush.colors.muted))
        size = sum(cell_len(text) for text, _ in pieces)
        if used + size > width:
            break
        parts += [*pieces, ("   ", PLAIN)]
        used += size + 3
    return parts
