"""tool.*"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import msgspec

from aios_kernel.access.manager import AccessManager
from aios_kernel.access.need import Kind, Need
from aios_kernel.errors import BadRequest
from aios_kernel.life import Life
from aios_kernel.process import Process
from aios_kernel.protocol import ProcState, ToolSpec
from aios_kernel.syscalls.table import OnDelta, Syscall, parse_args
from aios_kernel.tools import Caller, ToolRegistry

MAX_NAMES: Final = 256  # of tools to be told of at once


@dataclass(frozen=True, slots=True)
class ToolArgs:
    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListArgs:
    names: list[str] | None = None  # only these; None: all, which may take the start of some MCP servers


class ToolSyscalls:
    def __init__(self, tools: ToolRegistry, access: AccessManager, rows: Mapping[str, Syscall]) -> None:
        """rows: the syscalls that a tool may make in its caller's name."""
        self._tools = tools
        self._access = access
        self._rows = rows

    def rows(self) -> dict[str, Syscall]:
        return {
            "tool.call": Syscall(ToolArgs, self._call, _call, ProcState.WAITING),
            "tool.list": Syscall(ListArgs, self._list, _list, ProcState.WAITING, effects=False),
        }

    async def _call(self, life: Life, args: ToolArgs, __: OnDelta) -> Any:
        """What the tool takes beyond the right to call it is decided once its arguments are known to be right."""
        process = life.process
        require, syscall = partial(self._access.require, life), partial(self._syscall, life)
        caller = Caller(process.pid, process.request.agent, require, syscall)
        return await self._tools.call(args.name, args.arguments, caller)

    async def _list(self, _: Life, args: ListArgs, __: OnDelta) -> list[ToolSpec]:
        if args.names is not None and len(args.names) > MAX_NAMES:
            raise BadRequest(f"tool.list: {len(args.names)} names: at most {MAX_NAMES} are taken", key="names")
        return await self._tools.specs(args.names)

    async def _syscall(self, life: Life, name: str, raw: dict[str, Any]) -> Any:
        """A syscall that a tool makes for its caller: decided as the caller's own; its result is what a client sees."""
        row = self._rows[name]
        args = parse_args(name, raw, row.args)
        for need in row.needs(life.process, args):
            await self._access.require(life, need)
        return msgspec.to_builtins(await row.run(life, args, lambda _text: None))


def _call(_: Process, args: ToolArgs) -> Sequence[Need]:
    return (Need("call", Kind.TOOL, args.name),)


def _list(_: Process, __: ListArgs) -> Sequence[Need]:
    return (Need("read", Kind.TOOL, ""),)
