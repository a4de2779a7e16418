"""An MCP server at a URL: streamable HTTP, with a bound on what it may answer."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

import httpx2
from mcp.client.streamable_http import streamable_http_client

from aios_kernel.tools.mcp.config import ServerConfig

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

MAX_REPLY_BYTES: Final = 4 << 20  # of a reply, or of one event of a stream
CONNECT_S: Final = 15.0


class _Counted(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = 0
        async for block in self._inner:
            total += len(block)
            if total > MAX_REPLY_BYTES:
                raise httpx2.ReadError(f"a reply of more than {MAX_REPLY_BYTES >> 20} MiB")
            yield block

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Bounded(httpx2.AsyncHTTPTransport):
    """A transport whose replies end with an error when they grow too long. Event streams are bounded by the event."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        if "text/event-stream" not in response.headers.get("content-type", ""):
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _Counted(response.stream)
        return response


@contextlib.asynccontextmanager
async def web(config: ServerConfig) -> AsyncIterator[TransportStreams]:
    """Yields the streams that the `mcp` package's Client takes. Nothing is sent before it asks."""
    timeout = httpx2.Timeout(CONNECT_S, read=float(config.timeout_s) + CONNECT_S)
    headers = {**config.headers, "Accept-Encoding": "identity"}  # so that the bound is on what is decoded
    async with (
        httpx2.AsyncClient(headers=headers, timeout=timeout, transport=_Bounded(), trust_env=False) as client,
        streamable_http_client(config.url, http_client=client, max_sse_event_size=MAX_REPLY_BYTES) as streams,
    ):
        yield streams
