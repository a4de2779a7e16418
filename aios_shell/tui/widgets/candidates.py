"""The list over the command line: what could stand there, or what was typed before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len, set_cell_size
from textual.content import Content
from textual.geometry import Offset
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from aios_shell.text import one_line

MAX_ROWS: Final = 8
MAX_VALUE: Final = 48  # cells
GAP: Final = 2


@dataclass(frozen=True, slots=True)
class Choice:
    """One row, and what choosing it does: `text` for the last `replaced` characters before the cursor."""

    shown: str
    help: str
    text: str
    replaced: int
    ends: bool = False  # a new word begins after it


class Candidates(OptionList, can_focus=False):
    """Choices above the line that is typed; the line keeps the keys."""

    DEFAULT_CSS = """
    Candidates {
        overlay: screen; constrain: inside inside; display: none; border: none; padding: 0; max-height: 8;
        background: $surface; color: $foreground; scrollbar-size-vertical: 1;
    }
    Candidates > .option-list--option { padding: 0 1; }
    Candidates > .option-list--option-highlighted { background: $primary; color: $background; text-style: none; }
    """

    def __init__(self) -> None:
        super().__init__(compact=True)
        self.choices: Sequence[Choice] = ()
        self.moved = False  # the person has moved in it: enter means this choice

    @property
    def open(self) -> bool:
        return bool(self.choices)

    @property
    def choice(self) -> Choice | None:
        return self.choices[self.highlighted] if self.open and self.highlighted is not None else None

    def offer(self, choices: Sequence[Choice], column: int, *, last: bool = False) -> None:
        """Show the choices above the line, the first one (`last`: the last one) lit. column: where the word begins."""
        self.choices, self.moved = choices, False
        self.clear_options()
        self.display = bool(choices)
        if not choices:
            return
        shown = [one_line(choice.shown) for choice in choices]
        width = min(MAX_VALUE, max(map(cell_len, shown)))
        room = max(width, self.app.size.width - 4)
        helps = [one_line(choice.help) for choice in choices]
        self.add_options(Option(_row(name, help, width, room)) for name, help in zip(shown, helps, strict=True))
        widest = max(width + (GAP + cell_len(help) if help else 0) for help in helps)
        height = min(MAX_ROWS, len(choices))
        self.styles.width = min(room, widest) + 2 + (1 if len(choices) > height else 0)
        self.styles.height = height
        self.styles.offset = Offset(max(0, column - 1), -height)
        self.highlighted = len(choices) - 1 if last else 0

    def close(self) -> None:
        self.offer((), 0)

    def move(self, rows: int) -> None:
        if self.open:
            self.moved = True
            self.highlighted = ((self.highlighted or 0) + rows) % len(self.choices)


def _row(name: str, help: str, width: int, room: int) -> Content:
    text = set_cell_size(name, width)
    if not help or room < width + GAP + 8:
        return Content(text)
    line = set_cell_size(f"{text}{' ' * GAP}{help}", min(room, width + GAP + cell_len(help)))
    return Content(line).stylize("dim", len(text))
