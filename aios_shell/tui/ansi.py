"""Lines that programs wrote, for cells: their colours are kept, every other control sequence ends here."""

from __future__ import annotations

import re
from typing import Final

from rich.ansi import AnsiDecoder
from rich.text import Text

from aios_shell.text import sanitize

MAX_CHARS: Final = 4096  # of one line; nobody reads on
TAB: Final = 8

# ECMA-48: a control sequence (5.4), a command string (5.6: OSC, DCS, ...), a character set or single function (5.3).
_SEQUENCE: Final = re.compile(
    r"(?P<sgr>\x1b\[[0-9;]*m)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_].*?(?:\x07|\x1b\\)|\x1b[ -/]+[0-~]|\x1b[0-Z\\^_`-~]"
)


def clean(line: str) -> str:
    """One line with nothing but text and colours (SGR) in it; what a carriage return began anew is what stays."""
    line = line.rstrip("\r").rpartition("\r")[2]
    if len(line) > MAX_CHARS:
        line = line[:MAX_CHARS] + "…"
    if "\t" in line:
        line = line.expandtabs(TAB)
    if "\x1b" not in line:
        return sanitize(line)
    kept, end = [], 0
    for match in _SEQUENCE.finditer(line):
        kept += [sanitize(line[end : match.start()]), match["sgr"] or ""]
        end = match.end()
    kept.append(sanitize(line[end:]))
    return "".join(kept)


def plain(cleaned: str) -> str:
    """The text of a line that `clean` made."""
    return _SEQUENCE.sub("", cleaned) if "\x1b" in cleaned else cleaned


def decode(cleaned: str) -> Text:
    """A line that `clean` made, with its colours. They end with the line."""
    return AnsiDecoder().decode_line(cleaned) if "\x1b" in cleaned else Text(cleaned)
