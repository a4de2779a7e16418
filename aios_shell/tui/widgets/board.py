"""Who holds the slots and how far they are; who waits behind whom for how long; who is suspended."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from rich.cells import cell_len, set_cell_size
from textual.events import Click
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from aios_kernel.protocol import ProcInfo, ProcState, QueueEntry, StepPhase
from aios_shell import render
from aios_shell.text import one_line
from aios_shell.tui.drawing import PLAIN, Brush, Part, cut, strip
from aios_shell.tui.glyphs import bar, glyphs
from aios_shell.tui.live import Live
from aios_shell.tui.messages import Act
from aios_shell.tui.palette import Colors

TWO_COLUMNS: Final = 76  # cells from which the queue stands beside the slots
MAX_AGENT: Final = 14
PROGRESS: Final = 30  # cells for how far a slot's holder is
MIN_BAR: Final = 4
MIN_TASK: Final = 12
_PREFILLING: Final = re.compile(r"prefilling (\d+)/(\d+)")

Line = list[Part]


@dataclass(frozen=True, slots=True)
class Heading:
    text: str
    aside: str = ""


@dataclass(frozen=True, slots=True)
class Slot:
    number: int
    holder: ProcInfo | None


Row = Heading | Slot | QueueEntry | ProcInfo  # the last: a suspended one


def slot_rows(live: Live) -> list[Row]:
    holders = {proc.slot: proc for proc in live.procs.values() if proc.slot is not None}
    return [Slot(number, holders.get(number)) for number in range(live.status.slots if live.status else 0)]


def queue_rows(live: Live) -> list[Row]:
    waiting = [entry for entry in live.queue if entry.queue == "ready"]
    suspended = [proc for proc in live.procs.values() if proc.state is ProcState.SUSPENDED]
    error = live.status.eta_error if live.status else None
    aside = f"estimates ±{error:.0%}" if error is not None and waiting else ""
    rows: list[Row] = [Heading(f"run queue {len(waiting)}" if waiting else "run queue empty", aside), *waiting]
    return [*rows, Heading(f"suspended {len(suspended)}"), *suspended] if suspended else rows


class Board(ScrollView):
    """Slots, run queue and suspended ones: side by side, or one below the other where it is narrow."""

    ALLOW_SELECT: ClassVar[bool] = False
    can_focus = False
    DEFAULT_CSS = "Board { scrollbar-size-vertical: 1; overflow-x: hidden; }"

    def __init__(self, live: Live) -> None:
        super().__init__()
        self._live = live
        self._slots: list[Row] = []
        self._queue: list[Row] = []
        self._names: dict[int, str] = {}

    def show(self) -> None:
        slots, queue = slot_rows(self._live), queue_rows(self._live)
        procs = self._live.procs
        names = {row.pid: procs[row.pid].agent for row in queue if isinstance(row, QueueEntry) and row.pid in procs}
        if (slots, queue, names) != (self._slots, self._queue, self._names):
            self._slots, self._queue, self._names = slots, queue, names
            self._measure()
            self.refresh()

    def on_resize(self) -> None:
        self._measure()

    @property
    def _width(self) -> int:
        """Cells beside the scroll bar."""
        return self.scrollable_content_region.width

    def _measure(self) -> None:
        self.virtual_size = Size(self._width, self.num_lines)

    @property
    def num_lines(self) -> int:
        """Rows that it takes to show everything."""
        if self.size.width < TWO_COLUMNS:
            return len(self._slots) + len(self._queue)
        return max(len(self._slots), len(self._queue))

    def render_line(self, y: int) -> Strip:
        width, at = self._width, y + self.scroll_offset.y
        brush = Brush(Colors.of(self.app), glyphs(), lambda pid: self._names.get(pid, ""))
        if self.size.width < TWO_COLUMNS:
            return strip(self._row([*self._slots, *self._queue], at, brush, width), width, self.rich_style)
        left, ground = width // 2, self.rich_style
        return Strip.join(
            [
                strip(self._row(self._slots, y, brush, left - 2), left, ground),  # slots stay while the queue scrolls
                strip(self._row(self._queue, at, brush, width - left), width - left, ground),
            ]
        )

    def _row(self, rows: Sequence[Row], at: int, brush: Brush, width: int) -> Line:
        if at >= len(rows):
            return []
        match rows[at]:
            case Heading(text, aside):
                return [(text, brush.colors.header), (aside.rjust(width - cell_len(text)), brush.colors.muted)]
            case Slot(number, holder):
                digits = len(str(len(self._slots) - 1))
                line: Line = [(f"{number:>{digits}} ", brush.colors.muted)]
                return line + (_idle(brush) if holder is None else _held(holder, brush, width - digits - 1))
            case QueueEntry() as entry:
                return _waiting(entry, brush, width)
            case proc:
                return _suspended(proc, brush, width)

    def on_click(self, event: Click) -> None:
        at = event.y + self.scroll_offset.y
        rows = [*self._slots, *self._queue]
        if self.size.width >= TWO_COLUMNS:
            rows, at = (self._slots, event.y) if event.x < self.size.width // 2 else (self._queue, at)
        match rows[at] if at < len(rows) else None:
            case Slot(_, ProcInfo(pid=pid)) | QueueEntry(pid=pid) | ProcInfo(pid=pid):
                self.post_message(Act("focus", (pid,)))


def _who(pid: int, agent: str, brush: Brush, width: int) -> Line:
    """Pid and agent, in columns of the same width on every row."""
    room = MAX_AGENT if width >= 44 else 8
    name = set_cell_size(cut(agent, room, brush.glyphs), room)
    return [(f"{pid:>4} ", brush.chip(pid)), (f"{name} ", brush.colors.text)]


def _fill(line: Line, text: str, brush: Brush, width: int) -> Line:
    """What there is to say, in the room that is left."""
    room = width - sum(cell_len(part) for part, _ in line)
    return [*line, (cut(text, room, brush.glyphs), brush.colors.muted)]


def _idle(brush: Brush) -> Line:
    return [(brush.glyphs.idle, brush.colors.idle_slot), ("    - idle", brush.colors.faint)]


def _held(proc: ProcInfo, brush: Brush, width: int) -> Line:
    """A phase or a state, who, how far, and how fast where there is room."""
    colors = brush.colors
    fed = _PREFILLING.fullmatch(proc.reason)
    running = proc.state is ProcState.RUNNING and (fed is not None or proc.reason == "decoding")
    if not running:
        mark: Part = (brush.glyphs.states[proc.state], colors.state(proc.state))
        reason = proc.state.value if proc.reason in ("", "idle") else proc.reason
        return _fill([mark, *_who(proc.pid, proc.agent, brush, width - 1)], reason, brush, width)
    line: Line = [brush.phase(StepPhase.PREFILL if fed else StepPhase.DECODE, colors.pid(proc.pid))]
    line += _who(proc.pid, proc.agent, brush, width - 1)
    left = width - sum(cell_len(text) for text, _ in line)
    line += _fed(int(fed[1]), int(fed[2]), left, brush) if fed else _produced(proc, left, brush)
    return _fill([*line, ("   ", PLAIN)], proc.task, brush, width) if left >= PROGRESS + MIN_TASK else line


def _fed(done: int, total: int, width: int, brush: Brush) -> Line:
    text = f"prefilling {done}/{total}"
    line: Line = [(cut(text, width, brush.glyphs), brush.colors.text)]
    room = min(width, PROGRESS) - len(text) - 1
    if room >= MIN_BAR:
        filled = bar(done / total if total else 1.0, room)
        line += [(" ", PLAIN), (filled, brush.colors.bar_fill)]
        line.append((brush.glyphs.track * (room - len(filled)), brush.colors.bar_back))
    return line


def _produced(proc: ProcInfo, width: int, brush: Brush) -> Line:
    text = cut(f"decoding {proc.tokens_out} tok", width, brush.glyphs)
    room = min(width, PROGRESS) - cell_len(text)
    rate = f"{proc.tok_per_s:.1f} tok/s" if proc.tok_per_s else ""
    return [(text, brush.colors.text), (rate.rjust(room) if len(rate) < room else " " * room, brush.colors.muted)]


def _waiting(entry: QueueEntry, brush: Brush, width: int) -> Line:
    eta = f"~{render.span(entry.eta_ms)}" if entry.eta_ms is not None else ""
    line: Line = [(f"{entry.position:>2} ", brush.colors.muted)]
    line += _who(entry.pid, brush.name(entry.pid), brush, width - 3)
    return _fill([*line, (f"{eta:>6} ", brush.colors.text)], one_line(entry.reason), brush, width)


def _suspended(proc: ProcInfo, brush: Brush, width: int) -> Line:
    state = ProcState.SUSPENDED
    line: Line = [(f" {brush.glyphs.states[state]} ", brush.colors.state(state))]
    line += _who(proc.pid, proc.agent, brush, width - 3)
    return _fill(line, f"{proc.ctx_used} tokens on {proc.tier.value}" if proc.kv_bytes else "", brush, width)
