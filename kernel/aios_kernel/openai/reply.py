"""What a foreign client gets back: completions, chunks of a stream, errors, each in OpenAI's form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from aios_kernel.errors import KernelError, NoSuchModel, NotAuthenticated, PromptTooLong, row_of
from aios_kernel.protocol import ChatReply, ToolCall

# Clients take decisions by these; for other errors the kernel's errno is the code.
_CODES: Final[dict[type[KernelError], str]] = {
    PromptTooLong: "context_length_exceeded",
    NotAuthenticated: "invalid_api_key",
    NoSuchModel: "model_not_found",
}
_TYPES: Final = {403: "permission_error", 409: "conflict_error", 429: "rate_limit_error", 499: "cancelled_error"}
_PARAMS: Final = {"json_schema": "response_format"}  # where llm.chat has another name


@dataclass(slots=True)
class CompletionFrames:
    """One completion's replies, plain or streamed. `pid` is set once its process exists, before any text."""

    model: str
    created: int
    include_usage: bool
    pid: int = 0
    _begun: bool = False

    def whole(self, reply: ChatReply) -> bytes:
        """The reply in one piece."""
        message: dict[str, Any] = {"role": "assistant", "content": reply.text or (None if reply.tool_calls else "")}
        if reply.tool_calls:
            message["tool_calls"] = [_tool_call(call) for call in reply.tool_calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}
        return _json({**self._head("chat.completion"), "choices": [choice], "usage": _usage(reply)})

    def text(self, text: str) -> bytes:
        return self._chunk({"content": text})

    def result(self, reply: ChatReply) -> bytes:
        """The stream's last events: tool calls, why it ended, the usage where it is wanted, [DONE]."""
        calls = [{"index": index, **_tool_call(call)} for index, call in enumerate(reply.tool_calls)]
        events = [self._chunk({"tool_calls": calls})] if calls else []
        events.append(self._chunk({}, reply.finish_reason))
        if self.include_usage:
            events.append(_event({**self._head("chat.completion.chunk"), "choices": [], "usage": _usage(reply)}))
        return b"".join([*events, b"data: [DONE]\n\n"])

    def error(self, error: KernelError) -> bytes:
        """Raises `error` while nothing is sent: it can still be the reply's status."""
        if not self._begun:
            raise error
        return _event(error_body(error))

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        if not self._begun:
            self._begun = True
            delta = {"role": "assistant", **delta}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        body = {**self._head("chat.completion.chunk"), "choices": [choice]}
        return _event({**body, "usage": None} if self.include_usage else body)

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{self.pid}", "object": kind, "created": self.created, "model": self.model}


def error_status(error: KernelError) -> int:
    """HTTP status of `error`. A prompt that is too long is 400 here, as clients of OpenAI know it."""
    return 400 if isinstance(error, PromptTooLong) else row_of(error).http


def error_body(error: KernelError, status: int | None = None) -> dict[str, Any]:
    status = status or error_status(error)
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    param = error.data.get("key")
    return {
        "error": {
            "message": _message(error),
            "type": kind,
            "param": _PARAMS.get(str(param), param),
            "code": _CODES.get(type(error), row_of(error).errno),
        }
    }


def _message(error: KernelError) -> str:
    if (
        isinstance(error, PromptTooLong) and {"tokens", "window"} <= error.data.keys()
    ):  # OpenAI's words: some search them
        return (
            f"This model's maximum context length is {error.data['window']} tokens. "
            f"However, your messages resulted in {error.data['tokens']} tokens."
        )
    return error.message


def _tool_call(call: ToolCall) -> dict[str, Any]:
    arguments = msgspec.json.encode(call.arguments).decode()
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _usage(reply: ChatReply) -> dict[str, Any]:
    return {
        "prompt_tokens": reply.tokens_in,
        "completion_tokens": reply.tokens_out,
        "total_tokens": reply.tokens_in + reply.tokens_out,
        "prompt_tokens_details": {"cached_tokens": reply.tokens_cached},
    }


def _event(body: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % _json(body)


def _json(body: dict[str, Any]) -> bytes:
    return msgspec.json.encode(body, enc_hook=str)
