"""uvicorn's HTTP/1.1 for clients that nobody vouches for: those who stall or flood get no more than their share."""

from __future__ import annotations

import asyncio
import resource
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S: Final = 10.0  # for a request's head to come whole
BODY_S: Final = 60.0  # for its body
MAX_HEAD_BYTES: Final = 65_536
MAX_CONNECTIONS: Final = 2_048  # or half the descriptors: the person's own socket must always have some left


class GuardedProtocol(HttpToolsProtocol):
    """A request must come whole, soon, and with a short head; connections are limited.

    uvicorn times connections that are idle between requests. Half a request could stay for ever, and a head be of any
    length.
    """

    _timer: asyncio.TimerHandle | None = None  # runs while a request is awaited or comes
    _in_head = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > min(MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2):
            transport.abort()
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._in_head:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's head is too long.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._allow(BODY_S)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._stop()
        super().on_message_complete()

    def _await_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._allow(HEAD_S)

    def _allow(self, seconds: float) -> None:
        """Close the connection when what is awaited is not there in time."""
        self._stop()
        self._timer = self.loop.call_later(seconds, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
