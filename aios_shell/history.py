"""The command lines typed before, one file for every way of typing them.

The format is prompt_toolkit's `FileHistory`: a comment with the time, then each line of the entry behind a plus sign.
"""

from __future__ import annotations

import datetime
from pathlib import Path


def load(path: Path) -> list[str]:
    """The entries, the oldest first; none where there is no file. Raises OSError."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    entries: list[str] = []
    begun = False
    for line in text.split("\n"):
        if not line.startswith("+"):
            begun = False
        elif begun:
            entries[-1] += "\n" + line[1:]
        else:
            entries.append(line[1:])
            begun = True
    return entries


def append(path: Path, entry: str) -> None:
    """Add one entry, in one write: other shells append to the file too. Raises OSError."""
    lines = "".join(f"+{line}\n" for line in entry.split("\n"))
    with path.open("ab") as file:
        file.write(f"\n# {datetime.datetime.now()}\n{lines}".encode("utf-8", "replace"))
