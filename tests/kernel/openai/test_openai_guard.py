"""Clients that stall or flood: they end, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aios_kernel.client.address import Address, parse_address
from aios_kernel.keys import Keys
from aios_kernel.listen import tcp_socket
from aios_kernel.openai import app, guard
from aios_kernel.web import FOREIGN_IDLE_S, Server

pytestmark = pytest.mark.anyio

SHORT_S = 0.3
ASK = b"GET /health HTTP/1.1\r\nHost: k\r\n\r\n"


class Kernel(SimpleNamespace):
    """As much of one as is looked at before a request has come whole."""

    def __init__(self, folder: Path) -> None:
        self.refused: list[str] = []
        access = SimpleNamespace(refuse=lambda what, _why: self.refused.append(what))
        super().__init__(keys=Keys(folder / "keys.json"), llm=SimpleNamespace(state="ready"), access=access)


class Client:
    """A connection, by its bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def reply(self) -> bytes:
        """The next reply; empty when the connection ends."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        return head + await self._reader.readexactly(length)

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


class Site:
    """A server on a free port, with its keys."""

    def __init__(self, address: Address, key: str) -> None:
        self._address, self.key = address, key
        self._clients: list[Client] = []

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection(self._address.host, self._address.port))
        self._clients.append(client)
        return client

    def ask(self, body: bytes, length: int) -> bytes:
        """A completion's request."""
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: k\r\nAuthorization: Bearer {self.key}\r\n"
        return head.encode() + b"Content-Length: %d\r\n\r\n" % length + body

    async def close(self) -> None:
        for client in self._clients:
            await client.close()


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(guard, "HEAD_S", SHORT_S)
    monkeypatch.setattr(guard, "BODY_S", SHORT_S)
    kernel: Any = Kernel(tmp_path)
    listener, url = tcp_socket(Address("127.0.0.1", 0))
    server = Server(app.create_app(kernel), http=guard.GuardedProtocol, timeout_keep_alive=FOREIGN_IDLE_S)
    serving = asyncio.create_task(server.serve([listener]))
    site = Site(parse_address(url), kernel.keys.of("user"))
    try:
        async with asyncio.timeout(20):
            yield site
    finally:
        await site.close()
        server.should_exit = True
        await serving


async def test_half_a_head_ends_and_holds_up_nobody(site: Site) -> None:
    halves = [await site.connect() for _ in range(50)]
    for half in halves:
        half.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: k\r\nX-a: ")
    other = await site.connect()
    other.send(ASK)
    assert b"200 OK" in await other.reply()
    assert {b""} == {await half.reply() for half in halves}


async def test_a_head_that_comes_byte_by_byte_has_no_longer_time(site: Site) -> None:
    slow = await site.connect()
    slow.send(ASK[:-2])
    ended = asyncio.create_task(slow.reply())
    began = asyncio.get_running_loop().time()
    while not ended.done():
        slow.send(b"X")
        await asyncio.wait({ended}, timeout=0.02)
    assert await ended == b""
    assert asyncio.get_running_loop().time() - began < 20 * SHORT_S


async def test_who_says_nothing_is_not_waited_for(site: Site) -> None:
    assert await (await site.connect()).reply() == b""


async def test_a_connection_is_kept_between_requests(site: Site) -> None:
    client = await site.connect()
    client.send(ASK)
    assert b"200 OK" in await client.reply()
    assert await (await site.connect()).reply() == b""  # the time for a request, begun after that one, has passed
    client.send(ASK)
    assert b"200 OK" in await client.reply()
    client.send(ASK[:9])
    assert await client.reply() == b""


async def test_a_head_without_end_is_refused(site: Site) -> None:
    client = await site.connect()
    client.send(b"GET /health HTTP/1.1\r\nX-a: " + b"x" * guard.MAX_HEAD_BYTES)
    assert b"400 Bad Request" in await client.reply()
    assert await client.reply() == b""


async def test_half_a_body_ends_in_time(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    client = await site.connect()
    client.send(site.ask(b'{"messages"', 1_000))
    assert await client.reply() == b""
    assert not caplog.records


async def test_who_has_no_key_is_answered_before_the_body_comes_and_sends_no_more_than_others(site: Site) -> None:
    site.key = "sk-wrong"
    client = await site.connect()
    client.send(site.ask(b"", 1 << 40))
    assert b"401 Unauthorized" in await client.reply()
    ended = asyncio.create_task(client.reply())
    while not ended.done():
        client.send(b"x")
        await asyncio.wait({ended}, timeout=SHORT_S / 9)
    assert await ended == b""


async def test_a_connection_too_many_is_refused_and_the_others_go_on(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MAX_CONNECTIONS", 2)
    first = await site.connect()
    first.send(ASK)
    assert b"200 OK" in await first.reply()
    second = await site.connect()
    third = await site.connect()
    assert await third.reply() == b""
    for client in (first, second):
        client.send(ASK)
        assert b"200 OK" in await client.reply()
