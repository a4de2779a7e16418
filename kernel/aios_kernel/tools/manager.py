"""The tool manager: all tools of one kernel, from wherever they are, and what they run in."""

from __future__ import annotations

import os
from dataclasses import replace

from aios_kernel.client.paths import Paths
from aios_kernel.clock import Clock
from aios_kernel.config import Config
from aios_kernel.protocol import ToolList
from aios_kernel.sandbox.run import ToolSandbox
from aios_kernel.tools.builtin import builtin_tools
from aios_kernel.tools.code import code_tools
from aios_kernel.tools.data import data_tools
from aios_kernel.tools.files import file_tools
from aios_kernel.tools.functions import Functions
from aios_kernel.tools.mcp.servers import Servers
from aios_kernel.tools.registry import ToolRegistry
from aios_kernel.tools.workers import Workers


class ToolManager:
    """Event loop only.

    Attributes:
        registry: every tool.
        servers: the MCP servers among their sources.
    """

    def __init__(self, paths: Paths, config: Config, clock: Clock) -> None:
        limits, folder = config.tools, paths.scratch / "tools"
        others = Workers(ToolSandbox(folder, config.sandbox), folder, limits.timeout_s, limits.memory_bytes)
        # Our own functions may also run where nothing can confine them.
        ours = replace(others, sandbox=ToolSandbox(folder, replace(config.sandbox, unprotected=True)))
        tools = {tool.name: tool for tool in (*builtin_tools(clock), *file_tools(), *data_tools(ours))}
        tools |= {tool.name: tool for tool in code_tools(others)}
        wanted = {"python": limits.python, "shell": limits.shell, "http_fetch": limits.http_fetch}
        off = {name: f"is off: [tools] {name} = true" for name, on in wanted.items() if not on}
        self.servers = Servers(config.mcp.values(), os.environ, paths.config_file)
        self._functions = Functions(others)
        available = [tool for tool in tools.values() if tool.name not in off]
        if limits.http_fetch:
            from aios_kernel.tools.fetch import fetch_tool  # its HTTP client takes 150 ms of a start

            available.append(fetch_tool(ours))
        self.registry = ToolRegistry(available, (self._functions, self.servers), off)

    async def list(self, *, start: bool) -> ToolList:
        """Everything there is. start: sources not needed yet are asked too, which may take some seconds."""
        tools = await self.registry.infos(start=start)
        return ToolList(tools, self.servers.infos(), {**self.registry.unavailable, **self._functions.errors})

    async def close(self) -> None:
        """End what runs for tools. Takes seconds where an MCP server does not want to end."""
        await self._functions.close()
        await self.servers.close()
