"""All MCP servers of the configuration: the source of the tools that are called SERVER.TOOL."""

from __future__ import annotations

import asyncio
import difflib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from aios_kernel.errors import BadRequest, KernelError, NoSuchTool
from aios_kernel.protocol import ServerInfo
from aios_kernel.tools.mcp import config as config_file
from aios_kernel.tools.mcp.config import ServerConfig
from aios_kernel.tools.mcp.connection import Connection
from aios_kernel.tools.tool import Tool

log = logging.getLogger(__name__)

LIST_S: Final = 10.0  # that a list of all tools waits for servers that start


class Servers:
    """MCP servers by name. Event loop only."""

    def __init__(self, servers: Iterable[ServerConfig], environment: Mapping[str, str], file: Path) -> None:
        """file: config.toml, for changes."""
        self._environment = environment
        self._file = file
        self._connections = {each.name: Connection(each, environment) for each in servers}
        self._changing = asyncio.Lock()
        self._starting: set[asyncio.Task[object]] = set()

    # --- tools, as a Source of the registry

    def claims(self, name: str) -> bool:
        return name.partition(".")[0] in self._connections and "." in name

    async def find(self, name: str) -> Tool:
        """Raises NoSuchTool, ToolFailed, DeadlineHit."""
        server, _, own = name.partition(".")
        tools = await self._connections[server].tools()
        if own not in tools:
            near = difflib.get_close_matches(own, tools, n=1)
            hint = f"; did you mean {server}.{near[0]}?" if near else f" (it has {', '.join(tools)})"
            raise NoSuchTool(f"MCP server {server} has no tool {own!r}{hint}", name=name)
        return tools[own]

    async def tools(self) -> list[Tool]:
        tasks = [asyncio.create_task(self._tools(each)) for each in self._connections.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=LIST_S)
        for task in tasks:  # one that is late goes on, so that the next list has it
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)
        return self.known()

    def known(self) -> list[Tool]:
        return [tool for connection in self._connections.values() for tool in connection.known().values()]

    async def _tools(self, connection: Connection) -> None:
        try:
            await connection.tools()
        except KernelError as error:
            log.warning("%s", error.message)

    # --- servers

    def infos(self) -> list[ServerInfo]:
        return [connection.info() for connection in self._connections.values()]

    async def add(self, server: ServerConfig) -> ServerInfo:
        """Add a server, now and in config.toml, once it has answered.

        Raises:
            BadRequest: there is one of the name; ToolFailed, DeadlineHit: it does not answer; InternalError.
        """
        async with self._changing:
            if server.name in self._connections:
                raise BadRequest(f"there is an MCP server {server.name} already: `aios tools rm {server.name}` first")
            connection = Connection(server, self._environment)
            try:
                await connection.tools()
                await asyncio.to_thread(config_file.add, self._file, server)
            except BaseException:
                await connection.close()
                raise
            self._connections[server.name] = connection
            return connection.info()

    async def remove(self, name: str) -> None:
        """Take a server away, now and from config.toml. Raises BadRequest, InternalError."""
        async with self._changing:
            connection = self._connections.get(name)
            if connection is None:
                known = ", ".join(self._connections) or "none"
                raise BadRequest(f"no MCP server {name!r} (there are {known})", key="name")
            await asyncio.to_thread(config_file.remove, self._file, name)
            del self._connections[name]
            await connection.close()

    async def close(self) -> None:
        """End all of them. Takes seconds where one does not want to."""
        await asyncio.gather(*(connection.close() for connection in self._connections.values()))
        await asyncio.gather(*self._starting, return_exceptions=True)
