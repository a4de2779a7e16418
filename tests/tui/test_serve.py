"""The app in a browser: one person's, once, and it leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from chromium import CHROMIUM, page
from system import System

from aios_shell.tui.browser import serving

pytestmark = [pytest.mark.anyio]

# What a tab's app does here: it tells its process id, and what is typed into it.
APP = """\
import os, sys
from textual.app import App
def tell(text):
    print(text, file=open(sys.argv[1], "a"), flush=True)
class Echo(App):
    typed = ""
    def on_mount(self):
        tell(os.getpid())
    def on_key(self, event):
        if event.key == "enter":
            tell(self.typed)
            self.exit()
        self.typed += event.character or ""
Echo().run()
"""


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """The file that the app tells in."""
    return tmp_path / "told"


@pytest.fixture
def command(tmp_path: Path, told: Path) -> str:
    (tmp_path / "app.py").write_text(APP)
    return "exec " + shlex.join([sys.executable, str(tmp_path / "app.py"), str(told)])


@pytest.fixture
async def url(command: str) -> AsyncIterator[str]:
    async with serving(0, lambda: None, command) as address:
        yield address


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:  # unsafe: of an address
        yield session


def parts(url: str) -> tuple[str, str]:
    """(origin, the page without its token)"""
    split = urlsplit(url)
    origin = f"{split.scheme}://{split.netloc}"
    return origin, origin + split.path


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def status(client: aiohttp.ClientSession, url: str, **options: object) -> int:
    async with client.get(url, **options) as answer:  # type: ignore[arg-type]
        return answer.status


async def test_the_address_opens_once_and_then_only_the_cookie_does(url: str, client: aiohttp.ClientSession) -> None:
    _, plain = parts(url)
    assert await status(client, plain) == 403
    assert await status(client, f"{plain}?token=guess") == 403
    async with client.head(url) as answer:
        assert answer.status == 403  # a preview uses nothing up
    async with client.get(url, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, urlsplit(plain).path)
        cookie = answer.headers["Set-Cookie"]
        assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict", f"Path={urlsplit(plain).path}"))
    assert await status(client, plain) == 200
    assert await status(client, f"{plain}static/js/textual.js") == 200
    async with aiohttp.ClientSession() as stranger:
        assert await status(stranger, url) == 403
        assert await status(stranger, plain) == 403
        assert await status(stranger, plain, headers={"Cookie": "aios=guess"}) == 403


async def test_a_page_loads_nothing_from_elsewhere(url: str, client: aiohttp.ClientSession) -> None:
    origin, _ = parts(url)
    async with client.get(url) as answer:
        text = await answer.text()
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "http" not in text.replace(origin, "")


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Host": "localhost:1"}, {"Origin": "http://evil.example"}, {"Origin": "null"}],
    ids=str,
)
async def test_other_sites_are_refused(url: str, client: aiohttp.ClientSession, headers: dict[str, str]) -> None:
    _, plain = parts(url)
    assert await status(client, url, headers=headers) == 403
    assert await status(client, url) == 200
    assert await status(client, plain, headers=headers) == 403


@pytest.mark.parametrize("origin", [None, "http://127.0.0.1:1", "http://evil.example"])
async def test_a_socket_wants_cookie_and_origin(url: str, client: aiohttp.ClientSession, origin: str | None) -> None:
    here, plain = parts(url)
    for cookie, wanted in ((False, here), (True, origin)):
        if cookie:
            await status(client, url)
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.ws_connect(f"{plain}ws", origin=wanted)
        assert caught.value.status == 403


async def test_an_app_ends_with_its_tab(url: str, client: aiohttp.ClientSession, told: Path) -> None:
    origin, plain = parts(url)
    await status(client, url)
    async with client.ws_connect(f"{plain}ws?width=80&height=24", origin=origin) as tab:
        pid = await pid_of(tab, told)
        assert is_alive(pid)
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(30):
            async for _ in tab:  # until it is closed
                pass
    assert tab.closed
    assert not is_alive(pid)


async def pid_of(tab: aiohttp.ClientWebSocketResponse, told: Path) -> int:
    """Take in what the app draws until it has told its process id."""
    async with asyncio.timeout(60):
        while not lines(told):
            await tab.receive()
    return int(lines(told)[0])


def lines(told: Path) -> list[str]:
    return told.read_text().splitlines() if told.exists() else []


async def test_what_runs_ends_with_the_server(command: str, told: Path, client: aiohttp.ClientSession) -> None:
    async with serving(0, lambda: None, command) as url:
        origin, plain = parts(url)
        await status(client, url)
        tab = await client.ws_connect(f"{plain}ws", origin=origin)
        pid = await pid_of(tab, told)
        reading = asyncio.create_task(drain(tab))  # a browser answers when its socket is closed
    await reading
    assert not is_alive(pid)


async def drain(tab: aiohttp.ClientWebSocketResponse) -> None:
    async for _ in tab:
        pass


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
async def test_a_browser_shows_the_app_and_takes_keys(url: str, tmp_path: Path, told: Path) -> None:
    _, plain = parts(url)
    async with page(tmp_path / "profile") as tab:
        await tab.open(url)
        await tab.has_class("-first-byte")
        assert await tab.evaluate("location.href") == plain
        await tab.type("hello\r")
        await tab.has_class("-closed")
    assert lines(told)[1:] == ["hello"]


def test_the_command_tells_the_address_and_ends_with_ctrl_c(system: System) -> None:
    with system.popen("serve") as process:
        assert process.stdout is not None
        url = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert url.startswith("http://127.0.0.1:")
    assert (process.returncode, out) == (0, "")
    assert err == "aios: open this once, in a browser on this machine; Ctrl-C ends it, and the agents go on\n"


def test_a_taken_port_is_said_in_one_line(system: System) -> None:
    with system.popen("serve") as first:
        assert first.stdout is not None
        port = str(urlsplit(first.stdout.readline().strip()).port)
        second = system.run("serve", "--port", port)
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=30)
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr == f"aios: 127.0.0.1:{port}: Address already in use\n"
    assert first.returncode == 0


@pytest.mark.model
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
async def test_the_real_app_opens_in_a_browser_and_quits(system: System, tmp_path: Path) -> None:
    with system.popen("serve") as process:
        assert process.stdout is not None
        url = (await asyncio.to_thread(process.stdout.readline)).strip()
        async with page(tmp_path / "profile") as tab:
            await tab.open(url)
            await tab.has_class("-first-byte")
            await tab.type("q")
            await tab.has_class("-closed")
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.to_thread(process.communicate, timeout=30)
    assert process.returncode == 0
    assert err.splitlines()[1:] == ["aios: opened; the address above has done its work"]
