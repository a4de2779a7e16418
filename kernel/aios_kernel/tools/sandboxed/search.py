"""text_search: lines of texts that a pattern is found in."""

from __future__ import annotations

import re
from typing import Any

MAX_HITS = 200
MAX_LINE = 400  # characters shown of a line


def run(pattern: str, texts: dict[str, str], *, regex: bool = False, ignore_case: bool = True) -> dict[str, Any]:
    """Hits: the text's name, the line's number from 1, the line. Raises ValueError for a pattern that is none."""
    try:
        found = re.compile(pattern if regex else re.escape(pattern), re.IGNORECASE if ignore_case else 0)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    hits, total = [], 0
    for name, text in texts.items():
        for number, line in enumerate(text.splitlines(), 1):
            match = found.search(line)
            if match is None:
                continue
            total += 1
            if total <= MAX_HITS:
                start = max(0, match.start() - MAX_LINE // 2)
                hits.append({"file": name, "line": number, "text": line[start : start + MAX_LINE]})
    return {"hits": hits, "total": total}
