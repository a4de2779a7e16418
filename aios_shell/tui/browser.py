"""The app in a browser of this machine, and of one person: textual-serve has no log-in, so here is one."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import shlex
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from textual_serve.app_service import AppService
from textual_serve.server import Server, to_int

HOST: Final = "127.0.0.1"
# A tab's app gets this long to end by itself when the server does.
CLOSE_WITHIN_S: Final = 5.0

# What each browser tab runs. `exec`: a signal reaches it and no shell in between.
APP: Final = f"exec {shlex.join([sys.executable, '-m', 'aios_shell.tui'])}"

_TEMPLATES: Final = Path(__file__).with_name("templates")
_REFUSED: Final = "Not for you: this address opens once, in one browser. `aios serve` makes another.\n"


class _Server(Server):
    """textual-serve without its words on standard output, and with an eye on the apps that it starts."""

    def __init__(self, command: str, port: int, origin: str) -> None:
        super().__init__(command, HOST, port, title="aios", public_url=origin, templates_path=_TEMPLATES)
        self._tabs: dict[web.WebSocketResponse, asyncio.Task[object]] = {}

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.router.add_get("/focus.js", self._focus)
        return app

    async def _focus(self, _request: web.Request) -> web.FileResponse:
        return web.FileResponse(_TEMPLATES / "focus.js")

    async def on_startup(self, app: web.Application) -> None:
        pass

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """One tab and its app: when either ends, the other does."""
        websocket = web.WebSocketResponse(heartbeat=15)
        await websocket.prepare(request)
        app = AppService(
            self.command,
            write_bytes=websocket.send_bytes,
            write_str=websocket.send_str,
            close=websocket.close,  # type: ignore[arg-type]  # it returns whether it did
            download_manager=self.download_manager,
        )
        await app.start(to_int(request.query.get("width", ""), 80), to_int(request.query.get("height", ""), 24))
        process, task = app._process, asyncio.current_task()
        assert process is not None
        assert task is not None
        self._tabs[websocket] = task
        watch = asyncio.create_task(_close_after(process, websocket))
        try:
            await self._process_messages(websocket, app)
        finally:
            del self._tabs[websocket]
            await _end(app, process)
            await watch
        return websocket

    async def on_shutdown(self, app: web.Application) -> None:  # noqa: ARG002 -- its interface
        """Close the tabs, and wait until their apps have ended."""
        tasks = list(self._tabs.values())
        await asyncio.gather(*(websocket.close() for websocket in list(self._tabs)))
        if tasks:
            await asyncio.wait(tasks)


async def _close_after(process: Process, websocket: web.WebSocketResponse) -> None:
    await process.wait()
    await websocket.close()


async def _end(app: AppService, process: Process) -> None:
    """Tell the app to quit; one that does not in time is killed."""
    try:
        async with asyncio.timeout(CLOSE_WITHIN_S):
            await app.stop()
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


class Gate:
    """Who may enter. The one-time token in the address becomes a cookie; after that only the cookie opens.

    A page of another site may send requests here: Host (DNS rebinding) and Origin are checked too. A browser sends a
    cookie to every port of a host, so this one is bound to a path that nobody else knows.
    """

    COOKIE: Final = "aios"

    def __init__(self, port: int, on_entry: Callable[[], None]) -> None:
        self._authority = f"{HOST}:{port}"
        self.origin = f"http://{self._authority}"
        self.path = f"/{secrets.token_urlsafe(9)}"
        self._token: str | None = secrets.token_urlsafe(32)
        self._cookie = secrets.token_urlsafe(32)
        self._on_entry = on_entry

    @property
    def url(self) -> str:
        """What opens the app, once."""
        return f"{self.origin}{self.path}/?token={self._token}"

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._from_here(request):
            return web.Response(status=403, text=_REFUSED)
        if not _equal(request.cookies.get(self.COOKIE), self._cookie):
            return self._enter(request)
        return await handler(request)

    def _from_here(self, request: web.Request) -> bool:
        origin = request.headers.get("Origin")
        is_socket = request.headers.get("Upgrade", "").lower() == "websocket"
        return request.host == self._authority and (origin == self.origin or (origin is None and not is_socket))

    def _enter(self, request: web.Request) -> web.Response:
        token = request.query.get("token")
        if request.method != "GET" or request.path != f"{self.path}/" or not _equal(token, self._token):
            return web.Response(status=403, text=_REFUSED)
        self._token = None
        self._on_entry()
        response = web.Response(status=303, headers={"Location": f"{self.path}/"})
        response.set_cookie(self.COOKIE, self._cookie, path=f"{self.path}/", httponly=True, samesite="Strict")
        return response

    async def headers(self, _request: web.Request, response: web.StreamResponse) -> None:
        """Nothing from elsewhere is loaded, nothing is kept, no other page may show this one."""
        response.headers["Content-Security-Policy"] = (
            f"default-src 'self'; connect-src 'self' ws://{self._authority}; img-src 'self' data:; "
            "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-store"


def _equal(given: str | None, wanted: str | None) -> bool:
    return given is not None and wanted is not None and secrets.compare_digest(given.encode(), wanted.encode())


@contextlib.asynccontextmanager
async def serving(port: int, on_entry: Callable[[], None], command: str = APP) -> AsyncIterator[str]:
    """Serve `command`, a Textual app, on loopback; yields the address that opens it once.

    Args:
        port: 0: any free one.
        on_entry: called when the address has been used.

    Raises:
        OSError: the port is taken.
    """
    listener = _listen(port)
    port = listener.getsockname()[1]
    gate = Gate(port, on_entry)
    server = _Server(command, port, gate.origin)
    app = web.Application(middlewares=[gate.check])
    app.add_subapp(f"{gate.path}/", await server._make_app())
    app.on_response_prepare.append(gate.headers)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    try:
        await runner.setup()
        await web.SockSite(runner, listener).start()
        yield gate.url
    finally:
        await runner.cleanup()
        listener.close()


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        code = error.errno or errno.EIO
        raise OSError(code, os.strerror(code), f"{HOST}:{port}") from error
