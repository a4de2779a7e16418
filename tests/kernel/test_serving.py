"""Clients that leave in the middle, and text that comes in pieces."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from aios_kernel.errors import BadRequest, KernelError
from aios_kernel.server import create_app
from aios_kernel.serving import streamed
from aios_kernel.sse import EventStream
from aios_kernel.syscalls.table import OnDelta

pytestmark = pytest.mark.anyio


class Lines:
    """Frames as lines of text."""

    def text(self, text: str) -> bytes:
        return f"text {text}\n".encode()

    def result(self, result: int) -> bytes:
        return f"result {result}\n".encode()

    def error(self, error: KernelError) -> bytes:
        raise error


def nobody() -> int:
    return 0


async def test_pieces_that_come_together_are_one_frame() -> None:
    async def work(on_delta: OnDelta) -> int:
        for piece in "abc":
            on_delta(piece)
        await asyncio.sleep(0)
        return 5

    assert [frame async for frame in streamed(work, Lines(), nobody)] == [b"text abc\n", b"result 5\n"]


async def test_closing_the_stream_cancels_the_work() -> None:
    cancelled = asyncio.Event()

    async def work(on_delta: OnDelta) -> int:
        on_delta("a")
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return 5

    frames = streamed(work, Lines(), nobody)
    assert await anext(frames) == b"text a\n"
    await frames.aclose()
    assert cancelled.is_set()


async def sent_by(stream: EventStream) -> tuple[list[Any], type[BaseException] | None]:
    """What it sends to a client that stays, and what it raises."""
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)
        await asyncio.sleep(0)

    async def receive() -> Any:
        await asyncio.Event().wait()

    try:
        await stream({"type": "http"}, receive, send)
    except KernelError as error:
        return messages, type(error)
    return messages, None


@pytest.mark.parametrize(("after", "sent"), [(nobody, 0), (lambda: 1, 2)], ids=["before", "after"])
async def test_an_error_before_the_first_event_is_no_stream_yet(after: Callable[[], int], sent: int) -> None:
    async def work(on_delta: OnDelta) -> int:
        if after():
            on_delta("a")
        await asyncio.sleep(0)
        raise BadRequest("no")

    messages, raised = await sent_by(EventStream(streamed(work, Lines(), nobody), patience_s=20))
    assert (len(messages), raised) == (sent, BadRequest)


async def test_a_stream_begins_when_patience_is_over() -> None:
    begun = asyncio.Event()

    async def events() -> AsyncIterator[bytes]:
        await begun.wait()
        yield b"a"

    stream = EventStream(events(), patience_s=0.01)  # type: ignore[arg-type]
    sending = asyncio.create_task(sent_by(stream))
    await asyncio.wait({sending}, timeout=0.2)
    begun.set()
    messages, raised = await sending
    assert ([message.get("body") for message in messages], raised) == ([None, b"a", b""], None)


async def answer(path: str, body: bytes, *, whole: bool) -> tuple[int, bytes]:
    """What the person's application answers to a POST; a client whose body is not whole leaves in the middle of it."""
    supervisor = SimpleNamespace(by_token=lambda _token: None, feed=feed)
    person = SimpleNamespace(matches=lambda _key: True)
    access = SimpleNamespace(person=feed, refuse=lambda *_: None)
    parts = dict.fromkeys(("snapshots", "memory", "storage", "tools", "embedding", "audit", "dispatcher"))
    kernel: Any = SimpleNamespace(version="0", supervisor=supervisor, person=person, access=access, **parts)
    headers = [(b"authorization", b"Bearer x")]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    coming = iter([{"type": "http.request", "body": body, "more_body": not whole}])
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(0)
        return next(coming, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    await create_app(kernel)(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]


async def feed(*_: object) -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize("path", ["/syscall", "/procs/1/stdin"])
async def test_a_client_that_leaves_within_its_body_is_no_error_of_ours(path: str) -> None:
    assert await answer(path, b"{", whole=False) == (499, b"")


async def test_bytes_that_are_no_text_are_a_bad_request() -> None:
    status, body = await answer("/syscall", b'{"name": "\xff"}', whole=True)
    assert (status, json.loads(body)["error"]["errno"]) == (400, "EINVAL")
