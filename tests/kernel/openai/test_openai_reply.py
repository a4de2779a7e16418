"""What a client gets back, in OpenAI's form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aios_kernel.errors import (
    WIRE,
    BadRequest,
    Cancelled,
    KernelError,
    KernelStopping,
    LimitHit,
    NoSuchModel,
    NotAuthenticated,
    PromptTooLong,
)
from aios_kernel.openai.reply import CompletionFrames, error_body, error_status
from aios_kernel.protocol import ChatReply, ToolCall

CALL = ToolCall("add", {"a": 1, "b": "ü"}, "call_1")


def reply(text: str = "Hello.", finish_reason: str = "stop", *calls: ToolCall) -> ChatReply:
    return ChatReply(text, list(calls), finish_reason, 30, 20, 5, 0.0, 1.0, 2.0, True)


def frames(*, include_usage: bool = False) -> CompletionFrames:
    return CompletionFrames("tiny", 1_700_000_000, include_usage, pid=7)


def events(data: bytes) -> list[Any]:
    """The JSON of each event; [DONE] as it is."""
    parts = [part.removeprefix(b"data: ") for part in data.split(b"\n\n")]
    assert parts.pop() == b""
    return [part.decode() if part == b"[DONE]" else json.loads(part) for part in parts]


def test_a_whole_reply() -> None:
    assert json.loads(frames().whole(reply())) == {
        "id": "chatcmpl-7",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "tiny",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello."},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 30,
            "completion_tokens": 5,
            "total_tokens": 35,
            "prompt_tokens_details": {"cached_tokens": 20},
        },
    }


def test_a_whole_reply_with_calls() -> None:
    (choice,) = json.loads(frames().whole(reply("", "tool_calls", CALL)))["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert (call["id"], call["type"], call["function"]["name"]) == ("call_1", "function", "add")
    assert json.loads(call["function"]["arguments"]) == CALL.arguments


def test_an_empty_reply_is_a_text_without_characters() -> None:
    assert json.loads(frames().whole(reply("")))["choices"][0]["message"]["content"] == ""


def test_chunks_make_up_the_reply() -> None:
    out = frames()
    chunks = [*events(out.text("Hel")), *events(out.text("lo.")), *events(out.result(reply()))]
    assert chunks.pop() == "[DONE]"
    assert {(chunk["id"], chunk["object"], chunk["model"]) for chunk in chunks} == {
        ("chatcmpl-7", "chat.completion.chunk", "tiny")
    }
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": "Hel"},
        {"content": "lo."},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "stop"]
    assert not [chunk for chunk in chunks if "usage" in chunk]


def test_calls_come_in_one_chunk_before_the_end() -> None:
    chunks = events(frames().result(reply("", "tool_calls", CALL)))
    (delta,) = chunks[0]["choices"][0]["delta"]["tool_calls"]
    assert (delta["index"], delta["id"], delta["function"]["name"]) == (0, "call_1", "add")
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[1]["choices"][0]["finish_reason"] == "tool_calls"


def test_usage_comes_last_where_it_is_wanted() -> None:
    out = frames(include_usage=True)
    chunks = [*events(out.text("x")), *events(out.result(reply()))]
    assert chunks.pop() == "[DONE]"
    assert [chunk["usage"] and chunk["usage"]["total_tokens"] for chunk in chunks] == [None, None, 35]
    assert chunks[-1]["choices"] == []


def test_an_error_is_the_status_until_something_is_sent_and_an_event_then() -> None:
    out = frames()
    with pytest.raises(Cancelled):
        out.error(Cancelled("killed"))
    out.text("x")
    (event,) = events(out.error(Cancelled("killed")))
    assert event == error_body(Cancelled("killed"))


@pytest.mark.parametrize(
    ("error", "status", "kind", "param", "code"),
    [
        (BadRequest("n = 2", key="n"), 400, "invalid_request_error", "n", "EINVAL"),
        (BadRequest("no grammar", key="json_schema"), 400, "invalid_request_error", "response_format", "EINVAL"),
        (PromptTooLong("long"), 400, "invalid_request_error", None, "context_length_exceeded"),
        (NotAuthenticated("no key"), 401, "invalid_request_error", None, "invalid_api_key"),
        (NoSuchModel("none", key="model"), 404, "invalid_request_error", "model", "model_not_found"),
        (LimitHit("full"), 429, "rate_limit_error", None, "EDQUOT"),
        (Cancelled("killed"), 499, "cancelled_error", None, "ECANCELED"),
        (KernelStopping("stopping"), 503, "server_error", None, "ESHUTDOWN"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, KernelError) else None,
)
def test_errors_have_openais_form(error: KernelError, status: int, kind: str, param: str | None, code: str) -> None:
    assert error_status(error) == status
    assert error_body(error) == {"error": {"message": error.message, "type": kind, "param": param, "code": code}}


def test_a_prompt_that_is_too_long_is_told_in_words_that_clients_search() -> None:
    told = error_body(PromptTooLong("x", tokens=5000, window=4096))["error"]["message"]
    assert told.startswith("This model's maximum context length is 4096 tokens.")
    assert "5000" in told


@pytest.mark.parametrize("kind", WIRE, ids=lambda kind: kind.__name__)
def test_every_error_has_a_form(kind: type[KernelError]) -> None:
    body = error_body(kind("why"))["error"]
    assert body["message"] == "why"
    assert body["type"].endswith("_error")
    assert 400 <= error_status(kind("why")) < 600
