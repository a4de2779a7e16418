"""uvicorn's HTTP/1.1 for agents: who floods waits, and nobody else with them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from aios_kernel.openai.guard import GuardedProtocol
from aios_kernel.sandbox.line import Traffic

_LOGGER: Final = logging.getLogger("uvicorn.agents")
_LOGGER.setLevel(logging.ERROR)  # its warnings are of malformed requests, a line each


class AgentProtocol(GuardedProtocol):
    """One connection of an agent. Unlike a stranger's it may take its time: an agent can be stopped at any moment.

    One request at a time: what is sent before the reply ends the connection.
    """

    def __init__(self, traffic: Traffic, **options: Any) -> None:
        super().__init__(**options)
        self._traffic = traffic
        self.logger = _LOGGER
        self._paused: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        HttpToolsProtocol.connection_made(self, transport)
        self._traffic.open.add(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._paused is not None:
            self._paused.cancel()
        self._traffic.open.discard(self.transport)
        super().connection_lost(exc)
        self._traffic.on_closed()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        pause_s = self._traffic.pace.take(self.loop.time())
        if pause_s and self._paused is None and not self.transport.is_closing():
            self.transport.pause_reading()
            self._paused = self.loop.call_later(pause_s, self._resume)

    def _resume(self) -> None:
        self._paused = None
        if not self.transport.is_closing() and not self.flow.read_paused:
            self.transport.resume_reading()

    def on_message_begin(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            raise ValueError("a request before the reply to the one before")  # to the parser, for which it is an error
        super().on_message_begin()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, and end the connection. Told once: who sends one can send thousands."""
        if not self._traffic.num_malformed:
            self._traffic.on_malformed()
        self._traffic.num_malformed += 1
        super().send_400_response(msg)

    def _allow(self, seconds: float) -> None:
        """Nothing is timed."""
