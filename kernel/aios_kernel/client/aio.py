"""The kernel's asynchronous client, for agents: syscalls over its Unix socket, with streaming and cancellation.

Cancelling the awaiting task closes the connection, and a closed connection cancels the syscall in the kernel.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec

from aios_kernel import protocol as p
from aios_kernel.client import decode_reply, iter_sse
from aios_kernel.errors import KernelUnreachable, from_wire

__all__ = ["AsyncKernelClient"]


class AsyncKernelClient:
    """One process's way into the kernel. Close it when done; connections are kept alive between syscalls."""

    def __init__(self, socket_path: str, token: str) -> None:
        self._http = httpx.AsyncClient(
            # verify=False: a Unix socket has no TLS, and loading the certificates costs each agent 35 ms.
            transport=httpx.AsyncHTTPTransport(
                uds=socket_path, verify=False, limits=httpx.Limits(max_connections=None)
            ),
            base_url="http://kernel",
            headers={"Authorization": f"Bearer {token}"},
            timeout=None,  # noqa: S113 -- the kernel holds each syscall to its own deadline
        )

    async def __aenter__(self) -> AsyncKernelClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def syscall(self, name: str, args: dict[str, Any], *, deadline_s: float | None = None) -> Any:
        """Make one syscall and return its result. Raises the KernelError that it ended with."""
        body = msgspec.json.encode(p.SyscallRequest(name, args, deadline_s))
        try:
            reply = await self._http.post("/syscall", content=body, headers={"Content-Type": "application/json"})
        except httpx.TransportError as error:
            raise KernelUnreachable("the kernel went away") from error
        return decode_reply(reply.status_code, reply.content, dict[str, Any])["result"]

    async def stream(
        self, name: str, args: dict[str, Any], *, deadline_s: float | None = None
    ) -> AsyncIterator[tuple[str, Any]]:
        """Make one streaming syscall: yields ("delta", {"text"}) pairs, then ("result", the reply) last."""
        body = msgspec.json.encode(p.SyscallRequest(name, args, deadline_s, stream=True))
        headers = {"Content-Type": "application/json"}
        try:
            async with self._http.stream("POST", "/syscall", content=body, headers=headers) as reply:
                if reply.status_code >= 400:
                    decode_reply(reply.status_code, await reply.aread(), None)
                event: list[bytes] = []
                async for line in reply.aiter_lines():
                    event.append(line.encode())
                    if line:
                        continue
                    for kind, data in iter_sse(event):
                        if kind == "error":
                            raise from_wire(data["error"])
                        yield kind, data["result"] if kind == "result" else data
                    event.clear()
        except httpx.TransportError as error:
            raise KernelUnreachable("the kernel went away") from error
