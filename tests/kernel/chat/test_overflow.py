"""Chats whose conversations outgrow the window: what the process gets, is told, and pays."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from chats import CONFIG, ask, real_model, run, with_script

from aios_kernel.chat import ChatManager
from aios_kernel.chat.prompt import MAX_CHARS_PER_TOKEN
from aios_kernel.chat.summary import MAX_PIECES
from aios_kernel.errors import BadRequest, LimitHit, PromptTooLong
from aios_kernel.protocol import ChatReply, ChatRequest, Overflow, Pid
from aios_kernel.scheduler.engine import Engine
from aios_kernel.testing import END, Script

SMALL = replace(CONFIG, window=1024)
ME = Pid(1)


def summarising(summary: str, length: int | None = None) -> Script:
    """Answers "hello", and a request for a summary with `summary`; with a length: with so many letters."""
    data = [*(summary.encode() if length is None else b"s" * length), END]

    def next_token(history: tuple[int, ...]) -> int:
        produced = history[::-1].index(ord("\n"))
        asked = b"Summarise this conversation in at most" in bytes(history)
        answer = data if asked else [*b"hello", END]
        return answer[min(produced, len(answer) - 1)]

    return next_token


async def talk(manager: ChatManager, turns: int, **options: Any) -> list[ChatReply]:
    """Replies to so many turns of some 130 tokens; the whole conversation is sent each time."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": "Be kind."}]
    replies = []
    for turn in range(turns):
        messages.append({"role": "user", "content": f"{turn} " + "u" * 60})
        request = ChatRequest(list(messages), max_tokens=20, **options)
        replies.append(await manager.chat(ME, request, 0))
        messages.append({"role": "assistant", "content": replies[-1].text})
    return replies


def test_a_conversation_goes_on_for_ever_and_keeps_its_kv_between_drops() -> None:
    replies = with_script("hello", lambda manager, _: talk(manager, 40), SMALL)
    drops = [i for i, one in enumerate(replies) if one.window is not None]
    assert 3 <= len(drops) <= 12
    for i, (before, after) in enumerate(itertools.pairwise(replies), 1):
        if i not in drops:
            assert after.tokens_cached >= before.tokens_in + before.tokens_out - 1
    assert all(one.text == "hello" and one.tokens_in + 20 <= SMALL.window for one in replies)
    assert str(replies[drops[0]].window).startswith("dropped ")


@pytest.mark.parametrize("policy", [Overflow.DROP_OLDEST, Overflow.SUMMARISE])
def test_a_conversation_that_comes_far_too_long_at_once_is_fitted_too(policy: Overflow) -> None:
    async def use(manager: ChatManager, _: Engine) -> ChatReply:
        messages = [
            {"role": ("user", "assistant")[turn % 2], "content": f"{turn} " + "u" * 60}
            for turn in range(SMALL.window * MAX_CHARS_PER_TOKEN // 60 + 101)
        ]
        return await manager.chat(ME, ChatRequest(messages, max_tokens=20, overflow=policy.value), 0)

    told = with_script(summarising("They talked."), use, SMALL)
    assert (told.text, told.tokens_in < SMALL.window) == ("hello", True)
    assert told.window


def test_refusing_is_an_error_with_numbers_and_changes_nothing() -> None:
    async def use(manager: ChatManager, _: Engine) -> PromptTooLong:
        with pytest.raises(PromptTooLong, match=r"the prompt has [\d,]+ tokens, the context window 1,024") as caught:
            await talk(manager, 40, overflow="refuse")
        return caught.value

    error = with_script("hello", use, SMALL)
    assert SMALL.window <= error.data["tokens"] < SMALL.window + 130
    assert error.data["window"] == SMALL.window


def test_the_kernels_policy_holds_where_the_request_names_none() -> None:
    async def use(manager: ChatManager, _: Engine) -> None:
        with pytest.raises(PromptTooLong):
            await talk(manager, 40)
        assert len(await talk(manager, 40, overflow="drop-oldest")) == 40

    with_script("hello", use, SMALL, overflow=Overflow.REFUSE)


def test_an_unknown_policy_is_named() -> None:
    async def use(manager: ChatManager, _: Engine) -> None:
        with pytest.raises(BadRequest, match="overflow = 'forget': must be one of drop-oldest, summarise, refuse"):
            await manager.chat(ME, ask("hi", overflow="forget"), 0)

    with_script("hello", use)


@pytest.mark.parametrize("policy", Overflow)
def test_a_message_larger_than_the_window_is_an_error_under_every_policy(policy: Overflow) -> None:
    async def use(manager: ChatManager, engine: Engine) -> None:
        with pytest.raises(PromptTooLong) as caught:
            await manager.chat(ME, ask("x" * 1_000_000, overflow=policy.value), 0)
        assert caught.value.data["tokens"] == 250_012  # about: who would count them
        assert "has about 250,012 tokens" in caught.value.message or policy is not Overflow.REFUSE
        assert caught.value.data["window"] == CONFIG.window
        assert (await manager.chat(ME, ask("hi"), 0)).text == "hello"

    with_script("hello", use)


def test_what_was_dropped_is_summed_up_once_and_said_from_then_on() -> None:
    async def use(manager: ChatManager, engine: Engine) -> tuple[list[ChatReply], list[str]]:
        replies = await talk(manager, 9, overflow="summarise")
        image = await asyncio.wrap_future(engine.capture(ME))
        conversation = manager.conversation(ME, image.tokens)
        assert conversation is not None
        return replies, [conversation.text]

    replies, (text,) = with_script(summarising("They talked."), use, SMALL)
    told = [one.window for one in replies if one.window is not None]
    assert len(told) == 1
    assert told[0].startswith("summarised ")
    assert told[0].endswith(" -> 12 tokens")
    assert all(one.text == "hello" for one in replies)
    assert text.count("They talked.") == 1
    assert text.index("Be kind.") < text.index("They talked.") < text.index("u" * 60)


def test_a_second_summary_holds_the_first() -> None:
    asked: list[str] = []

    def script(history: tuple[int, ...]) -> int:
        text = bytes(history).decode()
        if text.endswith("assistant\n") and "in at most three" in text:
            asked.append(text)
        return summarising("They talked.")(history)

    replies = with_script(script, lambda manager, _: talk(manager, 25, overflow="summarise"), SMALL)
    assert len([one for one in replies if one.window]) >= 2
    assert "Summary of what was said before" not in asked[0]
    assert "Summary of what was said before: They talked." in asked[1]


def test_a_summary_that_is_cut_off_falls_back_to_dropping_and_says_so() -> None:
    replies = with_script(
        summarising("", length=1_000), lambda manager, _: talk(manager, 12, overflow="summarise"), SMALL
    )
    told = next(one.window for one in replies if one.window)
    assert told.startswith("dropped ")
    assert told.endswith("(no summary: it ended with length after 128 tokens)")
    assert replies[-1].text == "hello"


def test_without_quota_for_a_summary_turns_are_dropped() -> None:
    @contextmanager
    def grant(_: int) -> Iterator[int]:
        raise LimitHit("process 1 has used up its 7 tokens")
        yield 0

    async def use(manager: ChatManager, _: Engine) -> ChatReply:
        request = ChatRequest(_turns(12), overflow="summarise", max_tokens=20)
        return await manager.chat(ME, request, 0, grant=grant)

    result = with_script(summarising("They talked."), use, SMALL)
    assert result.window.endswith("tokens (no summary: process 1 has used up its 7 tokens)")


def test_a_summary_is_produced_within_what_is_granted() -> None:
    granted = []

    @contextmanager
    def grant(wanted: int) -> Iterator[int]:
        granted.append(wanted)
        yield 5
        granted.append(0)

    async def use(manager: ChatManager, _: Engine) -> ChatReply:
        request = ChatRequest(_turns(12), overflow="summarise", max_tokens=20)
        return await manager.chat(ME, request, 0, grant=grant)

    assert with_script(summarising("They talked."), use, SMALL).window.endswith("ended with length after 5 tokens)")
    assert granted == [128, 0]


def test_a_chat_that_is_cancelled_while_it_sums_up_leaves_nothing_behind() -> None:
    async def use(manager: ChatManager, engine: Engine) -> int:
        begun = asyncio.Event()

        @contextmanager
        def grant(wanted: int) -> Iterator[int]:
            begun.set()
            yield wanted

        request = ChatRequest(_turns(12), overflow="summarise", max_tokens=20)
        task = asyncio.create_task(manager.chat(ME, request, 0, grant=grant))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wrap_future(engine.renice(ME, 0))
        return len(engine.queue())

    assert with_script("", use, SMALL) == 0


def test_more_than_a_summary_may_take_is_dropped() -> None:
    async def use(manager: ChatManager, _: Engine) -> ChatReply:
        long = [{"role": "user", "content": "u" * SMALL.window * (MAX_PIECES + 1)}, *_turns(3)]
        return await manager.chat(ME, ChatRequest(long, overflow="summarise", max_tokens=20), 0)

    result = with_script(summarising("They talked."), use, SMALL)
    assert result.window.endswith("tokens (too long for a summary)")


def test_a_long_turn_is_summed_up_piece_by_piece() -> None:
    prompts: list[str] = []

    def script(history: tuple[int, ...]) -> int:
        text = bytes(history).decode()
        if text.endswith("assistant\n"):
            prompts.append(text)
        return summarising("They talked.")(history)

    async def use(manager: ChatManager, _: Engine) -> ChatReply:
        words = " ".join(f"w{number}" for number in range(300))
        long = [{"role": "user", "content": words}, *_turns(2)]
        return await manager.chat(ME, ChatRequest(long, overflow="summarise", max_tokens=20), 0)

    assert with_script(script, use, SMALL).window.startswith("summarised 1 turn, ")
    *pieces, final = prompts
    assert 2 <= len(pieces) <= MAX_PIECES
    said = "".join(pieces)
    assert all(f"w{number}" in said for number in range(300))
    assert "w0" not in final


def test_events_come_before_the_reply() -> None:
    heard: list[str] = []

    async def use(manager: ChatManager, _: Engine) -> ChatReply:
        request = ChatRequest(_turns(12), max_tokens=20)
        return await manager.chat(ME, request, 0, lambda _: heard.append("text"), on_window=heard.append)

    result = with_script("hello", use, SMALL)
    assert heard[0] == result.window
    assert set(heard[1:]) == {"text"}


def test_a_generation_that_reaches_the_windows_end_ends_with_length() -> None:
    request = ask("u" * 950, max_tokens=500)
    result = with_script("", lambda manager, _: manager.chat(ME, request, 0), SMALL)
    assert result.finish_reason == "length"
    assert result.tokens_in + result.tokens_out == SMALL.window + 1  # the last token is not fed


def _turns(number: int) -> list[dict[str, Any]]:
    turns = ({"role": "user", "content": f"{turn} " + "u" * 100} for turn in range(number))
    messages = [message for turn in turns for message in (turn, {"role": "assistant", "content": "hello"})]
    return messages[:-1]


ROOMS = [
    ("Book the red room for Tuesday at ten.", "I have booked the red room for Tuesday at ten o'clock."),
    ("Kim will bring the projector. Do we need anything else?", "Twelve chairs, water and a long cable would help."),
    ("How many people come?", "Eleven people have said that they come, and two may join by telephone."),
    ("What did we say about lunch?", "Lunch is at half past twelve in the small kitchen, soup and bread for eleven."),
]


@pytest.mark.model
def test_the_real_model_sums_up_what_it_forgets() -> None:
    """Twice, as the second summary is made of the first; in between the KV of the prompt is reused."""

    async def use(manager: ChatManager, engine: Engine) -> list[ChatReply]:
        messages: list[dict[str, Any]] = [{"role": "system", "content": "You are a helpful secretary."}]
        replies = []
        for turn in range(20):
            question, answer = ROOMS[turn % 4]
            messages.append({"role": "user", "content": f"{question} It is meeting number {turn + 1}."})
            request = ChatRequest(list(messages), max_tokens=8, overflow="summarise")
            replies.append(await manager.chat(ME, request, 0))
            messages.append({"role": "assistant", "content": answer})
        return replies

    replies = run(real_model, use, replace(CONFIG, window=512))
    told = [(turn, one.window) for turn, one in enumerate(replies) if one.window is not None]
    assert len(told) >= 2, told
    assert all(re.fullmatch(r"summarised \d+ turns, \d+ -> \d+ tokens", str(text)) for _, text in told), told
    assert all(one.tokens_in + 8 <= 512 and one.text for one in replies)
    turns = {turn for turn, _ in told}
    for turn, (before, after) in enumerate(itertools.pairwise(replies), 1):
        if turn not in turns:
            assert after.tokens_cached > 0.6 * before.tokens_in
