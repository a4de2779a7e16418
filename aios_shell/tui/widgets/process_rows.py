"""The rows of the process table: drawn line by line, only those that differ, with a cursor that stays on its pid."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby, islice
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual.events import Blur, Click, Focus, Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import var
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.timer import Timer

from aios_kernel.protocol import ProcInfo, ProcState, QueueEntry
from aios_shell import registry
from aios_shell.text import one_line
from aios_shell.tui.cells import Painter, Told, fit
from aios_shell.tui.live import Link, Live
from aios_shell.tui.palette import Colors
from aios_shell.tui.rows import MARGIN, Choice, Row, arrange, column_at, hold, lasted_s

HOLD_S: Final = 2.0  # after the last key the order stands still for so long: nothing moves under the hand
ORDER_S: Final = 1.0  # how often the order follows figures that change all the time
REST_S: Final = 0.2  # until it is said where the cursor is: what hears of it draws much, and the next key may be near
RATES: Final = 12  # samples of a sparkline: as many as its widest cell shows
# Lines that are painted without a look at the keys, and the time between two such slices. With 35 lines that change ten
# times a second and a model on all cores, 99.3 % of key presses are answered in 50 ms, painted at once 96.7 %
# (aios bench ui, 2 cores).
SLICE: Final = 12
SLICE_S: Final = 0.025
MIN_TOP: Final = 8.0  # tokens a second that fill a sparkline's cell, at least
HEADER: Final = 1

Look = tuple[Told, bool, bool]  # what a line shows, whether the cursor is on it, and whether the keys come here


class ProcessRows(ScrollView, can_focus=True, inherit_bindings=False):
    """Draws `live` by `choice`."""

    DEFAULT_CSS = """
    ProcessRows { height: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }
    """

    class Chosen(Message):
        """The cursor rests on another process. pid: None when there is none."""

        def __init__(self, pid: int | None) -> None:
            super().__init__()
            self.pid = pid

    class Opened(Message):
        """A process was clicked twice."""

        def __init__(self, pid: int) -> None:
            super().__init__()
            self.pid = pid

    cursor: var[int | None] = var(None, init=False)  # the pid

    def __init__(self, live: Live, clock: Callable[[], float] = time.time) -> None:
        """clock: Unix seconds."""
        super().__init__()
        self.live = live
        self.choice = Choice()
        self.rows: list[Row] = []
        self.marked: set[int] = set()
        self._clock = clock
        self._line_of: dict[int, int] = {}
        self._known: set[int] = set()
        self._asking: set[int] = set()
        self._entries: dict[int, QueueEntry] = {}
        self._queue: list[QueueEntry] | None = None  # that `_entries` are of
        self._arranged_at = 0.0
        self._held: Timer | None = None
        self._rest: Timer | None = None
        self._top = MIN_TOP
        self._painter: Painter | None = None
        self._base_style = Style.null()
        self._looks: dict[int, Look] = {}  # by line of the screen: what it shows now
        self._strips: dict[int, tuple[Look, Strip]] = {}  # by pid

    def on_mount(self) -> None:
        self.set_interval(ORDER_S, self.show)  # times go on when the kernel has nothing to tell
        self.show()

    # --- which rows

    @property
    def proc(self) -> ProcInfo | None:
        """The one under the cursor."""
        return None if self.cursor is None else self.live.procs.get(self.cursor)

    @property
    def targets(self) -> tuple[int, ...]:
        """Whom a verb is for: the marked rows that are in the table, else the one under the cursor."""
        marked = tuple(row.pid for row in self.rows if row.pid in self.marked)
        return marked or (() if self.cursor is None else (self.cursor,))

    def choose(self, choice: Choice) -> None:
        """Order and filter another way, at once."""
        self.choice = choice
        self._arrange()
        self._follow_cursor()
        self.refresh()

    def sort_by_next(self) -> None:
        self.choose(self.choice.next_sort(self._paint().places))

    def toggle_mark(self, pid: int) -> None:
        self.marked ^= {pid}
        self._repaint()

    def unmark(self) -> None:
        self.marked.clear()
        self._repaint()

    def show(self) -> None:
        """Bring the screen up to what `live` says."""
        procs = self.live.procs
        asking = {proc.pid for proc in procs.values() if proc.state is ProcState.ASKING}
        fresh = self._known != procs.keys()
        if self._held is None:
            if fresh or asking != self._asking or self._clock() - self._arranged_at >= ORDER_S:
                self._arrange()
        elif fresh:
            self._known = set(procs)
            self._place(hold(self.rows, procs, self.choice, self._clock()))
        self._asking = asking
        if self._queue is not self.live.queue:
            self._queue = self.live.queue
            self._entries = {entry.pid: entry for entry in self._queue}
        self._repaint()

    def _arrange(self) -> None:
        self._known, self._arranged_at = set(self.live.procs), self._clock()
        self._top = _ceiling(max((max(rates) for rates in self.live.rates.values() if rates), default=0.0))
        self._place(arrange(self.live.procs, self.choice, self._arranged_at, self.cursor))

    def _place(self, rows: list[Row]) -> None:
        """Take these rows; the cursor stays on its pid, or takes the row that is now where its own was."""
        was = self._line_of.get(self.cursor or 0, 0)
        seen = self._is_seen(was)
        self.rows = rows
        self._line_of = {row.pid: line for line, row in enumerate(rows)}
        self.marked &= self.live.procs.keys()
        if len(self._strips) > 2 * len(rows) + 100:
            self._strips.clear()
        size = Size(0, len(rows) + HEADER)
        if size != self.virtual_size:
            self.virtual_size = size
        if self.cursor not in self._line_of:
            self.cursor = rows[min(was, len(rows) - 1)].pid if rows else None
        elif seen and self._line_of[self.cursor] != was:
            self._follow_cursor()

    # --- the cursor

    def hold_order(self) -> None:
        """Let the order stand still, from now for HOLD_S."""
        if self._held is not None:
            self._held.stop()
        self._held = self.set_timer(HOLD_S, self.let_go)

    def let_go(self) -> None:
        if self._held is not None:
            self._held.stop()
            self._held = None
        self._arrange()
        self._repaint()

    @property
    def page(self) -> int:
        """Rows that are seen at once."""
        return max(1, self.size.height - HEADER)

    def move(self, num_rows: int) -> None:
        """Up or down, no further than the ends."""
        if self.rows:
            line = self._line_of.get(self.cursor or 0, 0) + num_rows
            self.move_to(self.rows[max(0, min(len(self.rows) - 1, line))].pid)

    def move_to(self, pid: int) -> None:
        self.hold_order()
        self.cursor = pid

    def watch_cursor(self, former: int | None, pid: int | None) -> None:
        self._follow_cursor()
        for each in (former, pid):
            if each in self._line_of:
                self.refresh_line(self._line_of[each] + HEADER)
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(REST_S, self._tell)

    def _tell(self) -> None:
        self.post_message(self.Chosen(self.cursor))

    def _is_seen(self, line: int) -> bool:
        return 0 <= line - self.scroll_offset.y < self.page

    def _follow_cursor(self) -> None:
        line = self._line_of.get(self.cursor or 0)
        if line is None or self._is_seen(line):
            return
        above = line < self.scroll_offset.y
        self.scroll_to(y=line if above else line - self.page + 1, animate=False, force=True)

    def on_click(self, event: Click) -> None:
        """A heading sorts, the margin marks, a row takes the cursor, and twice attaches."""
        if event.y < HEADER:
            column = column_at(self._paint().places, event.x)
            if column is not None:
                self.choose(self.choice.sorted_by(column.name))
            return
        row = self._row_at(event.y)
        if row is None:
            return
        self.move_to(row.pid)
        if event.x < MARGIN:
            self.toggle_mark(row.pid)
        elif event.chain == 2:
            self.post_message(self.Opened(row.pid))

    # --- drawing

    def on_focus(self, _event: Focus) -> None:
        self._repaint()

    def on_blur(self, _event: Blur) -> None:
        self._repaint()

    def on_resize(self, _event: Resize) -> None:
        self._follow_cursor()

    def notify_style_update(self) -> None:
        """The theme may be another."""
        super().notify_style_update()
        self._painter = None

    def _paint(self) -> Painter:
        """The painter for the present width, theme and scale."""
        painter, width = self._painter, self.scrollable_content_region.width
        if painter is None or painter.width != width or painter.top != self._top:
            painter = self._painter = Painter(width, Colors.of(self.app), self._top)
            self._strips.clear()
        return painter

    def _repaint(self) -> None:
        """Ask for those lines of the screen that do not show what they should."""
        if self._painter is not self._paint() or not self.rows:
            self._looks.clear()
            self.refresh()
            return
        stale = [y for y in range(HEADER, self.size.height) if self._is_stale(y)]
        for number, at in enumerate(range(0, len(stale), SLICE)):
            lines = stale[at : at + SLICE]
            if number:
                self.set_timer(number * SLICE_S, partial(self._repaint_lines, lines))
            else:
                self._repaint_lines(lines)

    def _repaint_lines(self, lines: list[int]) -> None:
        self.refresh(*(Region(0, y, self.size.width, height) for y, height in _runs(lines)))

    def _is_stale(self, y: int) -> bool:
        row = self._row_at(y)
        return self._looks.get(y) != (None if row is None else self._look(row))

    def _look(self, row: Row) -> Look:
        """What a row shows, and whether the cursor is on it."""
        proc, live = self.live.procs[row.pid], self.live
        rates = tuple(islice(reversed(live.rates.get(row.pid, ())), RATES))[::-1]
        lasted = int(lasted_s(proc, self._clock()))
        told = Told(row, proc, self._entries.get(row.pid), rates, lasted, row.pid in self.marked)
        return told, row.pid == self.cursor, self.has_focus

    def _row_at(self, y: int) -> Row | None:
        """The row in a line of the screen."""
        line = y - HEADER + self.scroll_offset.y
        return self.rows[line] if 0 <= line < len(self.rows) else None

    def render_lines(self, crop: Region) -> list[Strip]:
        self._base_style = self.rich_style  # it costs as much as drawing half a line
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        painter, base = self._paint(), self._base_style
        if not self.rows:
            return self._invitation(y, painter, base)
        if y < HEADER:
            return painter.header(self.choice, base)
        row = self._row_at(y)
        if row is None:
            self._looks.pop(y, None)
            return Strip.blank(painter.width, base)
        look = self._looks[y] = self._look(row)
        cached = self._strips.get(row.pid)
        if cached is None or cached[0] != look:
            cached = self._strips[row.pid] = look, painter.row(look[0], self._base(look, base))
        return cached[1]

    def _base(self, look: Look, base: Style) -> Style:
        _, cursor, focus = look
        if not cursor:
            return base
        colors = self._paint().colors
        return base + (colors.cursor if focus else colors.cursor_blurred)

    def _invitation(self, y: int, painter: Painter, base: Style) -> Strip:
        """What an empty table says, in its middle."""
        lines = self._words()
        at = y - max(0, (self.size.height - len(lines)) // 2)
        if not 0 <= at < len(lines):
            return Strip.blank(painter.width, base)
        width = min(painter.width, max(map(len, lines)))
        margin = " " * ((painter.width - width) // 2)
        style = painter.colors.muted if at == 0 else painter.colors.text
        line = [Segment(margin, base), Segment(fit(lines[at], width), base + style)]
        return Strip(line).adjust_cell_length(painter.width, base)

    def _words(self) -> list[str]:
        if self.live.procs and self.choice.words:
            return ["No process is like that.", "", "esc  clears the filter"]
        if self.live.link is not Link.LIVE:
            return [one_line(self.live.note) or self.live.link.value]
        lines = ["No agents are running. Press : and try", "", *(f"  {line}" for line in things_to_try())]
        return [*lines, "", f"A  shows the {len(self.live.procs)} that have ended"] if self.live.procs else lines


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Neighbours among ascending numbers, taken together: the first and how many."""
    for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        yield members[0], len(members)


def things_to_try() -> list[str]:
    """Command lines for somebody who is new, out of the commands' own examples."""
    (run, _), (agents, _) = registry.find(["run"]), registry.find(["agents", "ls"])
    assert run is not None
    assert agents is not None
    first, *_, last = run.examples
    return [first.removeprefix("aios "), last.removeprefix("aios "), agents.name]


def _ceiling(value: float) -> float:
    """The power of two above: a scale that seldom changes."""
    return max(MIN_TOP, 2.0 ** math.ceil(math.log2(value))) if value > 0 else MIN_TOP
