"""What every HTTP face of the kernel needs: bodies with a limit, work that ends with its client, streamed text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Final, Protocol, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from aios_kernel.errors import Cancelled, KernelError, NotAuthenticated
from aios_kernel.sse import until_gone
from aios_kernel.syscalls.table import OnDelta

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

NOT_JSON: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # what msgspec.json.decode raises
MAX_BODY_BYTES: Final = 16 << 20  # some times the text of the largest context window
# Brackets and braces, in texts too. Reading this many takes the event loop 0.1 s, 5 million 5 s (2 cores, AVX2).
MAX_CONTAINERS: Final = 200_000
FRAMES_PER_S: Final = 30  # of streamed text, over all streams: each costs the model a fraction of a millisecond twice
FRAME_MAX_S: Final = 0.25  # however many stream


def json_reply(value: object, status: int = 200) -> Response:
    """msgspec writes a reply in microseconds; a route's `response_model` only draws the schema."""
    return Response(msgspec.json.encode(value, enc_hook=str), status, media_type="application/json")


class Frames(Protocol[T_contra]):
    """How streamed work looks on the wire."""

    def text(self, text: str) -> bytes: ...

    def result(self, result: T_contra) -> bytes: ...

    def error(self, error: KernelError) -> bytes: ...


async def streamed(
    work: Callable[[OnDelta], Coroutine[Any, Any, T]], frames: Frames[T], num_active: Callable[[], int]
) -> AsyncGenerator[bytes, None]:
    """Run `work` and yield its text as it comes, pieces that come close together in one frame; then how it ended.

    Closing the generator cancels the work. num_active: generations that share the cores with the frames' making.
    """
    texts: list[str] = []
    news = asyncio.Event()

    def on_delta(text: str) -> None:
        texts.append(text)
        news.set()

    task = asyncio.create_task(work(on_delta))
    task.add_done_callback(lambda _: news.set())
    try:
        while not task.done() or texts:
            await news.wait()
            news.clear()
            if texts:
                joined = "".join(texts)
                texts.clear()
                yield frames.text(joined)
                await asyncio.wait({task}, timeout=min(FRAME_MAX_S, num_active() / FRAMES_PER_S))
        yield frames.result(await outcome(task))
    except KernelError as error:
        yield frames.error(error)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Result of `work`, which is cancelled when the client goes away first. Raises what it raises, or Cancelled."""
    task = asyncio.create_task(work)
    leaving = asyncio.create_task(until_gone(request.receive))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
        return await outcome(task)
    finally:
        task.cancel()
        leaving.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)


async def outcome(task: asyncio.Task[T]) -> T:
    """A task's result, where its own cancellation is an error like others and not ours."""
    await asyncio.wait({task})
    if task.cancelled():
        raise Cancelled("cancelled: the process or its caller has ended")
    return task.result()


async def read_body(request: Request) -> bytes:
    """The request's body. Raises ClientDisconnect, or HTTPException 413 for one that is longer than any honest one."""
    body = bytearray()
    async for data in request.stream():
        if len(body) <= MAX_BODY_BYTES:  # the rest is read all the same: who still sends would not hear the error
            body += data
    if len(body) > MAX_BODY_BYTES:
        raise HTTPException(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
    return bytes(body)


async def read_json(request: Request) -> bytes:
    """A body that is to be JSON. Raises as `read_body` does, 413 for more lists and objects than MAX_CONTAINERS too."""
    body = await read_body(request)
    if body.count(b"[") + body.count(b"{") > MAX_CONTAINERS:
        raise HTTPException(413, f"the body has more than {MAX_CONTAINERS} lists and objects: send text as base64")
    return body


async def on_gone(_: Request, __: Exception) -> Response:
    """For ClientDisconnect, of one that went away before its body was whole: nobody hears this."""
    return Response(status_code=499)


def bearer(request: Request) -> str:
    """The token or key that the request carries. Raises NotAuthenticated without one."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise NotAuthenticated("the request carries no key: Authorization: Bearer …")
    return token
