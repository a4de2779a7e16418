"""What of OpenAI's form is understood, what is refused and how that is named, and what llm.chat makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aios_kernel.errors import BadRequest
from aios_kernel.openai.request import DEFAULT_TEMPERATURE, NUM_SEEDS, TASK_CHARS, Completion, chat_args, parse
from aios_kernel.protocol import ChatRequest
from aios_kernel.syscalls.table import parse_args

HI = [{"role": "user", "content": "hi"}]


def args(**fields: Any) -> dict[str, Any]:
    return chat_args(parse(json.dumps({"messages": HI, **fields}).encode()))


def refused(body: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        chat_args(parse(body))
    return caught.value


def test_what_is_left_out_has_openais_default_but_for_the_temperature() -> None:
    made = args()
    assert made.pop("seed") in range(NUM_SEEDS)
    assert made == {
        "messages": HI,
        "tools": [],
        "tool_choice": "auto",
        "json_schema": None,
        "temperature": DEFAULT_TEMPERATURE,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repeat_penalty": 1.0,
        "stop": [],
        "overflow": "refuse",
    }
    assert isinstance(parse_args("llm.chat", args(), ChatRequest), ChatRequest)


def test_null_is_as_good_as_left_out() -> None:
    names = "model stream stream_options max_tokens n temperature top_p seed stop tools tool_choice response_format"
    made = args(**dict.fromkeys(names.split()))
    assert made.keys() == args().keys()
    assert {**made, "seed": 0} == {**args(), "seed": 0}


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({"temperature": 0.7, "top_p": 0.9, "top_k": 20, "min_p": 0.1, "repeat_penalty": 1.1}, None),
        ({"seed": 5}, None),
        ({"seed": -1}, {"seed": NUM_SEEDS - 1}),
        ({"seed": 2**70}, {"seed": 2**70 % NUM_SEEDS}),
        ({"stop": "."}, {"stop": ["."]}),
        ({"stop": ["a", "b"]}, None),
        ({"response_format": {"type": "text"}}, {"json_schema": None}),
        ({"response_format": {"type": "json_object"}}, {"json_schema": {"type": "object"}}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array"}}}},
            {"json_schema": {"type": "array"}},
        ),
        ({"frequency_penalty": 1, "logit_bias": {}, "user": "u", "anything": [1]}, {}),
    ],
    ids=str,
)
def test_fields_are_mapped(given_: dict[str, Any], expected: dict[str, Any] | None) -> None:
    expected = given_ if expected is None else expected
    assert expected.items() <= args(**given_).items()


def test_the_newer_name_of_a_limit_wins() -> None:
    def limit(**fields: int) -> int | None:
        return parse(json.dumps({"messages": HI, **fields}).encode()).max_reply

    assert (limit(), limit(max_tokens=7), limit(max_tokens=7, max_completion_tokens=5)) == (None, 7, 5)


def test_the_page_names_every_field() -> None:
    page = (Path(__file__).parents[3] / "docs" / "openai.md").read_text()
    assert [name for name in Completion.__dataclass_fields__ if f"`{name}`" not in page] == []


def test_seeds_are_drawn_anew_where_none_is_given() -> None:
    assert len({args()["seed"] for _ in range(9)}) > 1


def test_tools_and_choices() -> None:
    tools = [
        {"type": "function", "function": {"name": "now"}},
        {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object"}}},
    ]
    made = args(tools=tools, tool_choice={"type": "function", "function": {"name": "add"}})
    assert made["tools"] == [
        {"name": "now", "description": "", "parameters": {"type": "object"}},
        {"name": "add", "description": "Adds.", "parameters": {"type": "object"}},
    ]
    assert made["tool_choice"] == "add"
    assert args(tools=tools, tool_choice="required")["tool_choice"] == "required"


def test_messages_become_text_with_calls_as_values_and_results_with_names() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    made = args(
        messages=[
            {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]},
            {"role": "user", "content": "1+1?", "name": "ann"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "2"},
        ]
    )
    assert made["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1+1?", "name": "ann"},
        {"role": "assistant", "content": "", "tool_calls": [{"name": "add", "arguments": {"a": 1}, "id": "call_1"}]},
        {"role": "tool", "content": "2", "tool_call_id": "call_1", "name": "add"},
    ]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "root", "content": "x"}]}, "messages[0].role"),
        (
            {"messages": [*HI, {"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[1].content[0].type",
        ),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]},
            "messages[0].tool_calls",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[]"}}]}]},
            "messages[0].tool_calls",
        ),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"min_p": 2}, "min_p"),
        ({"repeat_penalty": 0}, "repeat_penalty"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"n": 2}, "n"),
        ({"n": 0}, "n"),
        ({"seed": "x"}, "seed"),
        ({"stop": 3}, "stop"),
        ({"stop": [3]}, "stop[0]"),
        ({"stream": "yes"}, "stream"),
        ({"model": 3}, "model"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "web", "function": {"name": "x"}}]}, "tools[0].type"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}},
            "response_format.json_schema.schema",
        ),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    error = refused(json.dumps({"messages": HI, **fields}).encode())
    assert error.data["key"] == param
    assert error.message.startswith(param)


@pytest.mark.parametrize(
    "body",
    [b"", b"no", b'{"messages": [', b'{"messages":[{"role":"user","content":"\xff"}]}', b'{"x":' + b"[" * 100_000],
    ids=lambda body: str(body[:20]),
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    assert refused(body).message.startswith("the body is not JSON")


def test_a_task_is_the_beginning_of_what_the_user_said_last() -> None:
    def task(*messages: tuple[str, str]) -> str:
        body = {"messages": [{"role": role, "content": content} for role, content in messages]}
        return parse(json.dumps(body).encode()).task

    assert task(("user", "one"), ("assistant", "two"), ("user", " three\n four "), ("assistant", "5")) == "three four"
    assert task(("system", "one")) == ""
    assert len(task(("user", "ab " * 9_999))) <= TASK_CHARS


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_NAMES = st.sampled_from(list(Completion.__dataclass_fields__))
_MESSAGE = st.dictionaries(st.sampled_from(["role", "content", "tool_calls", "tool_call_id"]), _VALUES)


@settings(suppress_health_check=[HealthCheck.too_slow])  # which a loaded machine alone can be
@given(st.dictionaries(_NAMES, _VALUES, max_size=4), st.lists(_MESSAGE, max_size=2))
def test_any_object_is_understood_or_refused(fields: dict[str, Any], messages: list[dict[str, Any]]) -> None:
    body = json.dumps({**fields, "messages": [*HI, *messages]}).encode()
    try:
        made = chat_args(parse(body))
    except BadRequest:
        return
    assert isinstance(parse_args("llm.chat", made, ChatRequest), ChatRequest)
