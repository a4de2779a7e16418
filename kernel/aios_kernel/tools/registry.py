"""The registry: what tools there are, and the one way to run one."""

from __future__ import annotations

import asyncio
import difflib
import importlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar

import msgspec

from aios_kernel.errors import DeadlineHit, NoSuchTool, ToolFailed
from aios_kernel.protocol import ToolInfo, ToolSpec
from aios_kernel.tools.schema import BadSchema, Checker
from aios_kernel.tools.slots import Slots
from aios_kernel.tools.tool import Arguments, Caller, ConnectionLost, Tool, fault

log = logging.getLogger(__name__)

T = TypeVar("T")

WAIT_S: Final = 60.0  # for a place; whoever holds one is held to the tool's own timeout


class Source(Protocol):
    """Where tools come from that are not known before they are asked for."""

    def claims(self, name: str) -> bool:
        """Whether a tool of this name would be its own."""

    async def find(self, name: str) -> Tool:
        """The tool, of those claimed. Raises NoSuchTool, or why it cannot tell."""

    async def tools(self) -> list[Tool]:
        """All that can be had now, within seconds. Never raises."""

    def known(self) -> list[Tool]:
        """Those it has told of last."""


@dataclass(slots=True)
class _Entry:
    tool: Tool
    slots: Slots
    checker: Checker | None = None


class ToolRegistry:
    """Tools by name. Event loop only.

    Attributes:
        unavailable: tools that are off or cannot run here, and why.
    """

    def __init__(
        self, tools: Iterable[Tool], sources: Sequence[Source] = (), unavailable: dict[str, str] | None = None
    ) -> None:
        """Where two have one name, the tool given here counts, else that of the first source."""
        self._tools = {tool.name: tool for tool in tools}
        self._sources = sources
        self._entries: dict[str, _Entry] = {}
        self.unavailable: Final = unavailable or {}

    async def specs(self, names: Sequence[str] | None = None) -> list[ToolSpec]:
        """What a model is told. names: only these; one that is not there is left out. None: all that can be had now."""
        if names is None:
            return [tool.spec for tool in await self._all(self._sources)]
        found = await asyncio.gather(*map(self._had, dict.fromkeys(names)), return_exceptions=True)
        return [each.spec for each in found if isinstance(each, Tool)]

    async def info(self, name: str) -> ToolInfo:
        """What a person is told of one. Raises NoSuchTool, or why its source cannot tell."""
        return self._info(await self._find(name))

    async def infos(self, *, start: bool = True) -> list[ToolInfo]:
        """What a person is told. start: of sources that have not been asked yet, too."""
        tools = await self._all(self._sources) if start else self._known()
        return [self._info(tool) for tool in tools]

    async def call(self, name: str, arguments: Arguments, caller: Caller) -> Any:
        """Run a tool for `caller` and return its result, which JSON can say.

        Raises:
            NoSuchTool: no tool has this name.
            ToolFailed: the arguments break the schema, the tool raised, or its result is too long.
            DeadlineHit: the tool's own timeout passed, or no place came free.
            LimitHit, BadRequest: too many calls wait, the arguments are too long.
            NotPermitted: of what the run takes beyond the right to call.
        """
        tool = await self._find(name)
        entry = self._entry(tool)
        if entry.checker is None:
            entry.checker = await _checker(tool)
        entry.checker.check(arguments)
        for need in tool.needs(arguments, caller):
            await caller.require(need)
        async with entry.slots.place(caller.pid, WAIT_S):
            return _bounded(tool, await self._run(tool, arguments, caller))

    async def _run(self, tool: Tool, arguments: Arguments, caller: Caller) -> Any:
        limit = asyncio.timeout(tool.timeout_s)
        patient = replace(caller, require=_outside(limit, caller.require), syscall=_outside(limit, caller.syscall))
        try:
            async with limit:
                try:
                    return await tool.run(arguments, patient)
                except ConnectionLost:
                    if not tool.idempotent:
                        raise
                    return await (await self._find(tool.name)).run(arguments, patient)
        except TimeoutError as error:
            if limit.expired():
                message = f"tool {tool.name}: not done after {tool.timeout_s:g} s"
                raise DeadlineHit(message, name=tool.name) from error
            raise fault(tool.name, error) from error
        except Exception as error:
            raise fault(tool.name, error) from error

    async def _had(self, name: str) -> Tool | None:
        """The tool of a name, if there is one. Raises why its source cannot tell."""
        if (tool := self._tools.get(name)) is not None:
            return tool
        for source in self._sources:
            if source.claims(name):
                return await source.find(name)
        return None

    async def _find(self, name: str) -> Tool:
        if (tool := await self._had(name)) is not None:
            return tool
        if (why := self.unavailable.get(name)) is not None:
            raise NoSuchTool(f"tool {name} {why}", name=name)
        known = [tool.name for tool in self._known()]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else f" (there are {', '.join(known)})"
        raise NoSuchTool(f"no tool {name!r}{hint}", name=name)

    async def _all(self, sources: Sequence[Source]) -> list[Tool]:
        """Our own, and those of the sources; of one name the first."""
        found = await asyncio.gather(*(source.tools() for source in sources))
        return self._merged(found)

    def _known(self) -> list[Tool]:
        return self._merged([source.known() for source in self._sources])

    def _merged(self, found: Iterable[list[Tool]]) -> list[Tool]:
        tools = dict(self._tools)
        for tool in (tool for each in found for tool in each):
            tools.setdefault(tool.name, tool)
        return list(tools.values())

    def _entry(self, tool: Tool) -> _Entry:
        entry = self._entries.get(tool.name)
        if entry is None:
            entry = self._entries[tool.name] = _Entry(tool, Slots(tool.name, tool.concurrency))
        elif entry.tool is not tool:  # its server has told of it anew
            entry.tool, entry.checker = tool, None
        return entry

    def _info(self, tool: Tool) -> ToolInfo:
        slots = self._entry(tool).slots
        return ToolInfo(
            name=tool.name,
            description=tool.spec.description,
            parameters=tool.spec.parameters,
            category=tool.category,
            source=tool.source,
            timeout_s=tool.timeout_s,
            concurrency=tool.concurrency,
            idempotent=tool.idempotent,
            max_output_bytes=tool.max_output_bytes,
            asks=tool.asks,
            running=slots.running,
            waiting=slots.waiting,
        )


async def _checker(tool: Tool) -> Checker:
    """Raises ToolFailed for a schema that is none."""
    await asyncio.to_thread(importlib.import_module, "jsonschema")
    try:
        return Checker(tool.spec, trusted=True) if tool.trusted else await asyncio.to_thread(Checker, tool.spec)
    except BadSchema as error:
        raise ToolFailed(f"tool {tool.name}: {error}", name=tool.name) from error


def _outside(limit: asyncio.Timeout, function: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    """`function`, which does not count against the limit: it may wait for a person, and has limits of its own."""

    async def call(*args: Any) -> T:
        loop = asyncio.get_running_loop()
        ends = limit.when()
        if ends is None:  # another such call of the same run is under way
            return await function(*args)
        left = ends - loop.time()
        limit.reschedule(None)
        try:
            return await function(*args)
        finally:
            limit.reschedule(loop.time() + left)

    return call


def _bounded(tool: Tool, result: Any) -> Any:
    """Raises ToolFailed for a result that is too long, or that JSON cannot say."""
    try:
        size = len(msgspec.json.encode(result))
    except (TypeError, ValueError, RecursionError) as error:
        raise ToolFailed(f"tool {tool.name}: its result is no JSON: {error}", name=tool.name) from error
    if size > tool.max_output_bytes:
        message = f"tool {tool.name}: its result has {size} bytes: at most {tool.max_output_bytes} are taken"
        raise ToolFailed(message, name=tool.name)
    return result
