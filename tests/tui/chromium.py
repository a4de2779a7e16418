"""Debian's chromium without a window, driven by its DevTools protocol."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Longest that a step may take on a loaded machine before it counts as hung.
STEP_DEADLINE_S = 60

# Resolves when the body has the class, which is how textual-serve's page tells of its state.
_HAS_CLASS = """
new Promise(done => {
  const look = () => document.body && document.body.classList.contains(%s) && (observer.disconnect(), done(true));
  const observer = new MutationObserver(look);
  observer.observe(document, {attributes: true, subtree: true, childList: true});
  look();
})
"""


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._ids = socket, itertools.count()

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        async with asyncio.timeout(STEP_DEADLINE_S):
            await self._socket.send_json({"id": number, "method": method, "params": params})
            while True:
                answer = json.loads(await self._socket.receive_str())
                if answer.get("id") == number:
                    assert "error" not in answer, answer
                    return answer["result"]

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def evaluate(self, script: str) -> Any:
        answer = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def has_class(self, name: str) -> None:
        await self.evaluate(_HAS_CLASS % json.dumps(name))

    async def type(self, text: str) -> None:
        for char in text:
            key = {"\r": "Enter"}.get(char, char)
            await self.call(
                "Input.dispatchKeyEvent", type="keyDown", text=char, key=key, windowsVirtualKeyCode=ord(char.upper())
            )
            await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)


@contextlib.asynccontextmanager
async def page(profile: Path) -> AsyncIterator[Page]:
    """A tab of a browser that starts with the folder `profile` and ends with the block."""
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        "--headless=new",
        "--no-sandbox",  # tests may run as root, in a container
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        "about:blank",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        port = await _devtools_port(process)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                target = next(item for item in await answer.json() if item["type"] == "page")
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                yield Page(socket)
    finally:
        process.terminate()
        await process.communicate()


async def _devtools_port(process: asyncio.subprocess.Process) -> int:
    assert process.stderr is not None
    async with asyncio.timeout(STEP_DEADLINE_S):
        async for line in process.stderr:
            if b"DevTools listening on ws://127.0.0.1:" in line:
                return int(line.split(b":")[2].split(b"/")[0])
    raise AssertionError("chromium ended")
