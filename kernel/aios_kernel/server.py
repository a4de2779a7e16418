"""The kernel's HTTP face: thin routes, one shape of error, event streams."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from typing import Any, BinaryIO, Final

import msgspec
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse

from aios_kernel import protocol as p
from aios_kernel.admission import check_group
from aios_kernel.daemon import Kernel
from aios_kernel.errors import (
    BadRequest,
    InternalError,
    KernelError,
    NotAuthenticated,
    row_of,
    to_wire,
)
from aios_kernel.person import person_only
from aios_kernel.process import Process
from aios_kernel.routes_access import access_routes, policy_routes
from aios_kernel.routes_memory import memory_routes
from aios_kernel.routes_storage import storage_routes
from aios_kernel.routes_tools import tool_routes
from aios_kernel.serving import NOT_JSON, bearer, json_reply, on_gone, read_json, streamed, while_connected
from aios_kernel.snapshots import BLOCK_BYTES
from aios_kernel.sse import EventStream, sse
from aios_kernel.supervisor import Supervisor
from aios_kernel.syscalls.table import parse_args
from aios_kernel.watch import watch

log = logging.getLogger(__name__)

JSON: Final = "application/json"

_PID: Final = re.compile(r"([0-9]{1,18})(-[0-9]+)?")  # the second part numbers the times it left its slot

_SYSCALL_BODY: Final = {
    "requestBody": {"required": True, "content": {JSON: {"schema": TypeAdapter(p.SyscallRequest).json_schema()}}}
}


def create_app(kernel: Kernel) -> FastAPI:
    """The application over one kernel. It has no state of its own."""
    app = FastAPI(title="AIOS kernel", version=kernel.version, docs_url=None, redoc_url=None)
    for kind, handler in _ERROR_HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.include_router(_person_routes(kernel))
    app.include_router(_scheduling_routes(kernel))
    app.include_router(_snapshot_routes(kernel))
    app.include_router(_process_routes(kernel))
    app.include_router(_stream_routes(kernel))
    app.include_router(_syscall_routes(kernel))
    app.include_router(access_routes(kernel))
    app.include_router(memory_routes(kernel))
    app.include_router(tool_routes(kernel))
    app.include_router(policy_routes(kernel))
    app.include_router(storage_routes(kernel))
    return app


def _person_routes(kernel: Kernel) -> APIRouter:
    routes = APIRouter(dependencies=[Depends(person_only(kernel))])

    @routes.get("/kernel", response_model=p.KernelStatus)
    async def status() -> Response:
        """Tell what the kernel runs and how it is doing."""
        return json_reply(kernel.status())

    @routes.post("/kernel/stop")
    async def stop() -> Response:
        """Stop the kernel: every process gets TERM, then KILL. Answers at once."""
        kernel.request_stop()
        return json_reply(None)

    @routes.post("/keys", response_model=p.KeyInfo)
    async def key(body: p.KeyRequest) -> Response:
        """Tell a group's key for foreign clients, made when there is none."""
        check_group(body.group)
        return json_reply(p.KeyInfo(kernel.keys.of(body.group, new=body.new), body.group, kernel.url))

    @routes.get("/models", response_model=list[p.ModelInfo])
    async def models() -> Response:
        """List the model files on this machine; the current one is marked."""
        return json_reply(await kernel.models())

    @routes.put("/model", response_model=p.ModelInfo)
    async def use_model(body: p.ModelRequest) -> Response:
        """Change the model, now and for kernels to come; refused while a generation is under way."""
        return json_reply(await kernel.use_model(body.ref))

    @routes.get("/agents", response_model=list[p.AgentInfo])
    async def agents() -> Response:
        """List the installed agents, bundled and the user's own."""
        return json_reply(await kernel.host.agents())

    return routes


def _scheduling_routes(kernel: Kernel) -> APIRouter:
    routes = APIRouter(dependencies=[Depends(person_only(kernel))])

    @routes.get("/sched", response_model=p.SchedInfo)
    async def sched() -> Response:
        """Tell the scheduling policy, its quantum, and the policies there are."""
        return json_reply(kernel.llm.sched())

    @routes.put("/sched", response_model=p.SchedInfo)
    async def set_sched(body: p.SchedRequest) -> Response:
        """Change the policy or its quantum while everything runs."""
        return json_reply(await kernel.llm.set_sched(body.policy, body.quantum))

    @routes.get("/queue", response_model=list[p.QueueEntry])
    async def queue() -> Response:
        """List the generations that run, wait or are suspended, and whom each waits for."""
        return json_reply(kernel.llm.queue())

    @routes.get("/watch", response_class=Response)
    async def live(hz: float = 10.0) -> Response:
        """Stream what changes as `frame` events, at most `hz` a second; the first frame tells of everything."""
        return EventStream(await watch(kernel, hz))

    return routes


def _snapshot_routes(kernel: Kernel) -> APIRouter:
    routes = APIRouter(prefix="/snapshots", dependencies=[Depends(person_only(kernel))])
    supervisor, snapshots = kernel.supervisor, kernel.snapshots

    def living(id: str) -> Process | None:
        """The process whose context an id is of: a pid, or what the list calls it; None for a saved one's name."""
        match = _PID.fullmatch(id)
        return supervisor.living(int(match.group(1))).process if match else None

    @routes.get("", response_model=list[p.SnapshotInfo])
    async def ls() -> Response:
        """List the saved contexts, and those of living processes that are off their slots."""
        return json_reply([*await snapshots.infos(), *supervisor.census.swapped()])

    @routes.post("", response_model=p.SnapshotInfo)
    async def save(body: p.SaveRequest) -> Response:
        """Keep a living process's context as it is now; what it generates goes on."""
        return json_reply(await snapshots.save(supervisor.living(body.pid).process, body.name, force=body.force))

    @routes.get("/{id}", response_model=p.SnapshotDetail)
    async def show(id: str) -> Response:
        """Tell all of a saved context, or of a living process's as it is now, by its pid."""
        return json_reply(await snapshots.detail(id, living(id)))

    @routes.delete("/{id}")
    async def rm(id: str) -> Response:
        """Remove a saved context."""
        await snapshots.remove(id)
        return json_reply(None)

    @routes.get("/{id}/file", response_class=Response)
    async def export(id: str) -> Response:
        """Send one as a file that another kernel with the same model can go on from."""
        process = living(id)
        return _file(snapshots.open(id) if process is None else await snapshots.open_living(process))

    @routes.post("/file", response_model=p.SnapshotInfo)
    async def receive(request: Request, name: str | None = None, force: bool = False) -> Response:
        """Keep the file that the body is, once all of it has been checked."""
        try:
            return json_reply(await snapshots.receive(request.stream(), name, force=force))
        except KernelError as error:
            reply = json_reply({"error": to_wire(error)}, row_of(error).http)
            reply.headers["Connection"] = "close"  # so that a client which still sends need not go on
            return reply

    return routes


def _file(file: BinaryIO) -> Response:
    """An open file as a reply, read off the event loop."""

    async def blocks() -> AsyncGenerator[bytes, None]:
        with file:
            while block := await asyncio.to_thread(file.read, BLOCK_BYTES):
                yield block

    size = os.fstat(file.fileno()).st_size
    return StreamingResponse(blocks(), headers={"Content-Length": str(size)}, media_type="application/octet-stream")


def _process_routes(kernel: Kernel) -> APIRouter:
    routes = APIRouter(prefix="/procs", dependencies=[Depends(person_only(kernel))])
    supervisor = kernel.supervisor

    @routes.post("", response_model=p.Started)
    async def run(body: p.RunRequest) -> Response:
        """Start an agent; answers with its pid once its OS process runs."""
        return json_reply(p.Started(await supervisor.run(body)))

    @routes.get("", response_model=list[p.ProcInfo])
    async def procs(all: bool = False) -> Response:
        """List the living processes and zombies; with `all` also those that have exited."""
        return json_reply(await supervisor.census.infos(all=all))

    @routes.get("/{pid}", response_model=p.ProcInfo)
    async def proc(pid: int) -> Response:
        """Tell about one process, living or ended."""
        return json_reply(await supervisor.census.info(pid))

    @routes.post("/{pid}/signal", response_model=p.ProcInfo)
    async def signal(pid: int, body: p.SignalRequest) -> Response:
        """Deliver a signal; STOP answers once the context is off its slot."""
        return json_reply(await supervisor.signal(pid, body.signal))

    @routes.post("/{pid}/nice", response_model=p.ProcInfo)
    async def nice(pid: int, body: p.NiceRequest) -> Response:
        """Change the nice value of a living process."""
        return json_reply(await supervisor.set_nice(pid, body.nice))

    @routes.get("/{pid}/wait", response_model=p.ProcInfo)
    async def wait(
        request: Request, pid: int, state: p.ProcState = p.ProcState.EXITED, timeout_s: float | None = None
    ) -> Response:
        """Answer when the process is in `state` or has ended, or with ETIME after `timeout_s`."""
        if timeout_s is not None and not timeout_s >= 0:  # NaN is neither
            raise BadRequest(f"timeout_s = {timeout_s:g}: must be 0 or more", key="timeout_s")
        return json_reply(await while_connected(request, supervisor.wait(pid, state, timeout_s)))

    @routes.post("/{pid}/mail")
    async def mail(pid: int, body: p.Mail) -> Response:
        """Put a message into the process's mailbox, as from a person."""
        supervisor.mail(pid, p.Mail(body.text))  # from a person, whatever the body says
        return json_reply(None)

    return routes


def _stream_routes(kernel: Kernel) -> APIRouter:
    routes = APIRouter(prefix="/procs", dependencies=[Depends(person_only(kernel))])
    supervisor = kernel.supervisor

    @routes.get("/{pid}/events", response_class=Response)
    async def events(pid: int, follow: bool = False, after: int = -1, kinds: str | None = None) -> Response:
        """Stream the process's events from seq `after` on; with `follow` live, up to its EXIT event."""
        wanted = _kinds(kinds)
        pages = await supervisor.events(pid, after=after, follow=follow)

        async def lines() -> AsyncGenerator[bytes, None]:
            try:
                async for page in pages:
                    body = b"".join(sse("event", event) for event in page if event.kind in wanted)
                    if body:
                        yield body
            except KernelError as error:
                yield sse("error", {"error": to_wire(error)})

        return EventStream(lines())

    @routes.post("/{pid}/stdin")
    async def feed(request: Request, pid: int, eof: bool = False) -> Response:
        """Write the body to the agent's standard input as fast as it reads; `eof` closes it afterwards."""
        await _feed(supervisor, pid, request.stream())
        if eof:
            await supervisor.end_stdin(pid)
        return json_reply(None)

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
        try:
            life = kernel.supervisor.by_token(bearer(request))
        except NotAuthenticated as error:
            kernel.access.refuse("POST /syscall", error.message)
            raise
        try:
            raw = msgspec.json.decode(await read_json(request), type=dict[str, Any])
        except NOT_JSON as error:
            raise BadRequest(f"the body is not a JSON object: {error}") from error
        call: p.SyscallRequest = parse_args("syscall", raw, p.SyscallRequest)
        if call.stream:
            work = partial(kernel.dispatcher.dispatch, life, call)
            return EventStream(streamed(work, _SyscallFrames(), lambda: kernel.llm.num_active))
        result = await while_connected(request, kernel.dispatcher.dispatch(life, call, lambda _text: None))
        return json_reply({"result": result})

    return routes


class _SyscallFrames:
    """A streamed syscall as `delta` events, then one `result` or `error`."""

    def text(self, text: str) -> bytes:
        return sse("delta", {"text": text})

    def result(self, result: msgspec.Raw) -> bytes:
        return sse("result", {"result": result})

    def error(self, error: KernelError) -> bytes:
        return sse("error", {"error": to_wire(error)})


def _kinds(names: str | None) -> frozenset[p.EventKind]:
    try:
        return frozenset(map(p.EventKind, names.split(","))) if names else frozenset(p.EventKind)
    except ValueError as error:
        accepted = ", ".join(p.EventKind)
        raise BadRequest(f"kinds = {names}: each must be one of {accepted}", key="kinds") from error


async def _on_kernel_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, KernelError)
    return json_reply({"error": to_wire(error)}, row_of(error).http)


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    return json_reply({"error": to_wire(BadRequest(f"{path + ': ' if path else ''}{first['msg']}", key=path))}, 400)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}"
    return json_reply({"error": to_wire(BadRequest(message))}, error.status_code)


async def _on_bug(request: Request, error: Exception) -> Response:
    """The server logs the traceback: Starlette raises the exception again after this reply."""
    message = f"{request.method} {request.url.path}: {type(error).__name__}: {error}"
    return json_reply({"error": to_wire(InternalError(message))}, 500)


_ERROR_HANDLERS: Final[dict[type[Exception], Any]] = {
    KernelError: _on_kernel_error,
    ClientDisconnect: on_gone,
    RequestValidationError: _on_invalid,
    HTTPException: _on_http,
    Exception: _on_bug,
}
