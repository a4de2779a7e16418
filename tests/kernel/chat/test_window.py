"""What is left out of a prompt: over every shape of conversation, with a tokenizer that counts bytes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_kernel.chat import window
from aios_kernel.chat.conversation import Memory
from aios_kernel.chat.fitting import Fit, Fitting
from aios_kernel.chat.prompt import Renderer
from aios_kernel.chat.request import check
from aios_kernel.chat.template import ChatTemplate
from aios_kernel.errors import PromptTooLong
from aios_kernel.protocol import ChatRequest
from aios_kernel.testing import FakeClock, ScriptedCore

WINDOW = 1_000

Messages = list[dict[str, Any]]


def say(role: str, text: str = "", *calls: str) -> dict[str, Any]:
    return {"role": role, "content": text, "tool_calls": [{"name": "t", "arguments": {}, "id": id} for id in calls]}


def fitting(messages: Messages, memory: Memory | None = None, max_tokens: int = 100) -> Fitting:
    core = ScriptedCore()
    template = ChatTemplate(None, bos="", eos="", clock=FakeClock())
    renderer = Renderer(core.spec, template, lambda text: core.tokenize(text, special=True))
    return Fitting(check(ChatRequest(messages)), memory or Memory(), renderer, WINDOW, max_tokens)


def fit(messages: Messages, memory: Memory | None = None) -> Fit:
    one = fitting(messages, memory)
    before = one.as_before()
    if one.fits(before):
        return before
    after = one.shorter(before)
    if memory is not None and after.forgotten is not None:
        memory.keep(after.forgotten, before.forgotten)
    return after


TEXTS = st.integers(0, 300).map(lambda length: "x" * length)


@st.composite
def exchanges(draw: st.DrawFn) -> Messages:
    """An assistant's message, which may call tools and then has their results after it."""
    calls = draw(st.lists(st.sampled_from("abc"), max_size=3))
    results = [say("tool", draw(TEXTS)) for _ in calls]
    return [say("assistant", draw(TEXTS), *calls), *results]


@st.composite
def conversations(draw: st.DrawFn) -> Messages:
    """System messages anywhere, turns of users with what followed, maybe something before the first user's."""
    parts = draw(st.lists(st.one_of(exchanges(), TEXTS.map(lambda text: [say("user", text)])), min_size=1, max_size=12))
    messages = [message for part in parts for message in part]
    for text in draw(st.lists(TEXTS, max_size=2)):
        messages.insert(draw(st.integers(0, len(messages)) | st.just(0)), say("system", text))
    return [{**message, "number": number} for number, message in enumerate(messages)]


def numbers(messages: Sequence[dict[str, Any]]) -> list[int]:
    return [message["number"] for message in messages]


def kept_of(messages: Messages, forgotten: window.Forgotten | None) -> Messages:
    return window.leave_out(messages, forgotten) if forgotten is not None else messages


@given(messages=conversations())
def test_what_is_kept_is_in_order_and_fits_unless_what_must_stay_is_too_large(messages: Messages) -> None:
    least = kept_of(messages, window.forget(messages, units, None) if (units := window.droppable(messages)) else None)
    tokens = len(fitting(least).as_before().prompt)
    if tokens >= WINDOW:
        with pytest.raises(PromptTooLong) as caught:
            fit(messages)
        assert caught.value.data == {"tokens": tokens, "window": WINDOW}
        return
    result = fit(messages)
    kept = numbers(kept_of(messages, result.forgotten))
    assert sorted(kept) == kept
    assert len(result.prompt) < WINDOW
    if result.units and len(kept) > len(least):
        assert len(result.prompt) <= WINDOW // 2


@given(messages=conversations())
def test_the_system_the_last_user_and_what_is_replied_to_stay(messages: Messages) -> None:
    units = window.droppable(messages)
    kept = numbers(kept_of(messages, window.forget(messages, units, None) if units else None))
    must = [message["number"] for message in messages if message["role"] == "system"]
    must += [message["number"] for message in messages if message["role"] == "user"][-1:]
    must += [message["number"] for message in messages if message["role"] != "system"][-1:]
    assert set(must) <= set(kept)


@given(messages=conversations(), number=st.integers(0, 12))
def test_a_call_goes_with_its_results_and_a_turn_whole(messages: Messages, number: int) -> None:
    units = window.droppable(messages)[:number]
    kept = set(numbers(kept_of(messages, window.forget(messages, units, None) if units else None)))
    caller = None
    for message in messages:
        if message["role"] == "tool":
            assert (caller in kept) == (message["number"] in kept)
        elif message["tool_calls"]:
            caller = message["number"]
    turns = itertools.groupby(
        (message for message in messages if message["role"] != "system"), key=lambda message: _turn(messages, message)
    )
    whole = [{message["number"] in kept for message in turn} for _, turn in turns]
    assert all(len(turn) == 1 for turn in whole[:-1])
    assert sorted(map(max, whole[:-1])) == [max(turn) for turn in whole[:-1]]  # the dropped ones are the oldest


def _turn(messages: Messages, message: dict[str, Any]) -> int:
    return sum(other["role"] == "user" for other in messages[: messages.index(message) + 1])


@given(messages=conversations())
def test_what_fits_is_left_as_it_is(messages: Messages) -> None:
    try:
        kept = kept_of(messages, fit(messages).forgotten)
    except PromptTooLong:
        return
    again = fit(kept)
    assert not again.units or not window.droppable(messages)


@given(messages=conversations(), more=st.lists(exchanges(), max_size=3))
def test_later_prompts_leave_out_the_same_and_begin_with_the_same_tokens(
    messages: Messages, more: list[Messages]
) -> None:
    memory = Memory()
    try:
        first = fit(messages, memory)
    except PromptTooLong:
        return
    later = [*messages, *(message for part in more for message in part), say("user", "next")]
    second = fitting(later, memory).as_before()
    assert second.forgotten == first.forgotten
    if messages[-1]["role"] != "system" or first.forgotten is None:
        text = first.prompt.text.removesuffix("<|im_start|>assistant\n")
        assert second.prompt.text.startswith(text)


def test_nothing_is_dropped_twice_while_there_is_room() -> None:
    memory = Memory()
    messages = [say("system", "s" * 50)]
    changes = 0
    for turn in range(60):
        messages.append(say("user", f"{turn}" + "u" * 40))
        result = fit(messages, memory)
        changes += bool(result.units)
        assert len(result.prompt) + 100 <= WINDOW
        messages.append(say("assistant", "a" * 40))
    assert 60 * 130 / (WINDOW / 2) * 0.7 < changes < 60 * 130 / (WINDOW / 2) * 1.5  # a half of the window at a time


def test_a_conversation_that_changes_behind_is_looked_at_anew() -> None:
    memory = Memory()
    messages = [say("user", "u" * 600), say("assistant", "a" * 300), say("user", "v" * 100)]
    assert fit(messages, memory).forgotten is not None
    other = [say("user", "w" * 300), *messages[1:]]
    assert fitting(other, memory).as_before().forgotten is None


def test_the_oldest_tool_exchanges_of_a_long_turn_go_and_its_question_stays() -> None:
    steps = [[say("assistant", "a" * 100, "id"), say("tool", "r" * 100)] for _ in range(6)]
    messages = [say("user", "the question"), *(message for step in steps for message in step)]
    result = fit(messages)
    assert result.news == f"dropped {len(result.units)} tool exchanges, {result.dropped:,} tokens"
    kept = kept_of(messages, result.forgotten)
    assert kept[0]["content"] == "the question"
    assert kept[1:] == messages[-len(kept) + 1 :]


def test_the_news_count_turns_and_tokens() -> None:
    messages = [say("user", "u" * 400), say("assistant", "a" * 400), say("user", "v" * 200)]
    before = len(fitting(messages).as_before().prompt)
    result = fit(messages)
    assert result.news == f"dropped 1 turn, {before - len(result.prompt)} tokens"


@pytest.mark.parametrize("length", [WINDOW, 10 * WINDOW])
def test_one_message_that_is_too_long_is_an_error_with_numbers(length: int) -> None:
    with pytest.raises(PromptTooLong, match=r"the prompt has [\d,]+ tokens, the context window 1,000") as caught:
        fit([say("user", "u" * length)])
    assert caught.value.data["tokens"] > length
    older = [say("user", "older"), say("assistant", "words")]
    with pytest.raises(PromptTooLong, match="even without its older turns the prompt has"):
        fit([*older, say("user", "u" * length)])


def test_one_message_that_fits_may_use_the_room_for_its_reply() -> None:
    result = fit([say("user", "u" * (WINDOW - 60))])
    assert (list(result.units), result.news) == ([], None)


def test_a_reply_that_goes_on_has_the_prompt_that_it_had() -> None:
    """At every length of the reply so far the decision is the same, as the reserve shrinks while it grows."""
    messages = [say("user", "u" * 300), say("assistant", "a" * 300), say("user", "v" * 36)]
    max_tokens = 240
    begin = fitting(messages, max_tokens=max_tokens)
    assert len(begin.whole().prompt) + max_tokens <= WINDOW
    for length in range(0, max_tokens, 7):
        request = ChatRequest([*messages, say("assistant", "r" * length)], continue_final_message=True)
        one = Fitting(check(request), Memory(), begin.renderer, WINDOW, max_tokens - length)
        assert one.fits(one.whole()) == begin.fits(begin.whole())


def test_a_summary_stands_after_the_first_system_messages_as_an_exchange() -> None:
    messages = [say("system", "s"), say("user", "u" * 700), say("assistant", "a"), say("user", "v" * 200)]
    forgotten = fit(messages).forgotten
    assert forgotten is not None
    kept = window.leave_out(messages, window.Forgotten(forgotten.dropped, forgotten.digest, "They talked."))
    assert [(m["role"], m["content"]) for m in kept] == [
        ("system", "s"),
        ("user", "Summarise what we said so far."),
        ("assistant", "They talked."),
        ("user", "v" * 200),
    ]
