"""tools …: what agents can call, and the MCP servers that some of it comes from."""

from __future__ import annotations

from typing import Final

from aios_shell.params import JSON
from aios_shell.spec import CommandSpec, Param

TOOLS: Final = "Tools"

_TOOL: Final = Param("name", "Name of the tool.", required=True, complete="tool")
_GROUP: Final = ("Privilege group: guest, user, operator.", str, ("--group",))

ROWS: Final = (
    CommandSpec("tools ls", "List the tools that agents can call.", TOOLS, "tools:ls", (JSON,)),
    CommandSpec("tools show", "Show one tool and its parameters.", TOOLS, "tools:show", (_TOOL, JSON)),
    CommandSpec(
        "tools call",
        "Call a tool and print its result.",
        TOOLS,
        "tools:call",
        (
            _TOOL,
            Param("arguments", "NAME=VALUE, or one JSON object.", many=True, metavar="NAME=VALUE"),
            Param(
                "agent",
                "Whose files it works on, and who asks.",
                str,
                ("--agent",),
                "tools",
                complete="agent",
                metavar="NAME",
            ),
            Param("group", *_GROUP, "operator", complete="group", metavar="G"),
            JSON,
        ),
        ("aios tools call convert value=3 from=mile to=km", 'aios tools call calculator \'{"expression": "2^64"}\''),
        own_words=True,
    ),
    CommandSpec(
        "tools add",
        "Add an MCP server: its tools are called NAME.TOOL.",
        TOOLS,
        "tools:add",
        (
            Param("name", "Name of the server.", required=True),
            Param("command", "Program and arguments; after --.", many=True, metavar="COMMAND"),
            Param("url", "Of a server that answers streamable HTTP, instead of a command.", str, ("--url",)),
            Param("env", "Variable for the program.", flags=("--env",), many=True, metavar="NAME=VALUE"),
        ),
        ("aios tools add time -- mcp-server-time", "aios tools add web --url http://127.0.0.1:8000/mcp"),
        own_words=True,
    ),
    CommandSpec(
        "tools rm",
        "Take MCP servers away.",
        TOOLS,
        "tools:rm",
        (Param("names", "Names of servers.", required=True, many=True, complete="server", metavar="NAME"),),
    ),
    CommandSpec(
        "tools serve",
        "Be an MCP server of these tools, on standard input and output.",
        TOOLS,
        "tools:serve",
        (
            Param("tools", "Only these; all when left out.", many=True, complete="tool", metavar="TOOL"),
            Param("agent", "Whose files they work on, and who asks.", str, ("--agent",), "mcp", metavar="NAME"),
            Param("group", *_GROUP, "user", complete="group", metavar="G"),
        ),
        ("aios tools serve", "aios tools serve calculator file_read --group guest"),
    ),
)
