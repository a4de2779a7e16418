"""What command lines have written: a block each, with how it ended; the end is followed unless one scrolls up."""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterator
from typing import ClassVar, Final

from rich.cells import cell_len, chop_cells
from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from aios_shell import render
from aios_shell.text import one_line
from aios_shell.tui.ansi import decode, plain
from aios_shell.tui.glyphs import UNICODE, glyphs
from aios_shell.tui.running import RunningLine

MAX_LINES: Final = 2000  # of one block; the newest are kept
MAX_BLOCKS: Final = 50
DRAW_S: Final = 0.05  # between two looks at a line that goes on writing
MIN_COLUMNS: Final = 20

Row = tuple[str, int, int]  # a line as `ansi.clean` left it, and which characters of its text stand in the row


class Block:
    """One line and its output, folded to a width."""

    def __init__(self, line: RunningLine, width: int) -> None:
        self.line, self.num_lost = line, 0
        self._width = width
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._partial = ""
        self._rows: list[Row] = []  # of the whole lines

    def take(self) -> None:
        """Take in what the line has written since."""
        lines, self._partial, lost = self.line.reader.take()
        pushed_out = max(0, len(self._lines) + len(lines) - MAX_LINES)
        self.num_lost += lost + pushed_out
        self._lines.extend(lines)
        if pushed_out:
            self.fold(self._width)
        else:
            for line in lines:
                self._rows += _fold(line, self._width)

    def fold(self, width: int) -> None:
        self._width = width
        self._rows = [row for line in self._lines for row in _fold(line, width)]

    @property
    def empty(self) -> bool:
        return not self._lines and not self._partial

    @property
    def height(self) -> int:
        """The heading, the output and a blank row."""
        return 2 + len(self._rows) + self._num_partial_rows

    @property
    def _num_partial_rows(self) -> int:
        return len(_fold(self._partial, self._width)) if self._partial else 0

    def row(self, index: int) -> Row:
        """A row of the output, counted from 0."""
        if index < len(self._rows):
            return self._rows[index]
        partial = _fold(self._partial, self._width) if self._partial else []
        index -= len(self._rows)
        return partial[index] if index < len(partial) else ("", 0, 0)

    def text(self) -> str:
        return "".join(f"{plain(line)}\n" for line in (*self._lines, *filter(None, [self._partial])))


class Output(ScrollView, can_focus=True):
    """All blocks, the newest last."""

    DEFAULT_CSS = """
    Output {
        background: $background; color: $foreground; padding: 0 1; overflow-x: hidden; scrollbar-size-vertical: 1;
        scrollbar-gutter: stable;
    }
    Output > .output--mark { color: $primary; text-style: bold; }
    Output > .output--command { text-style: bold; }
    Output > .output--detail { color: $text-muted; }
    Output > .output--good { color: $text-success; }
    Output > .output--bad { color: $text-error; text-style: bold; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "output--mark",
        "output--command",
        "output--detail",
        "output--good",
        "output--bad",
    }
    HELP_TITLE = "Output of commands"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "Copy last", id="output.copy"),
        Binding("c", "clear", "Clear", id="output.clear"),
        Binding("j,down", "scroll_down", "Down", show=False, id="output.down"),
        Binding("k,up", "scroll_up", "Up", show=False, id="output.up"),
        Binding("g,home", "scroll_home", "First", show=False, id="output.first"),
        Binding("G,end", "scroll_end", "Last, and follow", show=False, id="output.last"),
    ]

    class Spoke(Message):
        """A line has something to show: its first output, or that it failed. Posted once a line."""

        def __init__(self, line: RunningLine) -> None:
            super().__init__()
            self.line = line

    class Stirred(Message):
        """A line has written or ended."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: list[Block] = []
        self._bottoms: list[int] = []  # the first row below each block
        self._spoken: set[RunningLine] = set()
        self._resting = self._behind = False
        self._follows = True

    @property
    def columns(self) -> int:
        """What a command's tables are drawn for. It has this width when it is shown for the first time, too."""
        width = self.scrollable_content_region.width or self.app.size.width - 3
        return max(MIN_COLUMNS, width)

    def add(self, line: RunningLine) -> None:
        """Show a line's output from now on."""
        self._blocks = [*self._blocks[1 - MAX_BLOCKS :], Block(line, self.columns)]
        line.stirred = self._stirred
        self._draw()
        self._to_end()

    def _stirred(self) -> None:
        """May be called in any thread."""
        self.post_message(self.Stirred())

    def on_output_stirred(self) -> None:
        """Draw at once, then not again for a moment."""
        if self._resting:
            self._behind = True
            return
        self._resting = True
        self._draw()
        self.set_timer(DRAW_S, self._rested)

    def _rested(self) -> None:
        self._resting = False
        if self._behind:
            self._behind = False
            self.on_output_stirred()

    def _draw(self) -> None:
        for block in self._blocks:
            block.take()
            self._tell(block)
        self._lay_out()
        if self._follows:
            self._to_end()

    def _tell(self, block: Block) -> None:
        line = block.line
        if line not in self._spoken and not line.quiet and (not block.empty or line.status):
            self._spoken.add(line)
            self.post_message(self.Spoke(line))

    def _lay_out(self) -> None:
        bottom, bottoms = 0, []
        for block in self._blocks:
            bottom += block.height
            bottoms.append(bottom)
        self._bottoms = bottoms
        self.virtual_size = Size(self.columns, bottom)
        self.refresh()

    def on_resize(self, event: Resize) -> None:  # noqa: ARG002 -- its interface
        for block in self._blocks:
            block.fold(self.columns)
        self._lay_out()
        if self._follows:
            self._to_end()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._follows = self.is_vertical_scroll_end

    def _to_end(self) -> None:
        """Now, and even before there is a scrollbar: else the next look would find that one has scrolled up."""
        self.scroll_end(animate=False, immediate=True, force=True)

    # --- rows

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        at = y + self.scroll_offset.y
        line = self._row(at) if self._bottoms and at < self._bottoms[-1] else self._invitation(y)
        selection = self.text_selection
        span = selection.get_span(at) if selection is not None else None
        if span is not None:
            start, end = span
            line.stylize(self.screen.get_component_rich_style("screen--selection"), start, None if end < 0 else end)
        strip = Strip(line.render(self.app.console), cell_len(line.plain))
        strip = Strip([segment for segment in strip if segment.text != "\n"])
        return strip.crop_extend(0, width, self.rich_style).apply_style(self.rich_style).apply_offsets(0, at)

    def _invitation(self, y: int) -> Text:
        words = "Nothing has been run here yet: type a command below." if not self._blocks and y == 0 else ""
        return Text(words, self._style("detail"), no_wrap=True, end="")

    def _row(self, at: int) -> Text:
        index = bisect.bisect_right(self._bottoms, at)
        block = self._blocks[index]
        inside = at - (self._bottoms[index] - block.height)
        if inside == 0:
            return self._heading(block)
        cleaned, start, end = block.row(inside - 1)
        text = decode(cleaned)[start:end] if cleaned else Text()
        text.end = ""
        return text

    def _heading(self, block: Block) -> Text:
        """`❯ ps --all                    0.12s`: what was typed, and on the right how it went."""
        line = block.line
        right = self._outcome(block)
        room = max(4, self.columns - cell_len(right.plain) - 3)
        mark = "❯" if glyphs() is UNICODE else ">"
        command = Text(one_line(line.text))
        command.truncate(room, overflow="ellipsis", pad=True)
        left = ((f"{mark} ", self._style("mark")), (command.plain, self._style("command")), " ")
        return Text.assemble(*left, right, no_wrap=True, end="")

    def _outcome(self, block: Block) -> Text:
        line = block.line
        lost = f"{block.num_lost:,} lines left out  " if block.num_lost else ""
        text = Text(end="").append(lost, self._style("detail"))
        if line.status is None:
            return text.append("running, ^C stops", self._style("good"))
        if line.status:
            text.append(f"exit {line.status}  ", self._style("bad"))
        return text.append(render.span((line.took_s or 0) * 1000), self._style("detail"))

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"output--{name}", partial=True)

    # --- keys

    def _texts(self) -> Iterator[str]:
        for y in range(self._bottoms[-1] if self._bottoms else 0):
            yield self._row(y).plain

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        return selection.extract("\n".join(self._texts())), "\n"

    def selection_updated(self, selection: Selection | None) -> None:  # noqa: ARG002 -- its interface
        self.refresh()

    def action_copy(self) -> None:
        """The last block's output to the clipboard."""
        if self._blocks:
            self.app.copy_to_clipboard(self._blocks[-1].text())

    def action_clear(self) -> None:
        """Forget what has ended."""
        self._blocks = [block for block in self._blocks if block.line.status is None]
        self._spoken = {block.line for block in self._blocks}
        self._lay_out()


def _fold(line: str, width: int) -> list[Row]:
    """The rows of a line. Cells are counted, not characters: a wide one is never cut."""
    text = plain(line)
    if cell_len(text) <= width:
        return [(line, 0, len(text))]
    rows, start = [], 0
    for part in chop_cells(text, width):
        rows.append((line, start, start + len(part)))
        start += len(part)
    return rows
