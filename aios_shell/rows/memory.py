"""mem."""

from __future__ import annotations

from typing import Final

from aios_shell.params import JSON, PID
from aios_shell.spec import CommandSpec, Param

MEMORY: Final = "Memory"

_NOTE: Final = Param("note", "Note, AGENT/ID as `mem ls` shows it.", required=True, metavar="NOTE")

ROWS: Final = (
    CommandSpec(
        "mem ls",
        "List the notes of agents, the newest first.",
        MEMORY,
        "mem:ls",
        (
            Param("agent", "Only this agent's.", complete="agent"),
            Param("tag", "Only those with this tag.", str, ("--tag",), "", metavar="TAG"),
            Param("limit", "At most N.", int, ("--limit", "-n"), 100, metavar="N", minimum=1, maximum=1_000),
            JSON,
        ),
        ("aios mem ls", "aios mem ls scout --tag weather"),
    ),
    CommandSpec(
        "mem show",
        "Print a note, its links, and what it said before.",
        MEMORY,
        "mem:show",
        (_NOTE, JSON),
        ("aios mem show scout/3",),
    ),
    CommandSpec(
        "mem search",
        "Find notes by words and, with an embedding model, by meaning.",
        MEMORY,
        "mem:search",
        (
            Param("words", "What to find.", required=True, many=True, metavar="WORD"),
            Param("agent", "Only this agent's.", str, ("--agent",), complete="agent", metavar="NAME"),
            Param("k", "At most N.", int, ("-k",), 5, metavar="N", minimum=1, maximum=100),
            JSON,
        ),
        ("aios mem search rain in april",),
    ),
    CommandSpec(
        "mem rm",
        "Remove notes for good.",
        MEMORY,
        "mem:rm",
        (Param("notes", "Notes, AGENT/ID.", required=True, many=True, metavar="NOTE"),),
        ("aios mem rm scout/3 scout/4",),
    ),
    CommandSpec(
        "mem log",
        "Print what a living process asked and was answered.",
        MEMORY,
        "mem:log",
        (
            PID,
            Param("last", "The newest N.", int, ("--last", "-n"), 50, metavar="N", minimum=1, maximum=1_000),
            JSON,
        ),
        ("aios mem log 12",),
    ),
    CommandSpec("mem status", "Show how much is kept, in memory and in storage.", MEMORY, "mem:status", (JSON,)),
    CommandSpec("mem index", "Give the embedding model's vector to notes that have none.", MEMORY, "mem:index"),
)
