"""The tools python and shell: code that a model writes, run in the sandbox with copies of the files it names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from aios_kernel.access.need import Kind, Need
from aios_kernel.protocol import Category, ToolSpec
from aios_kernel.sandbox.run import Result
from aios_kernel.tools.tool import Arguments, Caller, Tool, short
from aios_kernel.tools.workers import Workers

MAX_SHOWN: Final = 64 << 10  # bytes of each of its outputs that a model gets
CONCURRENCY: Final = 4

_FILES: Final = {
    "type": "array",
    "items": {"type": "string"},
    "description": "files of yours to have copies of in the working folder",
}

PYTHON: Final = ToolSpec(
    "python",
    "Run a Python script (standard library only, no network) and return what it prints.",
    {
        "type": "object",
        "properties": {"code": {"type": "string"}, "files": _FILES},
        "required": ["code"],
        "additionalProperties": False,
    },
)
SHELL: Final = ToolSpec(
    "shell",
    "Run a POSIX shell command line (no network) and return what it prints.",
    {
        "type": "object",
        "properties": {"command": {"type": "string"}, "files": _FILES},
        "required": ["command"],
        "additionalProperties": False,
    },
)


def code_tools(workers: Workers) -> list[Tool]:
    return [
        _tool(PYTHON, "code", partial(_python, workers), workers),
        _tool(SHELL, "command", partial(_shell, workers), workers),
    ]


def _tool(spec: ToolSpec, what: str, run: Any, workers: Workers) -> Tool:
    def needs(arguments: Arguments, _: Caller) -> Sequence[Need]:
        asked = f"run {spec.name}: {short(arguments[what], 140)}"
        given = "".join(f"\n\nwith {path}" for path in arguments.get("files", ()))
        detail = "" if asked.endswith(f": {arguments[what]}{given}") else f"{arguments[what]}{given}"
        return (Need("exec", Kind.TOOL, spec.name, what=asked, irreversible=True, detail=detail),)

    return Tool(
        spec,
        run,
        Category.CODE,
        timeout_s=workers.timeout_s + 10.0,  # the sandbox's own limit comes first, and says more
        concurrency=CONCURRENCY,
        needs=needs,
        asks=True,
        trusted=True,
    )


async def _python(workers: Workers, arguments: Arguments, caller: Caller) -> str:
    async with workers.place(arguments.get("files", ()), caller) as folder:
        return report(await workers.sandbox.python(arguments["code"], cwd=folder, limits=workers.limits))


async def _shell(workers: Workers, arguments: Arguments, caller: Caller) -> str:
    async with workers.place(arguments.get("files", ()), caller) as folder:
        argv = ["/bin/sh", "-c", arguments["command"]]
        return report(await workers.sandbox.run(argv, cwd=folder, limits=workers.limits))


def report(ended: Result) -> str:
    """What it printed, and how it ended where that was not well. A script that fails is news, and no error of ours."""
    parts = [_cut(ended.stdout)]
    if errors := _cut(ended.stderr):
        parts.append(f"[standard error]\n{errors}")
    if ended.why:
        parts.append(f"[ended: {ended.why}]")
    elif ended.exit_code:
        parts.append(f"[exit code {ended.exit_code}]")
    return "\n".join(part for part in parts if part)


def _cut(output: bytes) -> str:
    text = output[:MAX_SHOWN].decode(errors="replace").rstrip("\n")
    left = len(output) - MAX_SHOWN
    return text if left <= 0 else f"{text}\n[{left} or more bytes are left out]"
