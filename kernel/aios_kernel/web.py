"""The kernel's HTTP servers: one on the person's socket, one on TCP for foreign clients.

Imported late: with the applications, these imports take most of the kernel's start.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from aios_kernel import server
from aios_kernel.agent_http import AgentProtocol
from aios_kernel.daemon import STOP_GRACE_S, Kernel
from aios_kernel.openai import app as openai
from aios_kernel.openai.guard import GuardedProtocol
from aios_kernel.sandbox.line import Traffic

HTTP_GRACE_S: Final = 2  # for replies under way, after every process has ended
AGENT_IDLE_S: Final = 86_400  # an agent's connection lives as long as the agent
FOREIGN_IDLE_S: Final = 75  # longer than clients keep theirs: who closes first while the other sends loses a request


class Server(uvicorn.Server):
    """Ends when the kernel says so."""

    def __init__(self, app: FastAPI, on_started: Callable[[], None] = lambda: None, **options: Any) -> None:
        self._on_started = on_started
        self._accepting: set[asyncio.Task[Any]] = set()
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                proxy_headers=False,
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=HTTP_GRACE_S,
                **options,
            )
        )

    def accept(self, connection: socket.socket, traffic: Traffic) -> None:
        """Answer an agent on a connection of its own."""

        def protocol() -> AgentProtocol:
            options = {"config": self.config, "server_state": self.server_state, "app_state": self.lifespan.state}
            return AgentProtocol(traffic, **options)

        accepting = asyncio.create_task(asyncio.get_running_loop().connect_accepted_socket(protocol, connection))
        self._accepting.add(accepting)
        accepting.add_done_callback(self._accepting.discard)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the kernel's own handlers end agents first

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()


async def serve_http(
    kernel: Kernel, own: socket.socket, foreign: socket.socket | None, on_ready: Callable[[], None]
) -> None:
    """Answer on both sockets until the kernel is asked to stop; then end every process, then the connections."""

    def on_started() -> None:
        on_ready()
        kernel.start_model()

    answering = Server(server.create_app(kernel), on_started, timeout_keep_alive=AGENT_IDLE_S)
    kernel.sandbox.accept = answering.accept
    servers = [(answering, own)]
    if foreign is not None:
        app = openai.create_app(kernel)
        servers.append((Server(app, http=GuardedProtocol, timeout_keep_alive=FOREIGN_IDLE_S), foreign))
    serving = [asyncio.create_task(each.serve([listener])) for each, listener in servers]
    stopping = asyncio.create_task(kernel.stopping.wait())
    await asyncio.wait({*serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await kernel.supervisor.close(STOP_GRACE_S)  # followers see their EXIT event before the connections close
    for each, _ in servers:
        each.should_exit = True
    await asyncio.gather(*serving)
