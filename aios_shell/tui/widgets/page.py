"""A page of parts: drawn a part at a time when it comes into view, followed at its end, searched, selected from."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, Final

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.reactive import var
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from aios_shell.tui.palette import Colors
from aios_shell.tui.prose import Look, styled, wrapped
from aios_shell.tui.record import Kind, Part
from aios_shell.tui.sheet import GUTTER, draw

_ABOVE: Final = 3  # a hit stands at this share of the height


@dataclass(slots=True)
class _Drawing:
    """A part's lines at a width. Until they are drawn (None), `height` is a guess."""

    version: int
    height: int
    lines: list[Text] | None = None


class Page(ScrollView, can_focus=True):
    """Shows a list of parts that somebody else adds to: call `settle` when it has changed."""

    DEFAULT_CSS = """
    Page {
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "lines(-1)", "Up", show=False, id="page.up"),
        Binding("down,j", "lines(1)", "Down", show=False, id="page.down"),
        Binding("pageup,b", "pages(-1)", "Page up", show=False, id="page.pageup"),
        Binding("pagedown,space", "pages(1)", "Page down", show=False, id="page.pagedown"),
        Binding("home,g", "top", "Top", show=False, id="page.home"),
        Binding("end,G", "end", "Follow", show=False, id="page.end"),
    ]

    following = var(True)
    raw = var(False)

    def __init__(self, *, follow: bool = True, placeholder: str = "", id: str | None = None) -> None:
        """follow: stay at the end as it grows. placeholder: shown while there are no parts."""
        super().__init__(id=id)
        self._follows = follow
        self._placeholder = placeholder
        self._parts: Sequence[Part] = ()
        self._drawn: dict[Part, _Drawing] = {}
        self._tops: list[int] = []
        self._look: Look | None = None
        self._ground = Style.null()
        self._width = 0
        self._anchor: tuple[Part, int] | None = None  # what stands at the top while it does not follow
        self._pattern: re.Pattern[str] | None = None
        self._hit: tuple[Part, int] | None = None
        self._placing = False
        self.set_reactive(Page.following, follow)

    # --- what is shown

    def read(self, parts: Sequence[Part], placeholder: str = "") -> None:
        """Show other parts: from their end when it follows, else from their beginning."""
        self._parts, self._placeholder = parts, placeholder
        self._anchor = self._hit = None
        self._drawn.clear()
        self.following = self._follows
        self.screen.clear_selection()
        self.settle()

    def settle(self) -> None:
        """Draw what is in view and has changed, and stand where we stood: at the end, or at the same line."""
        width, height = self.scrollable_content_region.width, self.scrollable_content_region.height
        if not width or not height:
            return
        if width != self._width or len(self._drawn) > 2 * len(self._parts) + 100:
            self._width = width
            self._drawn.clear()
        while True:
            drawings = [self._drawing(part) for part in self._parts]
            self._tops = [0, *accumulate(drawing.height for drawing in drawings)]
            y = self._stand(height)
            first, last = self._index_at(y), self._index_at(y + height - 1)
            hidden = [part for part in self._parts[first : last + 1] if self._drawn[part].lines is None]
            if not hidden:
                break
            for part in hidden:
                self._lines(part)
        self._placing = True
        self.virtual_size = Size(width, self._tops[-1])
        self.scroll_to(y=y, animate=False, force=True, immediate=True)
        self._placing = False
        self.refresh()

    def _stand(self, height: int) -> int:
        """The line of all that should be the first in view."""
        most = max(0, self._tops[-1] - height)
        if self.following:
            return most
        if self._anchor is None or self._anchor[0] not in self._drawn:
            return 0
        part, line = self._anchor
        index = next((index for index, other in enumerate(self._parts) if other is part), None)
        return 0 if index is None else max(0, min(most, self._tops[index] + line))

    def _index_at(self, y: int) -> int:
        """The part that has line `y`."""
        return max(0, min(bisect_right(self._tops, y), len(self._parts)) - 1)

    def _drawing(self, part: Part) -> _Drawing:
        drawing = self._drawn.get(part)
        if drawing is None or drawing.version != part.version:
            drawing = self._drawn[part] = _Drawing(part.version, self._guess(part))
        return drawing

    def _guess(self, part: Part) -> int:
        if part.kind is Kind.MARK:
            return 1 + len(part.events) * part.unfolded
        room = max(1, self._width - GUTTER)
        return sum(max(1, -(-len(line) // room)) for line in part.text.rstrip("\n").split("\n"))

    def _lines(self, part: Part) -> list[Text]:
        drawing = self._drawing(part)
        if drawing.lines is None:
            drawing.lines = draw(part, self._width, self.look, raw=self.raw)
            drawing.height = len(drawing.lines)
        return drawing.lines

    @property
    def look(self) -> Look:
        if self._look is None:
            self._look = look_of(Colors.of(self.app))
        return self._look

    def notify_style_update(self) -> None:
        super().notify_style_update()
        if self._look is not None and self._look != look_of(Colors.of(self.app)):
            self._look = None
            self._drawn.clear()
            self.settle()

    def on_resize(self) -> None:
        self.settle()

    def watch_raw(self) -> None:
        self._drawn.clear()
        self.settle()

    # --- drawing a line

    def render_lines(self, crop: Region) -> list[Strip]:
        self._ground = self.rich_style  # it costs as much as drawing a line
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        line = self.scroll_offset.y + y
        if not self._parts:
            lines = wrapped(styled(self._placeholder, self.look.faint), width - 2)
            text = lines[y - 1] if 0 < y <= len(lines) else Text()
            text.pad_left(max(0, (width - cell_len(text.plain)) // 2))
        else:
            text = self._text_at(line) or Text()
        if not text:
            return Strip.blank(width, self._ground).apply_offsets(0, line)
        strip = Strip(self._highlighted(text, line).render(self.app.console)).adjust_cell_length(width)
        return strip.apply_style(self._ground).apply_offsets(0, line)

    def _text_at(self, line: int) -> Text | None:
        if not 0 <= line < (self._tops[-1] if self._tops else 0):
            return None
        index = self._index_at(line)
        part = self._parts[index]
        drawing = self._drawn.get(part)
        offset = line - self._tops[index]
        return drawing.lines[offset] if drawing and drawing.lines and offset < len(drawing.lines) else None

    def _highlighted(self, text: Text, line: int) -> Text:
        span = self.text_selection.get_span(line) if self.text_selection is not None else None
        if self._pattern is None and span is None:
            return text
        text = text.copy()
        if self._pattern is not None:
            style = self.look.hit if line == self._hit_line() else self.look.match
            for match in self._pattern.finditer(text.plain):
                text.stylize(style, *match.span())
        if span is not None:
            start, end = span
            style = self.screen.get_component_rich_style("screen--selection")
            text.stylize(style, start, len(text) if end == -1 else end)
        return text

    # --- scrolling

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if not self._placing and round(old_value) != round(new_value):
            self._stand_at(round(new_value))

    def _stand_at(self, y: int) -> None:
        """The person has scrolled there: at the end it follows again, elsewhere it stays."""
        if not self._parts or not self._tops:
            return
        self.following = self._follows and y >= self.max_scroll_y
        index = self._index_at(y)
        part = self._parts[index]
        from_end = self._tops[index + 1] - y  # a guessed height may be wrong: what was next is next
        drawn = self._drawing(part).lines is not None
        self._anchor = (part, y - self._tops[index] if drawn else max(0, len(self._lines(part)) - from_end))
        self.settle()

    def action_lines(self, num: int) -> None:
        self.scroll_to(y=self.scroll_offset.y + num, animate=False, immediate=True)

    def action_pages(self, num: int) -> None:
        self.action_lines(num * max(1, self.size.height - 1))

    def action_top(self) -> None:
        self.scroll_to(y=0, animate=False, immediate=True)

    def action_end(self) -> None:
        self.following = self._follows
        self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True)
        self.settle()

    # --- folds

    def toggle_folds(self) -> None:
        """Unfold all marks, or fold them when all are unfolded."""
        marks = [part for part in self._parts if part.kind is Kind.MARK]
        unfold = not all(part.unfolded for part in marks)
        for part in marks:
            _unfold(part, unfold)
        self.settle()

    def on_click(self, event: events.Click) -> None:
        line = self.scroll_offset.y + event.y
        if self._parts and self._text_at(line) is not None:
            part = self._parts[self._index_at(line)]
            if part.kind is Kind.MARK and self.text_selection is None:
                _unfold(part, not part.unfolded)
                self.settle()

    # --- search

    def find(self, needle: str) -> int:
        """Mark what holds `needle`, whatever its case, and go to the last of it. Returns how often there is any."""
        self._pattern = re.compile(re.escape(needle), re.IGNORECASE) if needle else None
        self._hit = None
        self.refresh()
        if self._pattern is None:
            return 0
        count = sum(len(self._pattern.findall(part.words)) for part in self._parts)
        if count:
            self.find_next(-1)
        return count

    def find_next(self, direction: int) -> bool:
        """Go to the next (1) or the former (-1) hit, around the end. Returns whether there is one."""
        if self._pattern is None or not self._parts:
            return False
        index, line = self._search_from(direction)
        for step in range(len(self._parts) + 1):
            part = self._parts[(index + step * direction) % len(self._parts)]
            if not self._pattern.search(part.words):
                continue
            if part.kind is Kind.MARK and not part.unfolded:
                _unfold(part, True)
            found = [number for number, text in enumerate(self._lines(part)) if self._pattern.search(text.plain)]
            if step == 0:
                found = [number for number in found if (number - line) * direction > 0]
            elif not found:  # it is broken over two lines
                found = [0]
            if found:
                self._go_to(part, found[0] if direction > 0 else found[-1])
                return True
        return False

    def _search_from(self, direction: int) -> tuple[int, int]:
        """Part and line that the search goes on from: the hit, else the end of what is in view."""
        if self._hit is not None:
            for index, part in enumerate(self._parts):
                if part is self._hit[0]:
                    return index, self._hit[1]
        line = self.scroll_offset.y + (self.size.height if direction < 0 else -1)
        index = self._index_at(line)
        return index, line - self._tops[index]

    def _go_to(self, part: Part, line: int) -> None:
        self._hit = (part, line)
        self.following = False
        self._anchor = (part, line - self.size.height // _ABOVE)
        self.settle()

    def _hit_line(self) -> int | None:
        if self._hit is None:
            return None
        index = next((index for index, part in enumerate(self._parts) if part is self._hit[0]), None)
        return None if index is None else self._tops[index] + self._hit[1]

    # --- selection

    @property
    def allow_select(self) -> bool:
        return True

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        if not self._tops:
            return None
        first = selection.start.y if selection.start is not None else 0
        last = min(selection.end.y if selection.end is not None else self._tops[-1] - 1, self._tops[-1] - 1)
        lines = []
        for line in range(first, last + 1):
            start, end = selection.get_span(line) or (0, -1)
            plain = (self._text_at(line) or Text()).plain
            lines.append(plain[start : None if end == -1 else end].rstrip())
        return "\n".join(lines), "\n"

    def selection_updated(self, selection: Selection | None) -> None:  # noqa: ARG002 - Textual's
        self.refresh()


def look_of(colors: Colors) -> Look:
    bold, underlined = Style(bold=True), Style(underline=True)
    return Look(
        heading=colors.primary + bold,
        code=colors.accent,
        link=colors.primary,
        faint=colors.muted,
        error=colors.muted + Style(italic=True),
        said=colors.text + bold,
        notice=colors.warning,
        match=colors.warning + underlined,
        hit=colors.warning + bold + Style(reverse=True),
    )


def _unfold(part: Part, unfolded: bool) -> None:
    if part.unfolded is not unfolded:
        part.unfolded = unfolded
        part.version += 1
