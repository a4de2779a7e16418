"""snap …: contexts, swapped out and saved."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from aios_shell.params import JSON, PID, RUN_OPTIONS, flag
from aios_shell.spec import CommandSpec, Param

CONTEXTS: Final = "Contexts"

_AGENT: Final = Param(
    "agent", "Agent that goes on with it.", str, ("--agent",), "chat", complete="agent", metavar="NAME"
)
_NEXT: Final = Param("task", "What to say next; without it an unfinished reply is finished.", many=True, metavar="TASK")
_SNAPSHOT: Final = Param("id", "Name of a saved context.", required=True, complete="snapshot")
_CONTEXT: Final = Param("id", "Name of a saved context, or a process id.", required=True, complete="context")
_FORCE: Final = flag("force", "Replace one that is there already.", "-f")

ROWS: Final = (
    CommandSpec("snap ls", "List contexts: those saved, and those swapped out.", CONTEXTS, "snap:ls", (JSON,)),
    CommandSpec(
        "snap save",
        "Keep a process's context as it is now; the process goes on.",
        CONTEXTS,
        "snap:save",
        (PID, Param("name", "Name; made of agent and pid when left out.", str, ("--name",), metavar="NAME"), _FORCE),
        ("aios snap save 12 --name story",),
    ),
    CommandSpec(
        "snap show",
        "Print the conversation in a context, and the sizes.",
        CONTEXTS,
        "snap:show",
        (_CONTEXT, JSON),
        ("aios snap show story", "aios snap show 12"),
    ),
    CommandSpec(
        "snap diff",
        "Compare two contexts by token; exit code 1 when they differ.",
        CONTEXTS,
        "diff:diff",
        (replace(_CONTEXT, name="a"), replace(_CONTEXT, name="b"), JSON),
        ("aios snap diff story 12",),
    ),
    CommandSpec(
        "snap restore",
        "Start a process from a saved context.",
        CONTEXTS,
        "snap:restore",
        (_SNAPSHOT, _NEXT, _AGENT, *RUN_OPTIONS),
        ("aios snap restore story", 'aios snap restore story "Now the same for children."'),
        own_words=True,
    ),
    CommandSpec(
        "snap fork",
        "Start a process from a copy of a living one's context.",
        CONTEXTS,
        "snap:fork",
        (PID, _NEXT, _AGENT, *RUN_OPTIONS),
        ('aios snap fork 12 "And if it rains?"',),
        own_words=True,
    ),
    CommandSpec(
        "snap rm",
        "Remove saved contexts.",
        CONTEXTS,
        "snap:rm",
        (replace(_SNAPSHOT, name="ids", many=True, metavar="ID"),),
    ),
    CommandSpec(
        "snap export",
        "Write a context to one file, for another machine with the same model.",
        CONTEXTS,
        "snap:export",
        (_CONTEXT, Param("file", "File; - is standard output.", required=True, complete="file"), _FORCE),
        ("aios snap export story story.aios", "aios snap export 12 - | ssh box aios snap import -"),
    ),
    CommandSpec(
        "snap import",
        "Keep a context from a file that was exported.",
        CONTEXTS,
        "snap:import_",
        (
            Param("file", "File; - is standard input.", required=True, complete="file"),
            Param("name", "Name; the one it had when left out.", str, ("--name",), metavar="NAME"),
            _FORCE,
        ),
        ("aios snap import story.aios",),
    ),
)
