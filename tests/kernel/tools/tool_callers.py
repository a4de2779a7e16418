"""Callers for tests of tools, and tools made of a few lines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aios_kernel.access.need import Need
from aios_kernel.errors import NotPermitted
from aios_kernel.protocol import ToolSpec
from aios_kernel.tools import Caller, Tool

ANYTHING: dict[str, Any] = {"type": "object"}


class Asked:
    """What a caller was asked for, and whether it is permitted."""

    def __init__(self, *, permit: bool = True) -> None:
        self.needs: list[Need] = []
        self.syscalls: list[tuple[str, dict[str, Any]]] = []
        self.results: dict[str, Any] = {}
        self._permit = permit

    async def require(self, need: Need) -> None:
        self.needs.append(need)
        if not self._permit:
            raise NotPermitted(f"not permitted: {need.question}")

    async def syscall(self, name: str, args: dict[str, Any]) -> Any:
        self.syscalls.append((name, args))
        result = self.results[name]
        if isinstance(result, Exception):
            raise result
        return result


def caller(pid: int = 1, asked: Asked | None = None, agent: str = "probe") -> Caller:
    asked = asked or Asked()
    return Caller(pid, agent, asked.require, asked.syscall)


def tool(name: str, run: Callable[[dict[str, Any]], Awaitable[Any]], **changes: Any) -> Tool:
    """A tool whose run does not care who calls it."""
    spec = ToolSpec(name, "", changes.pop("parameters", ANYTHING))
    return Tool(spec, lambda arguments, _: run(arguments), **changes)
