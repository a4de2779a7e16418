"""The tools text_search and table_query: over files of the caller's, in a process that can reach nothing but them."""

from __future__ import annotations

from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final

from aios_kernel.errors import BadRequest
from aios_kernel.protocol import Category, ToolSpec
from aios_kernel.tools.tool import Arguments, Caller, Tool
from aios_kernel.tools.workers import MAX_FILES, Workers, own, read_file

_FILES: Final = {"type": "array", "items": {"type": "string"}, "maxItems": MAX_FILES}

TEXT_SEARCH: Final = ToolSpec(
    "text_search",
    "Find the lines that contain a text, or that a regular expression matches, in a text or in files.",
    {
        "type": "object",
        "properties": {
            "pattern": {"type": "string", "minLength": 1},
            "text": {"type": "string"},
            "files": _FILES,
            "regex": {"type": "boolean"},
            "ignore_case": {"type": "boolean"},
        },
        "required": ["pattern"],
        "additionalProperties": False,
    },
)
TABLE_QUERY: Final = ToolSpec(
    "table_query",
    "Query CSV, Parquet or JSON files with SQL (DuckDB). A table is called like its file without the ending.",
    {
        "type": "object",
        "properties": {"query": {"type": "string", "description": "SELECT …"}, "files": _FILES},
        "required": ["query", "files"],
        "additionalProperties": False,
    },
)


def data_tools(workers: Workers) -> list[Tool]:
    wait_s = workers.timeout_s + 10.0  # the sandbox's own limit comes first, and says more
    search = Tool(
        TEXT_SEARCH, partial(_search, workers), Category.TEXT, timeout_s=wait_s, idempotent=True, trusted=True
    )
    query = Tool(TABLE_QUERY, partial(_query, workers), Category.DATA, timeout_s=wait_s, idempotent=True, trusted=True)
    return [search, query]


async def _search(workers: Workers, arguments: Arguments, caller: Caller) -> Any:
    files = arguments.get("files", [])
    if ("text" in arguments) == bool(files):
        raise BadRequest("text_search: give text or files", key="text")
    texts = {path: (await read_file(path, caller)).decode(errors="replace") for path in files}
    order: dict[str, Any] = {key: arguments[key] for key in ("pattern", "regex", "ignore_case") if key in arguments}
    return await workers.call(own("search"), {**order, "texts": texts or {"": arguments["text"]}})


async def _query(workers: Workers, arguments: Arguments, caller: Caller) -> Any:
    async with workers.place(arguments["files"], caller) as folder:
        names = [PurePosixPath(path).name for path in arguments["files"]]
        memory_mb = workers.memory_bytes // 2 >> 20
        return await workers.call(
            own("tables"), {"query": arguments["query"], "files": names, "memory_mb": memory_mb}, cwd=folder
        )
