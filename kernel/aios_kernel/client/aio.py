"""The kernel's asynchronous client, for agents: syscalls over its Unix socket, with streaming and cancellation.

Cancelling the awaiting task closes the connection, and a closed connection cancels the syscall in the kernel.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import msgspec

from aios_kernel import protocol as p
from aios_kernel.client import decode_reply, iter_sse
from aios_kernel.client.line import Line
from aios_kernel.errors import KernelUnreachable, from_wire

__all__ = ["AsyncKernelClient"]

_URL: Final = "http://kernel/syscall"
_JSON: Final = {"Content-Type": "application/json"}
# The kernel holds each syscall to its own deadline.
_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
_LINE_BYTES: Final = 1 << 24  # the longest reply that fits one line of an event stream


class _LineConnector(aiohttp.UnixConnector):
    """Connections that come by the line: a confined agent cannot open a socket."""

    def __init__(self, line: Line) -> None:
        super().__init__("the line", limit=0)
        self._line = line

    async def _create_connection(self, *_: Any) -> Any:
        """As UnixConnector's own, which knows paths only."""
        try:
            connection = self._line.dial()  # the kernel answers within a millisecond, or makes a flood wait
            factory: Any = self._factory
            made: tuple[Any, Any] = await asyncio.get_running_loop().create_unix_connection(factory, sock=connection)
            return made[1]
        except OSError as error:
            raise aiohttp.ClientConnectionError(str(error)) from error


class AsyncKernelClient:
    """One process's way into the kernel. Use it as a context manager; connections are kept alive between syscalls."""

    def __init__(self, line: Line) -> None:
        """Call it on the event loop that it is for."""
        self._http = aiohttp.ClientSession(
            connector=_LineConnector(line),
            headers={"Authorization": f"Bearer {line.token}"},
            timeout=_NO_TIMEOUT,
            read_bufsize=_LINE_BYTES,
        )

    async def __aenter__(self) -> AsyncKernelClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.close()

    async def syscall(self, name: str, args: dict[str, Any], *, deadline_s: float | None = None) -> Any:
        """Make one syscall and return its result. Raises the KernelError that it ended with."""
        body = msgspec.json.encode(p.SyscallRequest(name, args, deadline_s))
        try:
            async with self._http.post(_URL, data=body, headers=_JSON) as reply:
                content = await reply.read()
        except aiohttp.ClientError as error:
            raise KernelUnreachable("the kernel went away") from error
        return decode_reply(reply.status, content, dict[str, Any])["result"]

    async def stream(
        self, name: str, args: dict[str, Any], *, deadline_s: float | None = None
    ) -> AsyncIterator[tuple[str, Any]]:
        """Make one streaming syscall: yields ("delta", {"text"}) pairs, then ("result", the reply) last."""
        body = msgspec.json.encode(p.SyscallRequest(name, args, deadline_s, stream=True))
        try:
            async with self._http.post(_URL, data=body, headers=_JSON) as reply:
                if reply.status >= 400:
                    decode_reply(reply.status, await reply.read(), None)
                event: list[bytes] = []
                async for line in reply.content:
                    event.append(line)
                    if line.strip():
                        continue
                    for kind, data in iter_sse(event):
                        if kind == "error":
                            raise from_wire(data["error"])
                        yield kind, data["result"] if kind == "result" else data
                    event.clear()
        except aiohttp.ClientError as error:
            raise KernelUnreachable("the kernel went away") from error
