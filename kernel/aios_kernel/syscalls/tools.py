"""tool.*"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aios_kernel.access.need import Kind, Need
from aios_kernel.life import Life
from aios_kernel.process import Process
from aios_kernel.protocol import ProcState, ToolSpec
from aios_kernel.syscalls.table import NoArgs, OnDelta, Syscall
from aios_kernel.tools import ToolRegistry


@dataclass(frozen=True, slots=True)
class ToolArgs:
    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


class ToolSyscalls:
    def __init__(self, tools: ToolRegistry) -> None:
        self._tools = tools

    def rows(self) -> dict[str, Syscall]:
        return {
            "tool.call": Syscall(ToolArgs, self._tool_call, _call, ProcState.WAITING),
            "tool.list": Syscall(NoArgs, self._tool_list, _list, effects=False),
        }

    async def _tool_call(self, _: Life, args: ToolArgs, __: OnDelta) -> Any:
        return await self._tools.call(args.name, args.arguments)

    async def _tool_list(self, _: Life, __: NoArgs, ___: OnDelta) -> list[ToolSpec]:
        return self._tools.specs()


def _call(_: Process, args: ToolArgs) -> Sequence[Need]:
    return (Need("call", Kind.TOOL, args.name),)


def _list(_: Process, __: NoArgs) -> Sequence[Need]:
    return (Need("read", Kind.TOOL, ""),)
