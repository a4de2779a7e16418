from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_kernel.chat.grammar import call_grammar, json_grammar
from aios_kernel.chat.tools import CallFilter, parse_calls, with_protocol
from aios_kernel.errors import BadRequest
from aios_kernel.protocol import ToolCall, ToolSpec

CALC = ToolSpec(
    "calculator",
    "Computes.",
    {"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]},
)
CALL = '<tool_call>\n{"name": "calculator", "arguments": {"expression": "12*7"}}\n</tool_call>'


def test_calls_are_read_and_the_text_around_them_kept() -> None:
    text, calls = parse_calls(f"Let me see.\n{CALL}\n{CALL}\nDone.", first_id=3)
    arguments = {"expression": "12*7"}
    assert [ToolCall("calculator", arguments, "call_3"), ToolCall("calculator", arguments, "call_4")] == calls
    assert text == "Let me see.\n\n\nDone."


@pytest.mark.parametrize(
    "text",
    ["no call", "<tool_call>", CALL[:-5], "<tool_call>[1]</tool_call>", '<tool_call>{"name": 1}</tool_call>', ""],
)
def test_what_is_no_whole_call_stays_text(text: str) -> None:
    assert (text, []) == parse_calls(text, first_id=1)


def test_a_closing_marker_inside_an_argument_closes_nothing() -> None:
    text = '<tool_call>{"name": "echo", "arguments": {"text": "</tool_call>"}}</tool_call>'
    assert ("", [ToolCall("echo", {"text": "</tool_call>"}, "call_1")]) == parse_calls(text, first_id=1)


@given(cuts=st.lists(st.integers(0, 200), max_size=12))
def test_streamed_text_shows_no_call_wherever_it_is_cut(cuts: list[int]) -> None:
    text = f"a < b <tool{CALL}and <then {CALL}"
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    stream = CallFilter()
    shown = "".join(stream.feed(text[a:b]) for a, b in itertools.pairwise(edges)) + stream.flush()
    assert shown == "a < b <tooland <then "


def test_the_protocol_joins_the_system_text() -> None:
    system, user = with_protocol(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}], [CALC]
    )
    assert system["content"].startswith("Be brief.\n\nYou have these tools:\n")
    assert '{"name": "calculator", ' in system["content"]
    assert user == {"role": "user", "content": "hi"}


def test_calls_and_results_are_text_to_a_model_without_tools() -> None:
    call = {"name": "calculator", "arguments": {"expression": "12*7"}, "id": "call_1"}
    messages = [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "84", "name": "calculator"},
    ]
    expected = [
        {"role": "assistant", "content": CALL},
        {"role": "user", "content": "<tool_response>\n84\n</tool_response>"},
    ]
    assert expected == with_protocol(messages, [])


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "nope"}, "nope"),
        ({"$ref": "http://example.org/x"}, "ref"),
        ({"type": "string", "pattern": "(("}, "regex"),
        ({"type": "object", "properties": 3}, "object"),
    ],
)
def test_a_schema_that_cannot_be_used_is_a_bad_request(schema: dict[str, object], reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        json_grammar(schema)


def test_strings_hold_no_raw_control_characters() -> None:
    assert r'char ::= [^"\\\x7F\x00-\x1F]' in json_grammar({"type": "string"})


def test_a_tool_without_parameters_has_a_grammar() -> None:
    assert "root ::=" in call_grammar([ToolSpec("now", "", {})], text_allowed=False)
