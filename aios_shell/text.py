"""Text that programs wrote, made safe for a terminal: the one place where control characters end."""

from __future__ import annotations

import codecs
import re
from io import IncrementalNewlineDecoder

# C0 and C1 controls and DEL, but for newline and tab. A terminal may take C1 for escape sequences (ECMA-48 5.3).
# Bidirectional overrides are here too: they can make a line read as another (CVE-2021-42574).
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_LINE_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20 or code == 0x7F:
        return "^" + chr(code ^ 0x40)  # as cat -v writes it
    return f"\\u{code:04x}"


def sanitize(text: str) -> str:
    """`text` with control characters made visible; newlines and tabs stay."""
    return _CONTROLS.sub(_visible, text)


def one_line(text: str) -> str:
    """`text` for a table cell: one line, no control characters."""
    return _LINE_CONTROLS.sub(_visible, " ".join(text.split()))


class TerminalText:
    """A byte stream on its way to a terminal: UTF-8 put together across pieces, controls made visible."""

    def __init__(self) -> None:
        utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoder = IncrementalNewlineDecoder(utf8, translate=True)

    def feed(self, data: bytes, *, final: bool = False) -> bytes:
        return sanitize(self._decoder.decode(data, final)).encode()
