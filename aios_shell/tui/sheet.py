"""A part of a record as lines of a page."""

from __future__ import annotations

import datetime
from typing import Final

from rich.text import Text

from aios_shell.text import one_line
from aios_shell.tui.prose import Look, glyph, markdown, styled, wrapped
from aios_shell.tui.record import Kind, Part, summary

GUTTER: Final = 2  # cells left of what a process wrote; marks begin in it


def draw(part: Part, width: int, look: Look, *, raw: bool = False) -> list[Text]:
    """The part's lines, none wider than `width` cells where that is possible."""
    room = max(1, width - GUTTER)
    match part.kind:
        case Kind.OUTPUT if raw:
            return _behind("", wrapped(Text(part.text.removesuffix("\n")), room))
        case Kind.OUTPUT:
            return _behind("", markdown(part.fence + part.text, room, look))
        case Kind.ERROR:
            return _behind("", wrapped(styled(part.text.removesuffix("\n"), look.error), room))
        case Kind.MARK:
            return _mark(part, width, look)
        case Kind.SAID:
            return _behind(glyph("› ", "> "), wrapped(styled(part.text, look.said), room))
        case Kind.HEADING:
            return wrapped(styled(part.text, look.heading), width)
        case Kind.END | Kind.LEFT_OUT:
            return wrapped(styled(part.text, look.faint), width)


def _behind(first: str, lines: list[Text]) -> list[Text]:
    margin = " " * GUTTER
    return [Text.assemble((first if number == 0 and first else margin), line) for number, line in enumerate(lines)]


def _mark(part: Part, width: int, look: Look) -> list[Text]:
    mark = glyph("▾", "v") if part.unfolded else glyph("▸", ">")
    head = styled(f"{mark} {summary(part.events)}", look.faint)
    head.truncate(width, overflow="ellipsis")
    if not part.unfolded:
        return [head]
    lines = [head]
    for event in part.events:
        at = datetime.datetime.fromtimestamp(event.at).strftime("%H:%M:%S.%f")[:-3]
        line = styled(f"  {at} {event.kind.value:<7} {one_line(event.data)}", look.faint)
        line.truncate(width, overflow="ellipsis")
        lines.append(line)
    return lines
