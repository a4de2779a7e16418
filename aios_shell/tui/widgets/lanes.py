"""The timeline: a lane a slot, the newest step at the right, a time axis below."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import ClassVar, Final

from rich.cells import cell_len
from textual.events import Click, MouseScrollDown, MouseScrollUp
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from aios_kernel.protocol import StepPhase
from aios_shell import render
from aios_shell.text import one_line
from aios_shell.tui import drawing, timeline
from aios_shell.tui.drawing import PLAIN, Brush, Cells, Part
from aios_shell.tui.glyphs import glyphs
from aios_shell.tui.live import Live
from aios_shell.tui.messages import Act
from aios_shell.tui.palette import Colors
from aios_shell.tui.timeline import Column, Timeline

ZOOMS: Final = (1, 2, 4, 8, 16, 32)  # steps a cell
ZOOM: Final = 4  # about 10 cells a second while four slots decode on two cores
NUM_NOTES: Final = 16
TICK_CELLS: Final = 12  # between two marks of the time axis: a time of day and some room
STALE_S: Final = 2.0  # after which the picture says how long ago it was


class Lanes(Widget):
    """One row a slot, two where there is room: then the upper one names who had it."""

    ALLOW_SELECT: ClassVar[bool] = False

    def __init__(self, live: Live, clock: Callable[[], float] = time.time) -> None:
        """clock: Unix seconds, to say how old the picture is."""
        super().__init__()
        self._live, self._clock = live, clock
        self._timeline = Timeline(ZOOM)
        self._notes: deque[tuple[float, str]] = deque(maxlen=NUM_NOTES)  # when a policy was switched to
        self._policy = ""
        self._held_at: int | None = None  # paused: columns made when the one at the right edge was the newest
        self._top = 0  # the first lane shown
        self._tick_s = 0.0
        self._lines: list[Strip] = []
        self._drawn: tuple[object, ...] = ()

    def show(self) -> None:
        policy = self._live.status.policy if self._live.status else self._policy
        if policy != self._policy and self._policy:
            self._notes.append((self._clock(), one_line(policy)))
        self._policy = policy
        if self._timeline.follow(self._live.steps) or self._looks() != self._drawn:
            self.refresh()

    # --- where one looks

    @property
    def per_cell(self) -> int:
        """Steps a cell."""
        return self._timeline.per_cell

    def zoom(self, by: int) -> None:
        """Put more (1) or fewer (-1) steps into a cell, as far as that goes."""
        level = ZOOMS.index(self.per_cell) + by
        if 0 <= level < len(ZOOMS):
            self._timeline = Timeline(ZOOMS[level])
            self._timeline.follow(self._live.steps)
            self.follow()

    def look_back(self, by: int) -> None:
        """Go `by` columns further back, or nearer for less than 0. At the newest it follows again."""
        back = max(0, min(self._back + by, len(self._timeline.columns) - self._width))
        self._held_at = self._timeline.made - back if back else None
        self.refresh()

    def look_down(self, by: int) -> None:
        """Where not all lanes fit: show others."""
        self._top += by
        self.refresh()

    def follow(self) -> None:
        """Show the newest from now on."""
        self._held_at = None
        self.refresh()

    @property
    def paused(self) -> bool:
        return self._held_at is not None

    @property
    def _back(self) -> int:
        """Columns right of the right edge. When those at the edge are forgotten, the oldest are shown."""
        if self._held_at is None:
            return 0
        return max(0, min(self._timeline.made - self._held_at, len(self._timeline.columns) - self._width))

    # --- room

    @property
    def _slots(self) -> int:
        return max(1, self._live.status.slots if self._live.status else 1)

    @property
    def _gutter(self) -> int:
        return len(str(self._slots - 1)) + 1

    @property
    def _width(self) -> int:
        return max(1, self.size.width - self._gutter)

    def least_height(self, height: int) -> int:
        """How many of `height` rows it must have: two a lane where that leaves enough for others."""
        slots = self._slots
        if height >= 3 * slots + 7:
            return self.most_height
        if height >= 2 * slots + 7:
            return slots + 3
        return min(slots + 1, max(2, height * 2 // 3))

    @property
    def most_height(self) -> int:
        """More rows than these are of no use."""
        return 2 * self._slots + 3

    def _room(self) -> tuple[int, int, int]:
        """Lanes shown, rows a lane, and rows of words beside the axis: 0 to 2."""
        slots, height = self._slots, self.size.height
        words = max(0, min(2, height - slots - 1))
        rows = max(1, height - 1 - words)
        each = 2 if rows >= 2 * slots else 1
        return min(slots, rows // each), each, words

    # --- painting

    def render_lines(self, crop: Region) -> list[Strip]:
        looks = self._looks()
        if looks != self._drawn:
            self._draw()
            self._drawn = looks
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        return self._lines[y] if y < len(self._lines) else Strip.blank(self.size.width, self.rich_style)

    def _looks(self) -> tuple[object, ...]:
        """What the picture depends on."""
        newest = self._timeline.columns[-1].last if self._timeline.columns else None
        made = (self._timeline.made, newest, self.per_cell, self._back, self._top)
        return (*made, self.size, self._slots, self._age(), len(self._notes), Colors.of(self.app))

    def _draw(self) -> None:
        brush = Brush(Colors.of(self.app), glyphs(), self._agent)
        width, gutter, ground = self._width, self._gutter, self.rich_style
        lanes, each, words = self._room()
        self._top = max(0, min(self._top, self._slots - lanes))
        columns = self._timeline.window(width, self._back)
        self._tick_s = timeline.tick_s(columns, TICK_CELLS, self._tick_s)
        margin: list[Part] = [(" " * (gutter + width - len(columns)), PLAIN)]
        lines: list[list[Part]] = [self._legend(brush)] if words else []
        for slot in range(self._top, self._top + lanes):
            if each == 2:
                lines.append(margin + drawing.names(columns, slot, brush))
            number = (f"{slot:>{gutter - 1}} ", brush.colors.muted)
            rest = [(brush.glyphs.idle, brush.colors.idle_slot)] * (width - len(columns))
            lines.append([number, *rest, *drawing.bars(columns, slot, brush, labelled=each == 1)])
        lines.append(self._axis(columns, margin, brush))
        if words == 2:
            lines.append([(" " * gutter, PLAIN), *drawing.shares(columns, brush, width)])
        self._lines = [drawing.strip(line, self.size.width, ground) for line in lines]

    def _agent(self, pid: int) -> str:
        proc = self._live.procs.get(pid)
        return proc.agent if proc else ""

    def _legend(self, brush: Brush) -> list[Part]:
        """What the glyphs mean at the right; at the left, where there is room, what a cell is."""
        colors, muted = brush.colors, brush.colors.muted
        prefill, decode = (brush.phase(phase, colors.text) for phase in StepPhase)
        parts = [prefill, (" prefill  ", muted), decode, (" decode  ", muted)]
        parts += [(brush.glyphs.preempt, colors.preempt), (" preempted", muted)]
        left = "a cell is a step" if self.per_cell == 1 else f"a cell is {self.per_cell} steps"
        space = self.size.width - sum(cell_len(text) for text, _ in parts) - self._gutter
        title = left if len(left) + 2 <= space else ""
        return [(" " * self._gutter, PLAIN), (title.ljust(max(0, space)), muted), *parts]

    def _axis(self, columns: list[Column], margin: list[Part], brush: Brush) -> list[Part]:
        if not columns:
            return [(" " * self._gutter, PLAIN), ("no steps yet: nothing has run", brush.colors.muted)]
        cells: Cells = drawing.axis(columns, self._tick_s, list(self._notes), brush)
        aside = self._age() or self._hidden()
        if aside and cell_len(aside) <= len(cells):
            style = brush.colors.accent if self.paused else brush.colors.muted
            drawing.write(cells, len(cells) - cell_len(aside), aside, style, cell_len(aside))
        return margin + cells

    def _age(self) -> str:
        """How old the right edge is, when it is not now."""
        columns = self._timeline.columns
        if self.paused:
            behind = columns[-1].at - columns[-1 - self._back].at
            return f" {render.span(behind * 1e3)} back, End follows"
        if not columns or (age := self._clock() - columns[-1].at) < STALE_S:
            return ""
        return f" {render.span(age * 1e3) if age >= 10 else f'{age:.0f}s'} ago"

    def _hidden(self) -> str:
        """Which lanes these are, when there are others."""
        lanes = self._room()[0]
        return f" slots {self._top} to {self._top + lanes - 1} of {self._slots}" if lanes < self._slots else ""

    # --- mouse

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        event.stop()
        self.look_back(self._width // 8)

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        event.stop()
        self.look_back(-self._width // 8)

    def on_click(self, event: Click) -> None:
        """A cell of the timeline names a process: that one is looked at."""
        pid = self.pid_at(event.x, event.y)
        if pid is not None:
            self.post_message(Act("focus", (pid,)))

    def pid_at(self, x: int, y: int) -> int | None:
        """Whose cell it is; None: nobody's."""
        lanes, each, words = self._room()
        row = (y - min(1, words)) // each
        columns = self._timeline.window(self._width, self._back)
        at = x - self._gutter - (self._width - len(columns))
        if not (0 <= row < lanes and 0 <= at < len(columns)):
            return None
        cell = columns[at].cells.get(self._top + row)
        return cell.pid if cell else None
