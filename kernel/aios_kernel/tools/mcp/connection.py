"""One MCP server: connected when a tool of its is first wanted, again after it was lost, and its tools as ours."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from aios_kernel.access.need import Kind, Need
from aios_kernel.errors import DeadlineHit, KernelError, KernelStopping, ToolFailed
from aios_kernel.protocol import Category, ServerInfo, ToolSpec
from aios_kernel.tools.mcp.config import ServerConfig
from aios_kernel.tools.mcp.stdio import stdio
from aios_kernel.tools.tool import NAME, Arguments, Caller, ConnectionLost, Needs, Run, Tool, short

if TYPE_CHECKING:
    import mcp_types
    from mcp.client import ClientSession
    from mcp.client._transport import TransportStreams

log = logging.getLogger(__name__)

START_S: Final = 30.0  # to start, agree on a version and tell its tools; some are fetched when they are first run
MAX_PAUSE_S: Final = 60.0  # before a server that did not start is tried again
MAX_TOOLS: Final = 256
MAX_DESCRIPTION: Final = 2_000  # characters: it is in every prompt that has the tool


class Connection:
    """One server. Event loop only."""

    def __init__(self, config: ServerConfig, environment: Mapping[str, str]) -> None:
        self.config: Final = config
        self._environment = environment
        self._life: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[ClientSession] | None = None
        self._over = asyncio.Event()
        self._why = ""
        self._tools: dict[str, Tool] | None = None
        self._stale = False  # it has said that its tools are others now
        self._failures = 0
        self._retry_at = 0.0
        self._closed = False

    # --- what others ask

    async def tools(self) -> dict[str, Tool]:
        """Its tools by their own names, connecting first where that is needed. Raises ToolFailed, DeadlineHit."""
        session = await self._session()
        if self._tools is None or self._stale:
            self._stale = False
            self._tools = await self._list(session)
        return self._tools

    def known(self) -> dict[str, Tool]:
        """Those it told of last."""
        return self._tools or {}

    def info(self) -> ServerInfo:
        connected = self._ready is not None and self._ready.done() and not self._over.is_set()
        state = "ready" if connected else "starting" if self._living else "failed" if self._why else "idle"
        tools = None if self._tools is None else len(self._tools)
        return ServerInfo(self.config.name, self.config.where, state, self._why, tools)

    async def close(self) -> None:
        """End the connection, and the program where there is one. It is not made again."""
        self._closed = True
        if self._life is not None:
            self._life.cancel()
            await asyncio.gather(self._life, return_exceptions=True)

    # --- the connection

    @property
    def _living(self) -> bool:
        return self._life is not None and not self._life.done()

    async def _session(self) -> ClientSession:
        """The session, of a connection made now unless there is one. Raises ToolFailed, DeadlineHit."""
        if self._closed:
            raise KernelStopping("the kernel is stopping")
        loop = asyncio.get_running_loop()
        if self._over.is_set() and self._living:  # the former one is being cleared away
            assert self._life is not None
            await asyncio.wait([self._life])
        if not self._living:
            if loop.time() < self._retry_at:
                raise ToolFailed(self._says(f"{self._why}; tried again in {self._retry_at - loop.time():.0f} s"))
            self._over, self._ready, self._why = asyncio.Event(), loop.create_future(), ""
            self._ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())  # somebody has looked
            self._life = asyncio.create_task(self._live(self._ready, self._over))
        assert self._ready is not None
        return await asyncio.shield(self._ready)

    async def _live(self, ready: asyncio.Future[ClientSession], over: asyncio.Event) -> None:
        """Connect, and hold the connection until it is over; all in one task, as the `mcp` package needs it."""
        limit = asyncio.get_running_loop().call_later(START_S, self._give_up, ready, over)
        try:
            await asyncio.to_thread(importlib.import_module, "mcp.client")
            from mcp.client import Client

            client = Client(self._transport(over), message_handler=self._hear, cache=None)
            async with client:
                self._tools = await self._list(client.session)
                limit.cancel()
                self._why, self._failures = "", 0
                ready.set_result(client.session)
                await over.wait()
        except asyncio.CancelledError:
            self._fail(ready, over, "the kernel is stopping" if self._closed else f"it did not start in {START_S:g} s")
            if self._closed:
                raise
        except Exception as error:
            if ready.done():  # it had been ready: the next call makes another at once
                self._lost(error)
            else:
                self._fail(ready, over, self._why or _reason(error))
        finally:
            limit.cancel()

    def _fail(self, ready: asyncio.Future[ClientSession], over: asyncio.Event, why: str) -> None:
        self._why = why
        over.set()
        self._failures += 1
        pause_s = min(MAX_PAUSE_S, 2.0 ** min(self._failures, 8) / 2)
        self._retry_at = asyncio.get_running_loop().time() + pause_s
        if not self._closed:
            log.error("%s", self._says(why))
        if not ready.done():
            ready.set_exception(ToolFailed(self._says(why), server=self.config.name))

    def _give_up(self, ready: asyncio.Future[ClientSession], over: asyncio.Event) -> None:
        if not ready.done() and not over.is_set() and self._life is not None:
            self._life.cancel()

    @contextlib.asynccontextmanager
    async def _transport(self, over: asyncio.Event) -> AsyncIterator[TransportStreams]:
        def on_end(why: str) -> None:
            self._why = why
            over.set()

        if self.config.command:
            async with stdio(self.config, self._environment, on_end) as streams:
                yield streams
            return
        from aios_kernel.tools.mcp.web import web

        async with web(self.config) as streams:
            yield streams

    async def _hear(self, message: object) -> None:
        from mcp_types import ToolListChangedNotification

        if isinstance(message, ToolListChangedNotification):
            self._stale = True

    # --- tools

    async def _list(self, session: ClientSession) -> dict[str, Tool]:
        """Raises ToolFailed, DeadlineHit."""
        import mcp_types

        found: list[mcp_types.Tool] = []
        cursor: str | None = None
        while len(found) < MAX_TOOLS:
            request = mcp_types.ListToolsRequest(params=mcp_types.PaginatedRequestParams(cursor=cursor))
            page = await self._ask(session, request, mcp_types.ListToolsResult)
            found += page.tools
            cursor = page.next_cursor
            if cursor is None or not page.tools:
                break
        if cursor is not None or len(found) > MAX_TOOLS:
            log.warning("%s", self._says(f"it has more than {MAX_TOOLS} tools: the others are left out"))
        return {tool.name: self._tool(tool) for tool in found[:MAX_TOOLS] if self._fits(tool)}

    def _fits(self, tool: mcp_types.Tool) -> bool:
        fits = NAME.fullmatch(tool.name) is not None
        if not fits:
            log.warning("%s", self._says(f"a tool of the name {short(ascii(tool.name), 80)} is left out"))
        return fits

    def _tool(self, tool: mcp_types.Tool) -> Tool:
        hints = tool.annotations
        reads = hints is not None and bool(hints.read_only_hint)
        closed = hints is not None and hints.open_world_hint is False
        # What only reads and reaches nothing beyond itself may be called freely. A URL is beyond this machine.
        asks = not (reads and closed and self.config.command)
        name = f"{self.config.name}.{tool.name}"
        description = short(tool.description or tool.title or "", MAX_DESCRIPTION)
        return Tool(
            ToolSpec(name, description, tool.input_schema),
            self._run(tool.name),
            category=Category.OTHER if closed else Category.NETWORK,
            source=f"mcp {self.config.name}",
            timeout_s=float(self.config.timeout_s),
            concurrency=self.config.concurrency,
            idempotent=reads or (hints is not None and bool(hints.idempotent_hint)),
            needs=_needs(name) if asks else lambda _, __: (),
            asks=asks,
        )

    def _run(self, name: str) -> Run:
        async def run(arguments: Arguments, _: Caller) -> Any:
            import mcp_types

            params = mcp_types.CallToolRequestParams(name=name, arguments=arguments)
            # Not `session.call_tool`: that checks the result against a schema of the server's, which may take for ever.
            request = mcp_types.CallToolRequest(params=params)
            result = await self._ask(await self._session(), request, mcp_types.CallToolResult)
            text = _text(result.content) or ("" if result.structured_content is None else None)
            if result.is_error:
                raise ToolFailed(f"tool {self.config.name}.{name}: {short(text or 'it failed', 2_000)}")
            return result.structured_content if text is None else text

        return run

    async def _ask(self, session: ClientSession, request: Any, kind: type[Any]) -> Any:
        """One request. Raises ConnectionLost, DeadlineHit, ToolFailed."""
        from mcp import MCPError
        from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT
        from pydantic import ValidationError

        try:
            return await session.send_request(request, kind, request_read_timeout_seconds=self.config.timeout_s)
        except MCPError as error:
            if error.code == REQUEST_TIMEOUT:
                raise DeadlineHit(self._says(f"no answer in {self.config.timeout_s} s")) from error
            if error.code != CONNECTION_CLOSED:
                raise ToolFailed(self._says(short(error.message)), server=self.config.name) from error
            raise self._lost(error) from error
        except ValidationError as error:
            raise ToolFailed(self._says("what it answered is no result"), server=self.config.name) from error
        except RuntimeError as error:  # the session has been left meanwhile
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> ConnectionLost:
        """The connection is of no use any more: the next call makes another."""
        if not self._over.is_set():
            self._why = self._why or _reason(error)
            self._over.set()
        log.warning("%s", self._says(self._why))
        return ConnectionLost(self._says(f"{self._why}: what it was asked may or may not have been done"))

    def _says(self, what: str) -> str:
        return f"MCP server {self.config.name}: {what}"


def _needs(name: str) -> Needs:
    def needs(arguments: Arguments, _: Caller) -> Sequence[Need]:
        given = json.dumps(arguments, ensure_ascii=False)
        what = f"call {name} with {short(given, 120)}"
        detail = "" if what.endswith(given) else json.dumps(arguments, ensure_ascii=False, indent=2)
        return (Need("call", Kind.TOOL, name, what=what, irreversible=True, detail=detail),)

    return needs


def _text(content: Sequence[Any]) -> str | None:
    """What a model can read of a result; None: there is no text in it."""
    texts = [block.text if block.type == "text" else _mark(block) for block in content]
    return "\n".join(texts) if texts else None


def _mark(block: Any) -> str:
    """What stands for a part of a result that is no text."""
    resource = getattr(block, "resource", None)
    if isinstance(text := getattr(resource, "text", None), str):
        return text
    kind = getattr(block, "mime_type", None) or getattr(resource, "mime_type", None) or "no type"
    where = getattr(block, "uri", None) or getattr(resource, "uri", None)
    return f"[{block.type}: {kind}{f', {where}' if where else ''}]"


def _reason(error: BaseException) -> str:
    """Why a connection failed: of a group of errors the first that says so."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = short(error.message if isinstance(error, KernelError) else str(error)) or type(error).__name__
    return text.partition(": ")[2] if isinstance(error, KernelError) and text.startswith("MCP server ") else text
