"""Routes of the tool manager: tools, MCP servers, and sessions in which tools are called. All are the person's.

A tool is called by a process and by nothing else: a session is one that lives as long as its reply is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

from fastapi import APIRouter, Depends, Response

from aios_kernel import protocol as p
from aios_kernel.admission import check_group
from aios_kernel.daemon import Kernel
from aios_kernel.errors import BadConfig, BadRequest, KernelError, to_wire
from aios_kernel.life import Life
from aios_kernel.person import person_only
from aios_kernel.serving import json_reply
from aios_kernel.sse import EventStream, sse
from aios_kernel.storage.paths import check_owner
from aios_kernel.tools.mcp.config import ServerConfig

START_S: Final = 1.0  # that a session's reply waits for its first event: until then an error is one of any route


def tool_routes(kernel: Kernel) -> APIRouter:
    routes = APIRouter(prefix="/tools", dependencies=[Depends(person_only(kernel))])
    tools = kernel.tools

    @routes.get("", response_model=p.ToolList)
    async def ls(start: bool = True) -> Response:
        """List the tools, MCP servers, and what is off or cannot be had, and why; `start` those not needed yet."""
        return json_reply(await tools.list(start=start))

    @routes.get("/{name}", response_model=p.ToolInfo)
    async def show(name: str) -> Response:
        """Tell about one tool; an MCP server that it is of is started."""
        return json_reply(await tools.registry.info(name))

    @routes.post("/servers", response_model=p.ServerInfo)
    async def add(body: p.ServerRequest) -> Response:
        """Add an MCP server, now and in config.toml, once it has told its tools."""
        try:
            server = ServerConfig.of(body)
        except BadConfig as error:
            raise BadRequest(error.message, **error.data) from error
        return json_reply(await tools.servers.add(server))

    @routes.delete("/servers/{name}")
    async def rm(name: str) -> Response:
        """Take an MCP server away, now and from config.toml."""
        await tools.servers.remove(name)
        return json_reply(None)

    @routes.post("/session", response_class=Response)
    async def session(body: p.ToolSessionRequest) -> Response:
        """Start a process that calls tools by POST /syscall; it lives as long as the stream that answers.

        The stream has one `session` event, with pid and token; an `error` event when the process is ended by another.
        """
        check_group(body.group)
        check_owner(body.name)
        return EventStream(_session(kernel, body), patience_s=START_S)

    return routes


async def _session(kernel: Kernel, body: p.ToolSessionRequest) -> AsyncGenerator[bytes, None]:
    begun: asyncio.Future[Life] = asyncio.get_running_loop().create_future()

    async def live() -> None:
        async with kernel.supervisor.virtual(p.RunRequest(body.name, body.task, group=body.group)) as life:
            begun.set_result(life)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                life.verdict = life.verdict or (0, "done")  # its client going away is how it ends
                raise

    living = asyncio.create_task(live())
    first: tuple[asyncio.Future[Any], ...] = (living, begun)
    try:
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if begun.done():
            life = begun.result()
            yield sse("session", p.ToolSession(life.process.pid, life.token))
        await living
    except KernelError as error:
        if not begun.done():
            raise
        yield sse("error", {"error": to_wire(error)})
    finally:
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)
