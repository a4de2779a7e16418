"""The kernel's HTTP face: thin routes, one shape of error, event streams."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter
from starlette.exceptions import HTTPException

from aios_kernel import protocol as p
from aios_kernel.daemon import Kernel
from aios_kernel.errors import (
    BadRequest,
    Cancelled,
    InternalError,
    KernelError,
    NotAuthenticated,
    NotPermitted,
    row_of,
    to_wire,
)
from aios_kernel.life import Life
from aios_kernel.sse import EventStream, sse, until_gone
from aios_kernel.supervisor import Supervisor
from aios_kernel.syscall import parse_args

log = logging.getLogger(__name__)

JSON: Final = "application/json"
MAX_BODY_BYTES: Final = 16 << 20  # of a syscall: some times the text of the largest context window
FRAMES_PER_S: Final = 30  # of streamed text, over all streams: each costs the model a fraction of a millisecond twice
FRAME_MAX_S: Final = 0.25  # however many stream

_SYSCALL_BODY: Final = {
    "requestBody": {"required": True, "content": {JSON: {"schema": TypeAdapter(p.SyscallRequest).json_schema()}}}
}


def create_app(kernel: Kernel) -> FastAPI:
    """The application over one kernel. It has no state of its own."""
    app = FastAPI(title="AIOS kernel", version=kernel.version, docs_url=None, redoc_url=None)
    for kind, handler in _ERROR_HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.include_router(_person_routes(kernel))
    app.include_router(_process_routes(kernel))
    app.include_router(_stream_routes(kernel))
    app.include_router(_syscall_routes(kernel))
    return app


def _json(value: object, status: int = 200) -> Response:
    """msgspec writes a reply in microseconds; `response_model` only draws the schema."""
    return Response(msgspec.json.encode(value, enc_hook=str), status, media_type=JSON)


def _person_only(request: Request) -> None:
    """An agent carries a token, a person does not: the socket is theirs alone. Raises NotPermitted."""
    if "authorization" in request.headers:
        raise NotPermitted("an agent's token opens POST /syscall only")


def _person_routes(kernel: Kernel) -> APIRouter:
    routes = APIRouter(dependencies=[Depends(_person_only)])

    @routes.get("/kernel", response_model=p.KernelStatus)
    async def status() -> Response:
        """Tell what the kernel runs and how it is doing."""
        return _json(kernel.status())

    @routes.post("/kernel/stop")
    async def stop() -> Response:
        """Stop the kernel: every process gets TERM, then KILL. Answers at once."""
        kernel.request_stop()
        return _json(None)

    @routes.get("/models", response_model=list[p.ModelInfo])
    async def models() -> Response:
        """List the model files on this machine; the current one is marked."""
        return _json(await kernel.models())

    @routes.put("/model", response_model=p.ModelInfo)
    async def use_model(body: p.ModelRequest) -> Response:
        """Change the model, now and for kernels to come; refused while a generation is under way."""
        return _json(await kernel.use_model(body.ref))

    @routes.get("/sched", response_model=p.SchedInfo)
    async def sched() -> Response:
        """Tell the scheduling policy, its quantum, and the policies there are."""
        return _json(kernel.llm.sched())

    @routes.put("/sched", response_model=p.SchedInfo)
    async def set_sched(body: p.SchedRequest) -> Response:
        """Change the policy or its quantum while everything runs."""
        return _json(await kernel.llm.set_sched(body.policy, body.quantum))

    @routes.get("/queue", response_model=list[p.QueueEntry])
    async def queue() -> Response:
        """List the generations that run, wait or are suspended, and whom each waits for."""
        return _json(kernel.llm.queue())

    @routes.get("/snapshots", response_model=list[p.SnapshotInfo])
    async def snapshots() -> Response:
        """List the contexts that are off their slots, with their sizes."""
        return _json(kernel.llm.snapshots())

    @routes.get("/agents", response_model=list[p.AgentInfo])
    async def agents() -> Response:
        """List the installed agents, bundled and the user's own."""
        return _json(await kernel.host.agents())

    return routes


def _process_routes(kernel: Kernel) -> APIRouter:
    routes = APIRouter(prefix="/procs", dependencies=[Depends(_person_only)])
    supervisor = kernel.supervisor

    @routes.post("", response_model=p.Started)
    async def run(body: p.RunRequest) -> Response:
        """Start an agent; answers with its pid once its OS process runs."""
        return _json(p.Started(await supervisor.run(body)))

    @routes.get("", response_model=list[p.ProcInfo])
    async def procs(all: bool = False) -> Response:
        """List the living processes and zombies; with `all` also those that have exited."""
        return _json(await supervisor.census.infos(all=all))

    @routes.get("/{pid}", response_model=p.ProcInfo)
    async def proc(pid: int) -> Response:
        """Tell about one process, living or ended."""
        return _json(await supervisor.census.info(pid))

    @routes.post("/{pid}/signal", response_model=p.ProcInfo)
    async def signal(pid: int, body: p.SignalRequest) -> Response:
        """Deliver a signal; STOP answers once the context is off its slot."""
        return _json(await supervisor.signal(pid, body.signal))

    @routes.post("/{pid}/nice", response_model=p.ProcInfo)
    async def nice(pid: int, body: p.NiceRequest) -> Response:
        """Change the nice value of a living process."""
        return _json(await supervisor.set_nice(pid, body.nice))

    @routes.get("/{pid}/wait", response_model=p.ProcInfo)
    async def wait(
        request: Request, pid: int, state: p.ProcState = p.ProcState.EXITED, timeout_s: float | None = None
    ) -> Response:
        """Answer when the process is in `state` or has ended, or with ETIME after `timeout_s`."""
        if timeout_s is not None and not timeout_s >= 0:  # NaN is neither
            raise BadRequest(f"timeout_s = {timeout_s:g}: must be 0 or more", key="timeout_s")
        return _json(await _while_connected(request, supervisor.wait(pid, state, timeout_s)))

    @routes.post("/{pid}/mail")
    async def mail(pid: int, body: p.Mail) -> Response:
        """Put a message into the process's mailbox, as from a person."""
        supervisor.mail(pid, p.Mail(body.text))  # from a person, whatever the body says
        return _json(None)

    return routes


def _stream_routes(kernel: Kernel) -> APIRouter:
    routes = APIRouter(prefix="/procs", dependencies=[Depends(_person_only)])
    supervisor = kernel.supervisor

    @routes.get("/{pid}/events", response_class=Response)
    async def events(pid: int, follow: bool = False, after: int = -1, kinds: str | None = None) -> Response:
        """Stream the process's events from seq `after` on; with `follow` live, up to its EXIT event."""
        wanted = _kinds(kinds)
        pages = await supervisor.events(pid, after=after, follow=follow)

        async def lines() -> AsyncGenerator[bytes, None]:
            async for page in pages:
                body = b"".join(sse("event", event) for event in page if event.kind in wanted)
                if body:
                    yield body

        return EventStream(lines())

    @routes.post("/{pid}/stdin")
    async def feed(request: Request, pid: int, eof: bool = False) -> Response:
        """Write the body to the agent's standard input as fast as it reads; `eof` closes it afterwards."""
        await _feed(supervisor, pid, request.stream())
        if eof:
            await supervisor.end_stdin(pid)
        return _json(None)

    return routes


async def _feed(supervisor: Supervisor, pid: int, body: AsyncIterator[bytes]) -> None:
    """Pass a request's body to the agent; it is read only as fast as the agent reads."""
    try:
        async for data in body:
            if data:
                await supervisor.feed(pid, data)
    except KernelError:
        async for _ in body:  # a client that still sends would not hear the error
            pass
        raise


def _syscall_routes(kernel: Kernel) -> APIRouter:
    routes = APIRouter()

    @routes.post("/syscall", openapi_extra=_SYSCALL_BODY)
    async def syscall(request: Request) -> Response:
        """Make a syscall in the name of the process whose token is the bearer."""
        life = kernel.supervisor.by_token(_bearer(request))
        try:
            raw = msgspec.json.decode(await _body(request), type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError) as error:
            raise BadRequest(f"the body is not a JSON object: {error}") from error
        call: p.SyscallRequest = parse_args("syscall", raw, p.SyscallRequest)
        if call.stream:
            return EventStream(_stream_syscall(kernel, life, call))
        result = await _while_connected(request, kernel.dispatcher.dispatch(life, call, lambda _text: None))
        return _json({"result": result})

    return routes


async def _stream_syscall(kernel: Kernel, life: Life, call: p.SyscallRequest) -> AsyncGenerator[bytes, None]:
    """Deltas as they come, those that come close together in one frame; then the result or the error."""
    texts: list[str] = []
    news = asyncio.Event()

    def on_delta(text: str) -> None:
        texts.append(text)
        news.set()

    task = asyncio.create_task(kernel.dispatcher.dispatch(life, call, on_delta))
    task.add_done_callback(lambda _: news.set())
    try:
        while not task.done() or texts:
            await news.wait()
            news.clear()
            if texts:
                joined = "".join(texts)
                texts.clear()
                yield sse("delta", {"text": joined})
                await asyncio.wait({task}, timeout=min(FRAME_MAX_S, kernel.llm.num_active / FRAMES_PER_S))
        yield sse("result", {"result": await _outcome(task)})
    except KernelError as error:
        yield sse("error", {"error": to_wire(error)})
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _while_connected(request: Request, work: Coroutine[Any, Any, Any]) -> Any:
    """Result of `work`, which is cancelled when the client goes away first. Raises what it raises, or Cancelled."""
    task = asyncio.create_task(work)
    leaving = asyncio.create_task(until_gone(request.receive))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
        return await _outcome(task)
    finally:
        task.cancel()
        leaving.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)


async def _outcome(task: asyncio.Task[Any]) -> Any:
    """A task's result, where its own cancellation is an error like others and not ours."""
    await asyncio.wait({task})
    if task.cancelled():
        raise Cancelled("cancelled: the process or its caller has ended")
    return task.result()


async def _body(request: Request) -> bytes:
    """An agent's request body. Raises BadRequest for one that is longer than any honest one."""
    body = bytearray()
    async for data in request.stream():
        if len(body) <= MAX_BODY_BYTES:  # the rest is read all the same: who still sends would not hear the error
            body += data
    if len(body) > MAX_BODY_BYTES:
        raise BadRequest(f"the body is longer than {MAX_BODY_BYTES} bytes", limit=MAX_BODY_BYTES)
    return bytes(body)


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise NotAuthenticated("a syscall carries its process's token: Authorization: Bearer …")
    return token


def _kinds(names: str | None) -> frozenset[p.EventKind]:
    try:
        return frozenset(map(p.EventKind, names.split(","))) if names else frozenset(p.EventKind)
    except ValueError as error:
        accepted = ", ".join(p.EventKind)
        raise BadRequest(f"kinds = {names}: each must be one of {accepted}", key="kinds") from error


async def _on_kernel_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, KernelError)
    return _json({"error": to_wire(error)}, row_of(error).http)


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    return _json({"error": to_wire(BadRequest(f"{path + ': ' if path else ''}{first['msg']}", key=path))}, 400)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}"
    return _json({"error": to_wire(BadRequest(message))}, error.status_code)


async def _on_bug(request: Request, error: Exception) -> Response:
    """The server logs the traceback: Starlette raises the exception again after this reply."""
    message = f"{request.method} {request.url.path}: {type(error).__name__}: {error}"
    return _json({"error": to_wire(InternalError(message))}, 500)


_ERROR_HANDLERS: Final[dict[type[Exception], Any]] = {
    KernelError: _on_kernel_error,
    RequestValidationError: _on_invalid,
    HTTPException: _on_http,
    Exception: _on_bug,
}
