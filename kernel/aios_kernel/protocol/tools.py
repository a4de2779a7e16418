"""Tools: what there are, and the MCP servers that some of them come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Category(StrEnum):
    """What a tool is about."""

    MATH = "math"
    TIME = "time"
    TEXT = "text"
    DATA = "data"
    FILES = "files"
    CODE = "code"  # runs code that it is given
    NETWORK = "network"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ToolInfo:
    """One row of `aios tools ls --json`."""

    name: str
    description: str
    parameters: dict[str, Any]
    category: Category
    source: str  # "built-in", "mcp NAME", "python DISTRIBUTION"
    timeout_s: float  # of one run
    concurrency: int  # runs at once, of all processes together; more wait
    idempotent: bool  # running it twice is as good as once: it is tried again where a connection was lost
    max_output_bytes: int  # a longer result is an error
    asks: bool  # a person is asked before it runs, unless a policy permits it
    running: int
    waiting: int


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """An MCP server. State: idle (not needed yet), starting, ready, failed."""

    name: str
    where: str  # command line, or URL
    state: str
    error: str  # why it failed
    tools: int | None  # None: it has not been asked yet


@dataclass(frozen=True, slots=True)
class ToolList:
    """Everything that `aios tools ls` shows. unavailable: tools that are off or cannot run here, and why."""

    tools: list[ToolInfo]
    servers: list[ServerInfo]
    unavailable: dict[str, str]


@dataclass(frozen=True, slots=True)
class ServerRequest:
    """Add an MCP server, now and for kernels to come. POST /tools/servers. Exactly one of `command` and `url`."""

    name: str
    command: list[str] = field(default_factory=list)
    url: str = ""
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolSessionRequest:
    """Call tools as a process of one's own, which lives as long as the reply's stream. POST /tools/session."""

    name: str = "tools"  # what `ps` calls it, and whose files it works on
    group: str = "user"
    task: str = ""  # what `ps` says of it


@dataclass(frozen=True, slots=True)
class ToolSession:
    """The stream's first event. `token` is the process's for POST /syscall."""

    pid: int
    token: str
