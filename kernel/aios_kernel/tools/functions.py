"""Tools of installed packages: functions in the entry point group `aios.tools`, marked with @tool of aios_agents.

They are other people's code, so not even their description is read in the kernel's process.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import cached_property, partial
from importlib import metadata
from typing import Any, Final

from aios_kernel.errors import KernelError, NoSuchTool, ToolFailed
from aios_kernel.protocol import ToolSpec
from aios_kernel.tools.schema import BadSchema, Checker
from aios_kernel.tools.tool import NAME, Arguments, Caller, Tool
from aios_kernel.tools.workers import Workers

log = logging.getLogger(__name__)

GROUP: Final = "aios.tools"
DESCRIBE_S: Final = 60.0  # a package may take its time to import


class Functions:
    """Tools of packages by name. They are described when they are first wanted, a package at a time."""

    def __init__(self, workers: Workers, entries: list[metadata.EntryPoint] | None = None) -> None:
        """entries: those that count; None: the installed ones."""
        self._workers = workers
        self._given = entries
        self._described: asyncio.Task[dict[str, Tool]] | None = None
        self.errors: Final[dict[str, str]] = {}  # why some are left out

    @cached_property
    def _entries(self) -> dict[str, metadata.EntryPoint]:
        """Looked up when they are first wanted: it takes the kernel's start some 20 ms."""
        entries: dict[str, metadata.EntryPoint] = {}
        for entry in metadata.entry_points(group=GROUP) if self._given is None else self._given:
            if NAME.fullmatch(entry.name) and "." not in entry.name:
                entries.setdefault(entry.name, entry)
            else:
                log.warning("entry point %s: %r cannot be the name of a tool", GROUP, entry.name)
        return entries

    def claims(self, name: str) -> bool:
        return name in self._entries

    async def find(self, name: str) -> Tool:
        tools = await self._all()
        if name not in tools:
            raise NoSuchTool(f"tool {name}: {self.errors.get(name, 'it cannot be described')}", name=name)
        return tools[name]

    async def tools(self) -> list[Tool]:
        return list((await self._all()).values())

    def known(self) -> list[Tool]:
        done = self._described
        return list(done.result().values()) if done is not None and done.done() and not done.cancelled() else []

    async def close(self) -> None:
        if self._described is not None:
            self._described.cancel()
            await asyncio.gather(self._described, return_exceptions=True)

    async def _all(self) -> dict[str, Tool]:
        if self._described is None:
            self._described = asyncio.create_task(self._describe())
        return await asyncio.shield(self._described)

    async def _describe(self) -> dict[str, Tool]:
        packages: dict[str, dict[str, str]] = {}
        for entry in self._entries.values():
            packages.setdefault(_package(entry), {})[entry.name] = entry.value
        found = await asyncio.gather(*(self._ask(package, names) for package, names in packages.items()))
        return {tool.name: tool for tools in found for tool in tools}

    async def _ask(self, package: str, names: dict[str, str]) -> list[Tool]:
        try:
            told = await replace(self._workers, timeout_s=DESCRIBE_S).describe(names)
        except KernelError as error:
            told = {name: {"error": error.message} for name in names}
        tools = []
        for name, facts in told.items():
            try:
                tools.append(self._tool(package, name, names[name], facts))
            except (KeyError, TypeError, BadSchema) as error:
                self.errors[name] = str(facts.get("error", error))
                log.warning("tool %s of %s is left out: %s", name, package, self.errors[name])
        return tools

    def _tool(self, package: str, name: str, where: str, facts: dict[str, Any]) -> Tool:
        """Raises KeyError, TypeError, BadSchema for facts that are none."""
        spec = ToolSpec(name, str(facts["description"]), {**facts["parameters"]})
        Checker(spec)
        return Tool(
            spec,
            partial(self._run, name, where),
            source=f"python {package}",
            timeout_s=self._workers.timeout_s + 10.0,
            idempotent=True,  # confined as it is, it changes nothing
        )

    async def _run(self, name: str, where: str, arguments: Arguments, _: Caller) -> Any:
        try:
            return await self._workers.call(where, arguments)
        except ToolFailed as error:
            raise ToolFailed(f"tool {name}: {error.message}", name=name) from error


def _package(entry: metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value.partition(":")[0]
