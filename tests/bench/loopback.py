"""A tiny server of OpenAI chat completions on loopback: real HTTP, a scripted model."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

SLOTS = 4


@dataclass
class Script:
    """What the server does. A user message that names a key of `errors` gets that status; "hang" is never answered,
    "cut" ends in the middle of the stream, "garbage" sends what is not JSON."""

    url: str = ""
    words: int = 3  # of each reply, at most max_tokens; a word is a token
    usage: bool = True
    errors: dict[str, int] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    together: int = 0  # requests under way at the same time, at most
    _now: int = 0

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        self.keys.append(request.headers.get("Authorization"))
        said = body["messages"][-1]["content"]
        for text, status in self.errors.items():
            if text in said:
                return web.json_response({"error": {"message": "as told"}}, status=status)
        self._now += 1
        self.together = max(self.together, self._now)
        try:
            return await self._stream(request, body, said)
        finally:
            self._now -= 1

    async def _stream(self, request: web.Request, body: dict[str, Any], said: str) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        if "garbage" in said:
            await answer.write(b"data: {not json\n\n")
        if "hang" in said:
            await answer.write(_event({"choices": [{"delta": {"content": "so"}}]}))
            await asyncio.Event().wait()  # until the client hangs up
        num = min(self.words, body["max_tokens"])
        await answer.write(_event({"choices": [{"delta": {"role": "assistant", "content": None}}]}))
        for number in range(num):
            await answer.write(_event({"choices": [{"delta": {"content": f" w{number}"}}]}))
            await asyncio.sleep(0)  # others get their turn
        if "cut" in said:
            return answer
        if self.usage:
            details = {"prompt_tokens": 10, "completion_tokens": num, "prompt_tokens_details": {"cached_tokens": 4}}
            await answer.write(_event({"choices": [], "usage": details}))
        await answer.write(b"data: [DONE]\n\n")
        return answer


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


@contextmanager
def serving(*, props: bool = True) -> Iterator[Script]:
    """The server, in a thread of its own. props: it tells its slots, as llama-server does."""
    script = Script()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", script.complete)
    app.router.add_get("/v1/models", _models)
    if props:
        app.router.add_get("/props", _props)
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)  # a client that hangs up ends it

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        script.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    loop.run_until_complete(start())

    async def stop() -> None:
        await runner.cleanup()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield script
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _models(_: web.Request) -> web.Response:
    return web.json_response({"data": [{"id": "/models/tiny.gguf"}]})


async def _props(_: web.Request) -> web.Response:
    return web.json_response({"total_slots": SLOTS})
