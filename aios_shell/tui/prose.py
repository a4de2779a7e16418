"""Markdown as lines of styled text. Links are shown and never live, images are named and never fetched.

A program's output is not an article: its line breaks and blank lines stay where they are, HTML is text, and link
definitions are shown. Whatever a token holds is made safe once more, as entities and percent-escapes can hold controls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from io import StringIO
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.style import Style
from rich.text import Text

from aios_shell.text import one_line
from aios_shell.tui.glyphs import UNICODE, glyphs
from aios_shell.tui.record import readable

MIN_WIDTH: Final = 8  # of what stands behind bullets and bars: deeper ones are drawn at this depth
MIN_CELL: Final = 3
GAP: Final = "  "  # between columns of a table

_CONSOLE: Final = Console(file=StringIO(), width=80, color_system=None)  # Text.wrap wants one; it prints nothing
PLAIN: Final = Style()


@dataclass(frozen=True, slots=True)
class Look:
    """Styles by what they are for."""

    heading: Style = PLAIN
    code: Style = PLAIN
    link: Style = PLAIN
    faint: Style = PLAIN
    error: Style = PLAIN
    said: Style = PLAIN
    notice: Style = PLAIN
    match: Style = PLAIN
    hit: Style = PLAIN


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    return parser.disable(["reference", "html_block", "html_inline"])


def glyph(fine: str, plain: str) -> str:
    """`fine`, or where the terminal has no Unicode `plain`."""
    return fine if glyphs() is UNICODE else plain


def styled(text: str, style: Style) -> Text:
    """Text with the style as a span: Rich draws the other kind plain where there is no span beside it."""
    return Text.assemble((text, style))


def wrapped(text: Text, width: int) -> list[Text]:
    """Lines of at most `width` cells."""
    if "\n" not in text.plain and cell_len(text.plain) <= width:
        return [text]
    return list(text.wrap(_CONSOLE, max(2, width), overflow="fold", tab_size=4))


def markdown(source: str, width: int, look: Look) -> list[Text]:
    """The lines of a Markdown text; `source` is as `readable` gives it."""
    page = _Page(source.split("\n"), width, look)
    page.draw(_parser().parse(source))
    return page.lines


@dataclass(slots=True)
class _Margin:
    """What stands left of a block: `first` before its first line, `rest` as wide before the others."""

    first: str
    rest: str


@dataclass(slots=True)
class _Page:
    source: Sequence[str]
    width: int
    look: Look
    lines: list[Text] = field(default_factory=list)
    _margins: list[_Margin] = field(default_factory=list)
    _numbers: list[int | None] = field(default_factory=list)  # of the lists that are open; None: bullets
    _heading: bool = False
    _rows: list[list[Text]] | None = None  # of the table that is open

    def draw(self, tokens: list[Token]) -> None:
        for token in tokens:
            if token.map is not None and token.nesting >= 0 and self._rows is None:
                self._keep_blank_line(token.map[0])
            self._block(token)
        self._keep_blank_line(len(self.source) - 1)

    def _keep_blank_line(self, line: int) -> None:
        if line > 0 and not self.source[line - 1].strip(" >") and self.lines and self.lines[-1].plain.strip(" │"):
            self.lines.append(styled("".join(margin.rest for margin in self._margins), self.look.faint))

    def _block(self, token: Token) -> None:
        match token.type:
            case "inline" if self._rows is not None:
                self._rows[-1].append(self._inline(token))
            case "inline":
                self._emit(self._inline(token))
            case "fence" | "code_block":
                self._margins.append(_Margin("  ", "  "))
                self._emit(styled(readable(token.content.rstrip("\n")), self.look.code))
                self._margins.pop()
            case "hr":
                self._emit(styled(glyph("─", "-") * self._room(), self.look.faint))
            case "heading_open" | "heading_close":
                self._heading = token.nesting > 0
            case "table_open":
                self._rows = []
            case "tr_open" if self._rows is not None:
                self._rows.append([])
            case "table_close" if self._rows is not None:
                rows, self._rows = self._rows, None
                self._table(rows)
            case _:
                self._nest(token)

    def _nest(self, token: Token) -> None:
        match token.type:
            case "blockquote_open":
                self._margins.append(_Margin(bar := glyph("│ ", "| "), bar))
            case "bullet_list_open":
                self._numbers.append(None)
            case "ordered_list_open":
                self._numbers.append(int(token.attrs.get("start", 1)))
            case "bullet_list_close" | "ordered_list_close":
                self._numbers.pop()
            case "list_item_open":
                number = self._numbers[-1]
                bullet = glyph("• ", "- ") if number is None else f"{number}. "
                if number is not None:
                    self._numbers[-1] = number + 1
                self._margins.append(_Margin(bullet, " " * len(bullet)))
            case "list_item_close" | "blockquote_close":
                self._margins.pop()

    def _room(self) -> int:
        """Cells beside the margins."""
        return max(MIN_WIDTH, self.width - sum(len(margin.rest) for margin in self._margins))

    def _emit(self, text: Text) -> None:
        """Add a block's lines behind the margins."""
        if self._heading:
            text.stylize(self.look.heading)
        lines = wrapped(text, self._room())
        self.lines += [Text.assemble((self._margin(), self.look.faint), line) for line in lines or [Text()]]

    def _margin(self) -> str:
        margin = "".join(margin.first for margin in self._margins)
        for used in self._margins:
            used.first = used.rest
        return margin[: max(0, self.width - MIN_WIDTH)]

    def _inline(self, token: Token) -> Text:
        text = Text()
        styles: list[Style] = [Style()]
        hrefs: list[tuple[str, int]] = []  # of the links that are open, and where their text begins
        for child in token.children or []:
            match child.type:
                case "softbreak" | "hardbreak":
                    text.append("\n")
                case "link_open":
                    hrefs.append((str(child.attrs.get("href", "")), len(text)))
                case "link_close":
                    href, start = hrefs.pop()
                    text.append(_target(href, text.plain[start:]), self.look.link)
                case "image":
                    text.append(f"[image: {_safe(child.content)}]", styles[-1])
                    text.append(_target(str(child.attrs.get("src", "")), ""), self.look.link)
                case "code_inline":
                    text.append(_safe(child.content), styles[-1] + self.look.code)
                case _ if child.nesting > 0:
                    styles.append(styles[-1] + _EMPHASIS.get(child.tag, Style()))
                case _ if child.nesting < 0:
                    styles.pop()
                case _:
                    text.append(_safe(child.content), styles[-1])
        return text

    def _table(self, rows: list[list[Text]]) -> None:
        """Columns as wide as they need, those that take most cut until all fit; none when not even that is possible."""
        num = len(rows[0])
        widths = [max(cell_len(row[column].plain) for row in rows) for column in range(num)]
        room = self._room() - len(GAP) * (num - 1)
        if room < MIN_CELL * num:
            for row in rows:
                self._emit(Text(" | ").join(row))
            return
        while sum(widths) > room:
            widest = max(widths)
            second = max((width for width in widths if width < widest), default=MIN_CELL)
            most = [index for index, width in enumerate(widths) if width == widest]
            fewer = max(second, widest - -(-(sum(widths) - room) // len(most)), MIN_CELL)
            for index in most:
                widths[index] = min(fewer, widest - 1)
        for number, row in enumerate(rows):
            cells = [_cell(text, width) for text, width in zip(row, widths, strict=True)]
            line = Text(GAP).join(cells)
            if number == 0:
                line.stylize(self.look.heading)
            self._emit(line)
            if number == 0:
                self._emit(styled(GAP.join(glyph("─", "-") * width for width in widths), self.look.faint))


_EMPHASIS: Final = {"em": Style(italic=True), "strong": Style(bold=True), "s": Style(strike=True)}


def _safe(text: str) -> str:
    return readable(text).replace("\n", " ")


def _target(href: str, text: str) -> str:
    """Where a link goes, to stand behind its text; nothing where the text says so itself."""
    shown = one_line(_safe(href))
    return "" if shown in ("", text, f"mailto:{text}") else f" ({shown})"


def _cell(text: Text, width: int) -> Text:
    cell = text.copy()
    if cell_len(cell.plain) > width:
        cell.truncate(width, overflow="ellipsis")
    cell.append(set_cell_size("", width - cell_len(cell.plain)))
    return cell
