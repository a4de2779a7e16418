"""Kinds of what stands in a command line, for colours while it is typed; the grammar decides when it is run."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Final

from aios_shell import registry

# The kinds that have a colour: command, agent, string, variable, operator, comment; "" is everything else.
_TOKEN: Final = re.compile(
    r"""(?P<comment>(?<!\S)\#.*)|(?P<string>'[^']*'?|"(?:[^"\\]|\\[\s\S])*"?)|(?P<variable>\$(?:\w+|\{\w*\}?|\?))"""
    r"""|(?P<operator>\|\|?|&&?|;|[12]?>>?|<)|(?P<word>(?:\\[\s\S]|[^\s|&;<>"'$\\])+)|(?P<rest>[\s\S])""",
    re.VERBOSE,
)


def highlight(text: str, agents: Container[str]) -> list[list[tuple[str, str]]]:
    """(kind, text) of every run of characters, line by line. Anything can be read: a line half typed too.

    Args:
        agents: names that stand out as first words, as commands do.
    """
    lines: list[list[tuple[str, str]]] = [[]]
    first = True
    for match in _TOKEN.finditer(text):
        found, part = match.lastgroup or "rest", match.group()
        kind = found if found not in ("word", "rest") else ""
        if found == "word" and first:
            kind = "command" if registry.is_builtin(part) else "agent" if part in agents else ""
        if found == "operator":
            first = part[-1] not in "<>"
        elif part.strip():
            first = False
        head, *tail = part.split("\n")
        lines[-1].append((kind, head))
        lines += [[(kind, rest)] for rest in tail]
    return lines
