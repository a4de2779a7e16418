"""The file tools: an agent's files for a model. Each is a syscall of the agent's own, decided as that is."""

from __future__ import annotations

from typing import Any, Final

from aios_kernel.errors import ToolFailed
from aios_kernel.protocol import Category, ToolSpec
from aios_kernel.tools.tool import Arguments, Caller, Run, Tool

MAX_CHARS: Final = 64 << 10  # of a file that a model gets at a time
MAX_ENTRIES: Final = 500
MAX_HITS: Final = 20
CONCURRENCY: Final = 64  # a run may wait for a person

_PATH: Final = {"type": "string", "description": "for example notes/a.txt"}


def file_tools() -> list[Tool]:
    content = {"path": _PATH, "content": {"type": "string"}}
    lines = {"start": {"type": "integer", "minimum": 1}, "lines": {"type": "integer", "minimum": 1}}
    folder = {"path": {"type": "string", "description": "folder; the top one when left out"}}
    return [
        _tool("file_read", "Read a text file, or some lines of it.", {"path": _PATH, **lines}, ["path"], _read),
        _tool("file_write", "Write a text file, replacing what is there.", content, ["path", "content"], _write),
        _tool("file_append", "Add text at the end of a file.", content, ["path", "content"], _append, idempotent=False),
        _tool("file_list", "List files and folders.", folder, [], _list),
        _tool("file_search", "Find files by words or meaning.", {"query": {"type": "string"}}, ["query"], _search),
        _tool(
            "file_delete", "Delete a file; it can be restored.", {"path": _PATH}, ["path"], _delete, idempotent=False
        ),
    ]


def _tool(
    name: str, description: str, properties: dict[str, Any], required: list[str], run: Run, *, idempotent: bool = True
) -> Tool:
    parameters = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return Tool(
        ToolSpec(name, description, parameters),
        run,
        Category.FILES,
        timeout_s=30.0,
        concurrency=CONCURRENCY,
        idempotent=idempotent,
        trusted=True,
    )


async def _read(arguments: Arguments, caller: Caller) -> str:
    content = await caller.syscall("sto.read", {"path": arguments["path"]})
    text = content.get("text")
    if text is None:
        raise ToolFailed(f"file_read: {arguments['path']} is not text ({content['size']} bytes)")
    if "start" in arguments or "lines" in arguments:
        start = arguments.get("start", 1) - 1
        text = "".join(text.splitlines(keepends=True)[start : start + arguments.get("lines", len(text))])
    left = len(text) - MAX_CHARS
    return text if left <= 0 else f"{text[:MAX_CHARS]}\n[{left} characters are left out: give start and lines]"


async def _write(arguments: Arguments, caller: Caller) -> str:
    info = await caller.syscall("sto.write", {"path": arguments["path"], "content": arguments["content"]})
    return f"{info['path']}: {info['size']} bytes, version {info['version']}"


async def _append(arguments: Arguments, caller: Caller) -> str:
    info = await caller.syscall("sto.append", {"path": arguments["path"], "content": arguments["content"]})
    return f"{info['path']}: {info['size']} bytes, version {info['version']}"


async def _list(arguments: Arguments, caller: Caller) -> str:
    entries = await caller.syscall("sto.list", {"path": arguments.get("path", "")})
    lines = [f"{e['path']}/" if e["kind"] == "folder" else f"{e['path']} ({e['size']} bytes)" for e in entries]
    more = len(lines) - MAX_ENTRIES
    return "\n".join(lines[:MAX_ENTRIES] + ([f"[{more} more]"] if more > 0 else [])) or "no files"


async def _search(arguments: Arguments, caller: Caller) -> str:
    reply = await caller.syscall("sto.search", {"query": arguments["query"], "limit": MAX_HITS})
    return "\n".join(f"{hit['path']}:{hit['line']}: {hit['text']}" for hit in reply["hits"]) or "nothing found"


async def _delete(arguments: Arguments, caller: Caller) -> str:
    await caller.syscall("sto.delete", {"path": arguments["path"]})
    return f"{arguments['path']} is deleted"
