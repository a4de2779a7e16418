"""What the person asks of the tool manager: tools, MCP servers, and calls of tools."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from aios_kernel import protocol as p
from aios_kernel.client import KernelClient, Stream, is_error
from aios_kernel.errors import InternalError, KernelError


class ToolClient:
    """The tool manager's routes. Raises what KernelClient raises."""

    def __init__(self, client: KernelClient) -> None:
        self._client = client

    def list(self, *, start: bool = True) -> p.ToolList:
        """Everything there is. start: MCP servers that have not been needed yet are started, and waited for."""
        reply: p.ToolList = self._client.call("GET", "/tools", p.ToolList, timeout=None, start=start)
        return reply

    def tool(self, name: str) -> p.ToolInfo:
        """One tool; an MCP server that it is of is started. Raises NoSuchTool, ToolFailed when that fails."""
        reply: p.ToolInfo = self._client.call("GET", f"/tools/{quote(name, safe='')}", p.ToolInfo, timeout=None)
        return reply

    def add(self, request: p.ServerRequest) -> p.ServerInfo:
        """Add an MCP server. Raises BadRequest, ToolFailed when it does not tell its tools."""
        reply: p.ServerInfo = self._client.call("POST", "/tools/servers", p.ServerInfo, body=request, timeout=None)
        return reply

    def remove(self, name: str) -> None:
        """Raises BadRequest when there is no MCP server of the name."""
        self._client.call("DELETE", f"/tools/servers/{quote(name, safe='')}", timeout=None)

    @contextlib.contextmanager
    def session(self, request: p.ToolSessionRequest) -> Iterator[ToolSession]:
        """A process of one's own that calls tools; it ends with the block."""
        stream = self._client.stream("POST", "/tools/session", body=request)
        try:
            yield ToolSession(self._client.socket_path, stream)
        finally:
            stream.close()


class ToolSession:
    """A process that calls tools."""

    def __init__(self, socket_path: str, stream: Stream) -> None:
        self._events = iter(stream)  # the connection lives as long as this is kept
        self._stream = stream
        nothing: tuple[str, Any] = ("end", {})
        kind, data = next(self._events, nothing)
        if (error := is_error(data)) is not None:
            raise error
        if kind != "session":
            raise InternalError(f"the kernel began a session with {kind!r}")
        self.pid: int = data["pid"]
        self.token: str = data["token"]
        self._client = KernelClient(socket_path, self.token)

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """Run a tool. Raises NoSuchTool, ToolFailed, NotPermitted, DeadlineHit."""
        return self._client.syscall(p.SyscallRequest("tool.call", {"name": name, "arguments": arguments}))

    def wait(self) -> KernelError | None:
        """Return when the process has ended: why, if that was another's doing."""
        for _, data in self._events:
            return is_error(data)
        return None

    def end(self) -> None:
        """End the process, and what it is waiting for. From any thread; twice is fine."""
        self._stream.close()
