"""agents."""

from __future__ import annotations

from typing import Final

from aios_shell.params import JSON, flag
from aios_shell.spec import CommandSpec, Param

AGENTS: Final = "Agents"

_NAME: Final = Param("name", "Name of the agent.", required=True, complete="agent")

ROWS: Final = (
    CommandSpec("agents ls", "List agents.", AGENTS, "agents:ls", (JSON,)),
    CommandSpec("agents show", "Show one agent.", AGENTS, "agents:show", (_NAME, JSON)),
    CommandSpec(
        "agents new",
        "Make an agent of your own that runs, with a test of it.",
        AGENTS,
        "agents:new",
        (
            Param("name", "Name: lower-case letters, digits, - and _.", required=True),
            Param("as_class", "Make it a subclass of Agent.", bool, ("--class",), default=False),
        ),
        ("aios agents new haiku", "aios agents new scout --class"),
    ),
    CommandSpec(
        "agents install",
        "Install an agent; one with requirements gets an environment of its own.",
        AGENTS,
        "agents:install",
        (
            Param("source", "Folder, zip file or git address.", required=True, complete="file"),
            flag("force", "Replace one that has its name.", "-f"),
        ),
        ("aios agents install ./scout", "aios agents install https://example.com/scout.git"),
    ),
    CommandSpec(
        "agents rm",
        "Remove an agent that was made or installed.",
        AGENTS,
        "agents:rm",
        (_NAME,),
        ("aios agents rm scout",),
    ),
)
