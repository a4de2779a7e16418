"""The scheduler at work: the policy, the slots and the queue, and the timeline of who had which slot."""

from __future__ import annotations

from itertools import takewhile
from typing import ClassVar, Final

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.css.scalar import Scalar
from textual.widget import Widget

from aios_shell.text import one_line
from aios_shell.tui.drawing import Part
from aios_shell.tui.live import Live
from aios_shell.tui.messages import Run
from aios_shell.tui.palette import Colors
from aios_shell.tui.widgets.board import Board
from aios_shell.tui.widgets.lanes import Lanes

STEPS_S: Final = 2.0  # of the newest steps that their rate is taken of
REVERSE: Final = Style(bold=True, reverse=True)
LOW: Final = 7  # rows from which there is a line for the policy


class Head(Widget):
    """The policies, the one in use marked, and how fast steps go by."""

    DEFAULT_CSS = "Head { height: 1; }"

    def __init__(self, live: Live) -> None:
        super().__init__()
        self._live = live
        self._told: tuple[object, ...] = ()

    def show(self) -> None:
        told = (self._policies, self._policy, self._quantum, self._rate())
        if told != self._told:
            self._told = told
            self.refresh()

    @property
    def _policy(self) -> str:
        return one_line(self._live.status.policy) if self._live.status else ""

    @property
    def _policies(self) -> tuple[str, ...]:
        return tuple(map(one_line, self._live.status.policies)) if self._live.status else ()

    @property
    def _quantum(self) -> str:
        return f" quantum {self._live.status.quantum}" if self._live.status else ""

    def _rate(self) -> str:
        steps = self._live.steps
        if len(steps) < 2:
            return ""
        newest = steps[-1].at
        lately = list(takewhile(lambda step: newest - step.at < STEPS_S, reversed(steps)))
        lasted = newest - lately[-1].at
        rate = f"{(len(lately) - 1) / lasted:.0f} steps/s  " if lasted > 0 else ""
        return f"{rate}step {steps[-1].step:,}"

    def render(self) -> Text:
        colors, policy, rate, width = Colors.of(self.app), self._policy, self._rate(), self.size.width
        names = self._policies if sum(map(len, self._policies)) + 2 * len(self._policies) + 7 <= width else (policy,)
        parts: list[Part] = [("policy ", colors.muted)]
        for name in names:
            parts.append((f" {name} ", colors.primary + REVERSE if name == policy else colors.muted))
        space = width - sum(cell_len(text) for text, _ in parts)
        if len(self._quantum) < space - len(rate):
            parts.append((self._quantum, colors.muted))
            space -= len(self._quantum)
        return Text.assemble(*parts, (rate.rjust(space) if len(rate) < space else "", colors.muted), no_wrap=True)


class Scheduler(Vertical, can_focus=True):
    """Which agent had which slot, step by step, and why the others wait."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "policy", "Policy", id="scheduler.policy"),
        Binding("plus,equals_sign", "zoom(-1)", "Closer", key_display="+", id="scheduler.closer"),
        Binding("minus", "zoom(1)", "Farther", key_display="-", id="scheduler.farther"),
        Binding("left,h", "back(1)", "Back", key_display="←", id="scheduler.back"),
        Binding("right,l", "back(-1)", "Forward", show=False, id="scheduler.forward"),
        Binding("end", "follow", "Follow", id="scheduler.follow"),
        Binding("up,k", "queue(-1)", "Queue up", show=False, id="scheduler.up"),
        Binding("down,j", "queue(1)", "Queue down", show=False, id="scheduler.down"),
        Binding("pageup", "queue(-10)", "Queue page up", show=False, id="scheduler.page_up"),
        Binding("pagedown", "queue(10)", "Queue page down", show=False, id="scheduler.page_down"),
        Binding("shift+up", "lanes(-1)", "Lanes up", show=False, id="scheduler.lanes_up"),
        Binding("shift+down", "lanes(1)", "Lanes down", show=False, id="scheduler.lanes_down"),
    ]
    DEFAULT_CSS = "Scheduler { padding: 0 1; }"

    def __init__(self, live: Live) -> None:
        super().__init__()
        self._live = live
        self._head, self._board, self._lanes = Head(live), Board(live), Lanes(live)
        self._room = 0  # rows of the board

    def compose(self) -> ComposeResult:
        yield self._head
        yield self._board
        yield self._lanes

    def show(self) -> None:
        for part in (self._head, self._board, self._lanes):
            part.show()
        self._fit()

    def on_show(self) -> None:
        self.show()

    def on_resize(self) -> None:
        self._room = 0
        self.show()

    def _fit(self) -> None:
        """Share the rows out: the lanes get theirs, the board what it needs of the rest, the policy goes first.

        The board only ever grows, so that the lanes stand still while the queue comes and goes.
        """
        self._head.display = self.size.height >= LOW
        height = self.size.height - (1 if self._head.display else 0)
        needed = self._board.num_lines + 1  # and an empty line
        self._room = min(height - self._lanes.least_height(height), max(needed, self._room))
        lanes = min(self._lanes.most_height, height - self._room)
        for part, rows in ((self._lanes, lanes), (self._board, self._room)):
            if part.styles.height != Scalar.from_number(rows):
                part.styles.height = rows

    def action_policy(self) -> None:
        """The next policy, for everyone: the kernel switches while all of them run."""
        if self._live.status is not None:
            names = self._live.status.policies
            at = names.index(self._live.status.policy)
            self.post_message(Run(f"sched {names[(at + 1) % len(names)]}"))

    def action_zoom(self, by: int) -> None:
        self._lanes.zoom(by)

    def action_back(self, by: int) -> None:
        self._lanes.look_back(by * max(1, self._lanes.size.width // 8))

    def action_follow(self) -> None:
        self._lanes.follow()

    def action_queue(self, by: int) -> None:
        self._board.scroll_relative(y=by, animate=False)

    def action_lanes(self, by: int) -> None:
        self._lanes.look_down(by)
