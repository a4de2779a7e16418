"""http_fetch: the public web and nothing else, within bounds, and asked about host by host."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from tool_callers import Asked, caller

from aios_kernel.client import protection
from aios_kernel.client.protection import Engine
from aios_kernel.errors import NotPermitted, ToolFailed
from aios_kernel.sandbox.config import SandboxConfig
from aios_kernel.sandbox.run import ToolSandbox
from aios_kernel.tools import ToolRegistry
from aios_kernel.tools.fetch import fetch_tool, is_public
from aios_kernel.tools.workers import Workers

pytestmark = pytest.mark.anyio

PAGE = "<html><head><title>x</title></head><body><h1>Fish &amp; chips</h1><script>no()</script><p>Good  food.</body>"


@asynccontextmanager
async def site() -> AsyncIterator[str]:
    """A site on loopback; its URL."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def away(request: web.Request) -> web.Response:
        raise web.HTTPFound(request.query["to"])

    async def around(_: web.Request) -> web.Response:
        raise web.HTTPFound("/around")

    async def long(_: web.Request) -> web.Response:
        return web.Response(text="x" * 5_000_000)

    async def picture(_: web.Request) -> web.Response:
        return web.Response(body=b"\0" * 10, content_type="image/png")

    app = web.Application()
    app.add_routes(
        [
            web.get("/page", page),
            web.get("/away", away),
            web.get("/around", around),
            web.get("/long", long),
            web.get("/pic", picture),
        ]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    server = web.TCPSite(runner, "127.0.0.1", 0)
    await server.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def fetching(folder: Path, *, private: bool = True) -> ToolRegistry:
    workers = Workers(ToolSandbox(folder, SandboxConfig()), folder, 20.0, 512 << 20)
    return ToolRegistry([fetch_tool(workers, (lambda _: True) if private else None)])


@pytest.mark.skipif(protection.tools()[0] is Engine.NONE, reason="nothing here confines tools")
async def test_a_page_is_text(tmp_path: Path) -> None:
    async with site() as url:
        asked = Asked()
        result = await fetching(tmp_path).call("http_fetch", {"url": f"{url}/page"}, caller(asked=asked))
    assert result == {"url": f"{url}/page", "status": 200, "text": "Fish & chips\n\nGood food."}
    host = url.removeprefix("http://")
    assert [(need.name, need.id, need.irreversible) for need in asked.needs] == [("network:connect", host, True)]


async def test_what_is_long_or_no_text_is_cut(tmp_path: Path) -> None:
    async with site() as url:
        tools = fetching(tmp_path)
        text = (await tools.call("http_fetch", {"url": f"{url}/long"}, caller()))["text"]
        assert len(text) < 110_000
        assert text.endswith("characters are left out]")
        assert (await tools.call("http_fetch", {"url": f"{url}/pic"}, caller()))["text"] == "[10 bytes of image/png]"
        missing = await tools.call("http_fetch", {"url": f"{url}/no"}, caller())
        assert missing["status"] == 404


async def test_a_redirect_is_decided_like_the_first_address(tmp_path: Path) -> None:
    async with site() as url, site() as other:
        asked = Asked()
        target = f"{url}/away?to={other}/pic"
        result = await fetching(tmp_path).call("http_fetch", {"url": target}, caller(asked=asked))
        assert result["url"] == f"{other}/pic"
        assert [need.id for need in asked.needs] == [url.removeprefix("http://"), other.removeprefix("http://")]
        around = Asked()
        with pytest.raises(ToolFailed, match="redirected more than 5 times"):
            await fetching(tmp_path).call("http_fetch", {"url": f"{url}/around"}, caller(asked=around))
        assert len(around.needs) == 1  # one host, one question


async def test_nothing_is_connected_to_without_a_word(tmp_path: Path) -> None:
    with pytest.raises(NotPermitted, match="fetch http"):
        await fetching(tmp_path).call("http_fetch", {"url": "http://h.invalid/"}, caller(asked=Asked(permit=False)))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://localhost/",
        "http://169.254.169.254/x",
        "http://0x7f.1/",
        "http://2130706433/",
        "http://①②⑦.⓪.⓪.①/",  # digits to whoever connects: names are normalized (UTS 46)
        "http://１２７.0.0.1/",
        "http://127。0。0。1/",
        "http://127.0.0.1./",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::127.0.0.1]/",
    ],
)
async def test_this_machine_and_its_networks_are_not_the_web(tmp_path: Path, url: str) -> None:
    with pytest.raises(ToolFailed, match=r"not on the public internet|not a canonical"):
        await fetching(tmp_path, private=False).call("http_fetch", {"url": url}, caller())


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://x/", "x", "http://", "http://u:p@h/", "http://x\\@127.0.0.1/", "http://h:99999/"],
)
async def test_what_is_no_web_address_is_refused(tmp_path: Path, url: str) -> None:
    asked = Asked()
    with pytest.raises(ToolFailed, match="must"):
        await fetching(tmp_path).call("http_fetch", {"url": url}, caller(asked=asked))
    assert not asked.needs


@given(st.ip_addresses())
def test_only_addresses_of_everybody_are_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if is_public(str(address)):
        assert address.is_global
        assert not address.is_private
        assert not address.is_loopback
        assert not address.is_multicast


@pytest.mark.parametrize(
    "address",
    [
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "fe80::1",
        "0.0.0.0",
        "::",
        "::10.0.0.1",
        "64:ff9b::a00:1",
    ],
)
def test_an_address_inside_another_counts(address: str) -> None:
    assert not is_public(address)
