"""A line of the process table as a Strip: each column's cell in its style. What agents wrote is made safe here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from aios_kernel.protocol import ProcInfo, ProcState, QueueEntry, Tier
from aios_shell import render
from aios_shell.text import one_line
from aios_shell.tui import rows
from aios_shell.tui.glyphs import bar, glyphs, spark
from aios_shell.tui.palette import Colors
from aios_shell.tui.rows import GAP, MARGIN, Choice, Place, Row

LONG: Final = 1_000  # characters of a task that are looked at: no terminal is wider
RATE_FIGURE: Final = 5  # cells: 123.4
SHARE_FIGURE: Final = 5  # cells: _100%

Cell = list[tuple[str, Style]]


@dataclass(frozen=True, slots=True)
class Told:
    """All that a row says. Equal ones look the same."""

    row: Row
    proc: ProcInfo
    entry: QueueEntry | None  # its place in the run queue
    rates: tuple[float, ...]  # tokens a second, the newest last
    lasted_s: int
    marked: bool


@lru_cache(maxsize=8192)
def said(text: str) -> str:
    """What an agent or a person wrote, on one line and harmless."""
    return one_line(text[:LONG])


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Exactly `width` cells of `text`; that it was cut is shown."""
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + glyphs().cut if width else ""
    pad = " " * (width - length)
    return pad + text if right else text + pad


def count(number: int) -> str:
    """Tokens in four cells: 940, 1.2k, 34k, 1.2M."""
    if number < 1000:
        return str(number)
    value, unit = (number / 1e3, "k") if number < 999_500 else (number / 1e6, "M")
    return f"{value:.1f}{unit}" if value < 9.95 else f"{value:.0f}{unit}"


def clock(seconds: int) -> str:
    """A time that counts on: 4s, 3m05s, 2h10m."""
    return f"{seconds}s" if seconds < 60 else render.span(seconds * 1000)


def why(proc: ProcInfo, entry: QueueEntry | None) -> str:
    """Why it is in its state: behind whom and for how long, what was done to its context."""
    reason = proc.reason
    if entry is not None and proc.state is ProcState.READY:
        reason = entry.reason if entry.eta_ms is None else f"{entry.reason}, ~{clock(round(entry.eta_ms / 1000))}"
    parts = (reason, proc.window, "" if proc.exact else "not exact")
    return said(", ".join(part for part in parts if part))


class Painter:
    """Paints lines of one width in one theme.

    Args:
        top: tokens a second that fill a sparkline's cell.
    """

    def __init__(self, width: int, colors: Colors, top: float) -> None:
        self.width = width
        self.colors = colors
        self.top = top
        self.places = rows.layout(width)
        cells: dict[str, Callable[[Told, int], Cell]] = {
            rows.PID: self._pid,
            rows.AGENT: self._agent,
            rows.STATE: self._state,
            rows.RATE: self._rate,
            rows.CTX: self._context,
            rows.TASK: self._task,
        }
        self._cells = [(place.width, cells.get(place.column.name) or self._plain(place)) for place in self.places]

    def header(self, choice: Choice, base: Style) -> Strip:
        """The headings; an arrow tells the order."""
        arrow = glyphs().descending if choice.descending else glyphs().ascending
        segments = []
        for place in self.places:
            name = place.column.name
            if name == rows.STATE and place.width == rows.GLYPH:
                name = name[:1]
            if name == choice.sort and place.width > len(name):
                name += arrow
            segments.append(
                self._segments([(fit(name, place.width, right=place.column.right), self.colors.header)], base)
            )
        return self._strip(segments, [Segment(" " * MARGIN, base)], base)

    def row(self, told: Told, base: Style) -> Strip:
        """base: the line's background, a cursor's for instance. A reversed one takes no colours of its own."""
        quiet = told.row.aside or told.proc.state is ProcState.EXITED
        segments = []
        for width, draw in self._cells:
            cell = draw(told, width)
            if quiet:
                cell = [(text, self.colors.muted if style is self.colors.text else style) for text, style in cell]
            segments.append(self._segments(cell, base))
        mark = self._segments([(fit(glyphs().mark if told.marked else "", MARGIN), self.colors.accent)], base)
        return self._strip(segments, mark, base)

    def _segments(self, cell: Cell, base: Style) -> list[Segment]:
        if base.reverse:  # fill and track of a bar would look the same
            return [Segment(" " * len(text) if style is self.colors.bar_back else text, base) for text, style in cell]
        return [Segment(text, base + style) for text, style in cell if text]

    def _strip(self, cells: Sequence[list[Segment]], margin: list[Segment], base: Style) -> Strip:
        gap = Segment(" " * GAP, base)
        line = margin
        for number, cell in enumerate(cells):
            line += [gap, *cell] if number else cell
        return Strip(line).simplify().adjust_cell_length(self.width, base)  # fewer pieces: less to send

    # --- cells

    def _pid(self, told: Told, width: int) -> Cell:
        return [(fit(str(told.proc.pid), width, right=True), self.colors.text)]

    def _agent(self, told: Told, width: int) -> Cell:
        """The tree's lines take half of it at most: the name is what counts."""
        stem = told.row.stem[max(0, len(told.row.stem) - width // 2) :]
        return [(stem, self.colors.faint), (fit(said(told.proc.agent), width - len(stem)), self.colors.text)]

    def _state(self, told: Told, width: int) -> Cell:
        proc = told.proc
        style = self.colors.error if proc.exit_code else self.colors.state(proc.state)
        if proc.state is ProcState.ASKING:
            style = self.colors.badge
        glyph = glyphs().states[proc.state]
        if width == rows.GLYPH:
            return [(glyph, style)]
        word = f"code {proc.exit_code}" if proc.exit_code else proc.state.value
        return [(fit(f"{glyph} {word}", width), style)]

    def _rate(self, told: Told, width: int) -> Cell:
        figure = f"{told.proc.tok_per_s:.1f}" if told.proc.tok_per_s else ""
        room = width - RATE_FIGURE - 1
        line = spark(told.rates, room, self.top)
        return [*self._sparks(line), (" " + fit(figure, RATE_FIGURE, right=True), self.colors.text)]

    def _sparks(self, line: str) -> Iterator[tuple[str, Style]]:
        levels = glyphs().sparks
        for char in line:
            yield char, self.colors.spark(levels.index(char) / (len(levels) - 1))

    def _context(self, told: Told, width: int) -> Cell:
        """How full its window is. `!`: something was left out of it to make a prompt fit."""
        proc = told.proc
        share = proc.ctx_used / proc.ctx_max if proc.ctx_max else 0.0
        if not proc.ctx_used:
            return [(" " * width, self.colors.text)]
        room = width - SHARE_FIGURE
        figure = f"{'!' if proc.window else ' '}{share:>4.0%}"
        filled = bar(share, room, glyphs().line)
        return [
            (filled, self.colors.bar_fill),
            (glyphs().track * (room - len(filled)), self.colors.bar_back),
            (fit(figure, SHARE_FIGURE, right=True), self.colors.warning if proc.window else self.colors.text),
        ]

    def _task(self, told: Told, width: int) -> Cell:
        return [(fit(said(told.proc.task), width), self.colors.text)]

    def _plain(self, place: Place) -> Callable[[Told, int], Cell]:
        def cell(told: Told, width: int) -> Cell:
            text = _TEXTS[place.column.name](told)
            return [(fit(text, width, right=place.column.right), self.colors.muted)]

        return cell


_TEXTS: Final[dict[str, Callable[[Told], str]]] = {
    rows.REASON: lambda told: why(told.proc, told.entry),
    rows.INOUT: lambda told: f"{count(told.proc.tokens_in)}/{count(told.proc.tokens_out)}",
    rows.WAIT: lambda told: render.span(told.proc.wait_ms),
    rows.TIME: lambda told: clock(told.lasted_s),
    rows.NICE: lambda told: str(told.proc.nice),
    rows.GROUP: lambda told: said(told.proc.group),
    rows.SLOT: lambda told: "" if told.proc.slot is None else str(told.proc.slot),
    rows.TIER: lambda told: "" if told.proc.tier is Tier.NONE else told.proc.tier.value,
}
