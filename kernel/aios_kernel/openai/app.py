"""The application that answers on TCP: the OpenAI-compatible routes and nothing of the person's."""

from __future__ import annotations

import logging
from typing import Any, Final

import msgspec
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from aios_kernel.daemon import Kernel
from aios_kernel.errors import BadRequest, InternalError, KernelError, NoSuchModel, NotAuthenticated
from aios_kernel.openai.conversation import Conversations, earlier, name_of
from aios_kernel.openai.reply import CompletionFrames, error_body, error_status
from aios_kernel.openai.request import Completion, chat_args, parse
from aios_kernel.protocol import ChatReply, EventKind, ModelInfo, RunRequest, SyscallRequest
from aios_kernel.serving import bearer, json_reply, on_gone, read_json, streamed, while_connected
from aios_kernel.sse import KEEP_ALIVE_S, EventStream
from aios_kernel.syscalls.table import OnDelta

log = logging.getLogger(__name__)

AGENT: Final = "http"  # what `ps` calls these processes
DEFAULT_MODEL: Final = "default"


def create_app(kernel: Kernel) -> FastAPI:
    """The application over one kernel. It describes itself to nobody."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    conversations = Conversations()
    for kind, handler in _ERROR_HANDLERS.items():
        app.add_exception_handler(kind, handler)

    @app.get("/health")
    async def health() -> Response:
        """Tell, to anybody, whether the model can answer: 200, or 503 while it loads and when it failed."""
        state = kernel.llm.state.partition(":")[0]  # why it failed is not for anybody
        return json_reply({"status": "ok" if state == "ready" else state}, 200 if state == "ready" else 503)

    @app.get("/v1/models")
    async def models(request: Request) -> Response:
        """List the model that answers."""
        _authenticate(kernel, request)
        model = kernel.llm.model
        return json_reply({"object": "list", "data": [_entry(kernel, model)] if model else []})

    @app.get("/v1/models/{name:path}")
    async def model(request: Request, name: str) -> Response:
        """Tell of the model that answers, by its name; 404 for any other."""
        _authenticate(kernel, request)
        await _check_model(kernel, name)
        if kernel.llm.model is None:
            raise NoSuchModel(f"The model {name!r} does not exist: this kernel runs none", key="model")
        return json_reply(_entry(kernel, kernel.llm.model))

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        """Answer messages, as a process of its own in the key's group."""
        group = _authenticate(kernel, request)
        completion = parse(await read_json(request))
        await _check_model(kernel, completion.model)
        model = kernel.llm.model.ref if kernel.llm.model else ""
        frames = CompletionFrames(model, int(kernel.clock.now()), completion.include_usage)
        running = _Running(kernel, conversations, completion, group, frames)
        if completion.stream:
            return EventStream(streamed(running, frames, lambda: kernel.llm.num_active), patience_s=KEEP_ALIVE_S)
        reply = await while_connected(request, running(lambda _text: None))
        return Response(frames.whole(reply), media_type="application/json")

    return app


class _Running:
    """One completion as a virtual process, whose only syscall is llm.chat."""

    def __init__(
        self,
        kernel: Kernel,
        conversations: Conversations,
        completion: Completion,
        group: str,
        frames: CompletionFrames,
    ) -> None:
        """Raises BadRequest for what llm.chat cannot be asked."""
        self._kernel, self._frames = kernel, frames
        self._conversations = conversations
        self._request = RunRequest(AGENT, completion.task, group=group)
        self._args = chat_args(completion)
        self._max_tokens = completion.max_reply

    async def __call__(self, on_delta: OnDelta) -> ChatReply:
        kernel, group, messages = self._kernel, self._request.group, self._args["messages"]
        async with kernel.supervisor.virtual(self._request) as life:
            process = life.process
            self._frames.pid = process.pid
            process.program = self._conversations.began(group, messages, process.pid)
            kernel.llm.inherit(process.pid, earlier(group, messages))
            spec = kernel.llm.spec or await kernel.llm.ready()
            max_tokens = min(self._max_tokens or spec.window, spec.window)
            call = SyscallRequest("llm.chat", {**self._args, "max_tokens": max_tokens})
            reply = msgspec.json.decode(await kernel.dispatcher.dispatch(life, call, on_delta), type=ChatReply)
            life.log.append_nowait(EventKind.STDOUT, reply.text.encode())  # for `logs`; its client does not wait for it
            life.keep = name_of(group, messages, reply)
            return reply


def _entry(kernel: Kernel, model: ModelInfo) -> dict[str, object]:
    """A model as `GET /v1/models` tells of it."""
    return {"id": model.ref, "object": "model", "created": int(kernel.clock.now()), "owned_by": model.origin}


async def _check_model(kernel: Kernel, name: str | None) -> None:
    """Raises NoSuchModel for one that this kernel does not run now."""
    llm = kernel.llm
    if llm.model is None or name in (None, DEFAULT_MODEL, llm.model.ref):
        return
    spec = llm.spec or await llm.ready()
    if name != spec.name:
        raise NoSuchModel(f"The model {name!r} does not exist: this kernel runs {llm.model.ref}", key="model")


def _authenticate(kernel: Kernel, request: Request) -> str:
    """The group whose key the request carries. Raises NotAuthenticated, which is in the audit log."""
    try:
        group = kernel.keys.group_of(bearer(request))
        if group is None:
            raise NotAuthenticated("Incorrect API key provided: `aios kernel key` prints the right one")
    except NotAuthenticated as error:
        kernel.access.refuse(f"{request.method} {request.url.path} (TCP)", error.message)
        raise
    return group


async def _on_kernel_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, KernelError)
    return json_reply(error_body(error), error_status(error))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}"
    return json_reply(error_body(BadRequest(message), error.status_code), error.status_code)


async def _on_bug(request: Request, error: Exception) -> Response:
    """The server logs the traceback: Starlette raises the exception again after this reply."""
    failure = InternalError(f"{request.method} {request.url.path}: {type(error).__name__}: {error}")
    return json_reply(error_body(failure), 500)


_ERROR_HANDLERS: Final[dict[type[Exception], Any]] = {
    KernelError: _on_kernel_error,
    ClientDisconnect: on_gone,
    HTTPException: _on_http,
    Exception: _on_bug,
}
