"""Server-sent events as a response that notices when its reader has gone.

Source: WHATWG HTML, "Server-sent events".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

KEEP_ALIVE_S: Final = 10.0  # a comment this often: a connection that died unseen is then found dead


def sse(name: str, data: Any) -> bytes:
    """One event with its data as JSON on one line."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data, enc_hook=str))


class EventStream(Response):
    """Sends what `events` yields, as it comes; when the client goes away the generator is cancelled and closed.

    Args:
        patience_s: the reply's head waits so long for the first event. What `events` raises before that is answered
            as an error of any route; afterwards it can only break the connection off.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None], *, patience_s: float = 0.0) -> None:
        super().__init__(headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]  # open-ended
        self._events = events
        self._patience_s = patience_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        sending = asyncio.create_task(self._send_all(send))
        leaving = asyncio.create_task(until_gone(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            leaving.cancel()
            results = await asyncio.gather(sending, leaving, return_exceptions=True)
            await self._events.aclose()
        if isinstance(results[0], Exception):
            raise results[0]

    async def _send_all(self, send: Send) -> None:
        pending = asyncio.ensure_future(anext(self._events))
        try:
            await asyncio.wait({pending}, timeout=self._patience_s)
            failure = pending.exception() if pending.done() else None
            if failure is not None and not isinstance(failure, StopAsyncIteration):
                raise failure
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while True:
                done, _ = await asyncio.wait({pending}, timeout=KEEP_ALIVE_S)
                if not done:
                    await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
                    continue
                try:
                    body = pending.result()
                except StopAsyncIteration:
                    break
                await send({"type": "http.response.body", "body": body, "more_body": True})
                pending = asyncio.ensure_future(anext(self._events))
        finally:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def until_gone(receive: Receive) -> None:
    """Returns when the client has closed the connection. For after the request's body is read."""
    while (await receive())["type"] != "http.disconnect":
        pass
