"""The kernel's tools as an MCP server on standard input and output, for programs that speak the Model Context Protocol.

Every call is a syscall of one process, so policies, questions, limits and the audit log hold for it as for any agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import stat
from collections.abc import AsyncIterator
from importlib import metadata
from typing import Any, Final

import aiohttp
import mcp_types as types
import msgspec
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

from aios_kernel.client import decode_reply
from aios_kernel.client.tools import ToolSession
from aios_kernel.errors import BadRequest, KernelError, KernelUnreachable, NoSuchTool
from aios_kernel.protocol import SyscallRequest, ToolSpec
from aios_shell.io import Io, write_all

NAME: Final = "aios"
MAX_LINE_BYTES: Final = 16 << 20
_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None)  # the kernel holds each call to its own


def run(socket_path: str, session: ToolSession, only: frozenset[str], io: Io) -> None:
    """Serve until standard input or the session ends. only: these tools; empty: all."""
    logging.getLogger("mcp").setLevel(logging.ERROR)
    asyncio.run(_Serving(socket_path, session, only).run(io))


class _Serving:
    def __init__(self, socket_path: str, session: ToolSession, only: frozenset[str]) -> None:
        self._socket_path = socket_path
        self._session = session
        self._only = only

    async def run(self, io: Io) -> None:
        server = Server(NAME, version=metadata.version("aios-shell"), on_list_tools=self._list, on_call_tool=self._call)
        headers = {"Authorization": f"Bearer {self._session.token}"}
        connector = aiohttp.UnixConnector(self._socket_path, limit=0)
        async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=_NO_TIMEOUT) as self._http:
            serving = asyncio.create_task(self._serve(server, io))
            ended = asyncio.create_task(asyncio.to_thread(self._session.wait))
            await asyncio.wait({serving, ended}, return_when=asyncio.FIRST_COMPLETED)
            why = ended.result() if ended.done() else None  # a signal, or the kernel's end
            serving.cancel()
            self._session.end()
            (failure, _) = await asyncio.gather(serving, ended, return_exceptions=True)
        if why is not None:
            raise why
        if isinstance(failure, Exception):
            raise failure

    async def _serve(self, server: Server[Any], io: Io) -> None:
        async with _lines(io.stdin) as lines, stdio_server(lines, _Output(io.stdout)) as (read, write):  # type: ignore[arg-type]
            await server.run(read, write, server.create_initialization_options())

    async def _list(
        self, _: ServerRequestContext[Any], __: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        names = sorted(self._only) if self._only else None
        specs = msgspec.convert(await self._syscall("tool.list", {"names": names}), list[ToolSpec])
        tools = [types.Tool(name=each.name, description=each.description, input_schema=_object(each)) for each in specs]
        return types.ListToolsResult(tools=tools)

    async def _call(self, _: ServerRequestContext[Any], params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            if self._only and params.name not in self._only:
                raise NoSuchTool(f"no tool {params.name!r}")
            result = await self._syscall("tool.call", {"name": params.name, "arguments": params.arguments or {}})
        except NoSuchTool as error:
            raise MCPError(types.INVALID_PARAMS, error.message) from error
        except KernelError as error:
            return types.CallToolResult(content=[types.TextContent(type="text", text=error.message)], is_error=True)
        text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
        structured = result if isinstance(result, dict) else None
        return types.CallToolResult(content=[types.TextContent(type="text", text=text)], structured_content=structured)

    async def _syscall(self, name: str, args: dict[str, Any]) -> Any:
        """Cancelling it cancels the syscall, and what that runs."""
        body = msgspec.json.encode(SyscallRequest(name, args))
        try:
            async with self._http.post(
                "http://kernel/syscall", data=body, headers={"Content-Type": "application/json"}
            ) as reply:
                content = await reply.read()
        except aiohttp.ClientError as error:
            raise KernelUnreachable("the kernel went away") from error
        return decode_reply(reply.status, content, dict[str, Any])["result"]


def _object(spec: ToolSpec) -> dict[str, Any]:
    return {"type": "object", **spec.parameters}


@contextlib.asynccontextmanager
async def _lines(fd: int) -> AsyncIterator[AsyncIterator[str]]:
    """The lines of standard input, which a thread would wait for even when there is nobody to serve any more."""
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)):  # /dev/null cannot be waited for
        raise BadRequest("standard input is a file: an MCP client speaks through a pipe")
    blocking = os.get_blocking(fd)
    reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    pipe = os.fdopen(os.dup(fd), "rb", buffering=0)  # the transport closes it
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )

    async def lines() -> AsyncIterator[str]:
        while line := await reader.readline():
            yield line.decode(errors="replace")

    try:
        yield lines()
    finally:
        transport.close()
        os.set_blocking(fd, blocking)  # it is the terminal's, or another program's too


class _Output:
    """Standard output, as `stdio_server` writes to it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def write(self, text: str) -> None:
        await asyncio.to_thread(write_all, self._fd, text.encode())

    async def flush(self) -> None:
        """Nothing is held back."""
