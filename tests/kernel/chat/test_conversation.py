"""What is remembered of chats, taken elsewhere, and gone on with."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from chats import DEADLINE_S, ask, chatting, real_model, with_script
from hypothesis import given
from hypothesis import strategies as st

from aios_kernel.chat import ChatManager, Conversation
from aios_kernel.chat.conversation import Memory
from aios_kernel.errors import BadRequest
from aios_kernel.protocol import ChatReply, ChatRequest, Pid
from aios_kernel.scheduler.engine import Engine

ME, OTHER = Pid(1), Pid(2)
HI = [{"role": "user", "content": "hi"}]
PROMPT = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


def byte(token: int) -> bytes:
    return bytes([token])


def tokens(text: str) -> list[int]:
    return list(text.encode())


def said(prompt: str, reply: str, **changes: Any) -> Conversation:
    options = {"max_tokens": 100, "stop": []}
    whole = tokens(prompt + reply)
    return Conversation(HI, options, prompt + reply, whole, len(tokens(prompt)), True, reply, **changes)


def begun(prompt: str, *stop: str) -> Conversation:
    return replace(said(prompt, ""), options={"max_tokens": 100, "stop": list(stop)}, finished=False)


@given(reply=st.text(), length=st.integers(0, 50), stop=st.lists(st.text("ab", min_size=1), max_size=2))
def test_a_reply_cut_off_at_any_token_and_gone_on_with_is_the_whole_reply(
    reply: str, length: int, stop: list[str]
) -> None:
    """Through the text stream of the generation that goes on, as the engine feeds it."""
    from aios_kernel.scheduler.text import TextStream

    whole = TextStream(stop)
    data = tokens(reply.encode(errors="replace").decode())
    for token in data:
        whole.feed(byte(token))
        if whole.stopped:
            break
    whole.flush()
    reached = begun("p\n", *stop).reached(tokens("p\n") + data[:length], byte)
    assert reached is not None
    if len(reached.reply) >= len(whole.text):
        return  # it had ended
    rest = TextStream(stop)
    for token in reached.tokens[reached.prompt_tokens :]:
        rest.skip(byte(token))
    for token in data[len(reached.tokens) - reached.prompt_tokens :]:
        rest.feed(byte(token))
        if rest.stopped:
            break
    rest.flush()
    assert reached.reply + rest.text == whole.text
    assert reached.text == reached.prompt + reached.reply


def test_a_context_of_another_conversation_says_nothing_about_this_one() -> None:
    assert begun("prompt\n").reached(tokens("promise\nhello"), byte) is None
    assert said("prompt\n", "hello").reached(tokens("prompt\nhe"), byte) is None


def test_of_several_under_way_the_one_in_the_context_is_told() -> None:
    memory = Memory()
    with memory.holding(begun("one\n")), memory.holding(begun("two\n")):
        assert _reply(memory, "two\nhe") == ("two\n", "he")
        assert _reply(memory, "three\nhe") == ("one\n", "")  # the first is the next to run
    with memory.holding(begun("three\n")):
        pass
    assert _reply(memory, "three\nhe") == ("three\n", "he")  # it was cancelled, the context still holds it


def _reply(memory: Memory, context: str) -> tuple[str, str]:
    conversation = memory.conversation(tokens(context), byte)
    assert conversation is not None
    return conversation.prompt, conversation.reply


def test_what_was_said_keeps_its_tokens_however_it_is_gone_on_from() -> None:
    def cut(text: str) -> list[int]:
        return [-len(text)] if text else []

    memory = Memory()
    memory.plant(replace(said("a\n", "bcd"), tokens=[1, 2, 3, 4, 5]))
    assert memory.tokens("a\nbcd and", "", cut) == ([1, 2, 3, 4, 5, -4], [])
    assert memory.tokens("a\nother", "", cut) == ([1, 2, -5], [])
    assert memory.tokens("a\n", "bcd", cut) == ([1, 2], [3, 4, 5])
    assert memory.tokens("a\n", "bce", cut) == ([1, 2], [-3])
    assert memory.tokens("x", "", cut) == ([-1], [])
    unfinished = replace(said("a\n", "bcd"), tokens=[1, 2, 3, 4, 5, 6], finished=False)  # 6: half a character
    memory.plant(unfinished)
    assert memory.tokens("a\n", "bcd", cut) == ([1, 2], [3, 4, 5, 6])
    assert memory.tokens("a\nbcd and", "", cut) == ([1, 2, -7], [])


def test_a_conversation_beside_another_does_not_push_it_out() -> None:
    memory = Memory()
    text = "main\n"
    memory.remember(said("aside\n", "x"))
    for turn in range(5):
        memory.remember(said(text, str(turn)))
        text += f"{turn} next\n"
    assert memory.tokens("aside\nx", "", lambda _: [0]) == ([*tokens("aside\nx"), 0], [])


def test_a_conversation_survives_json() -> None:
    async def use(manager: ChatManager, _: Engine) -> Conversation | None:
        await manager.chat(ME, ask("hi", temperature=0.5, seed=7, stop=["x"]), 0)
        return manager.conversation(ME, [])

    conversation = with_script("hello", use)
    assert msgspec.json.decode(msgspec.json.encode(conversation), type=Conversation) == conversation
    assert (conversation.messages, conversation.reply, conversation.finished) == (HI, "hello", True)
    assert conversation.text == PROMPT + "hello"
    assert conversation.options["seed"] == 7
    assert "messages" not in conversation.options


def test_who_never_chatted_has_no_conversation() -> None:
    async def use(manager: ChatManager, _: Engine) -> list[Conversation | None]:
        before = manager.conversation(ME, [])
        await manager.chat(ME, ask("hi"), 0)
        manager.release(ME)
        return [before, manager.conversation(ME, [])]

    assert with_script("hello", use) == [None, None]


def test_a_reply_goes_on_with_what_is_given() -> None:
    async def use(manager: ChatManager, _: Engine) -> ChatReply:
        messages = [*HI, {"role": "assistant", "content": "hel"}]
        return await manager.chat(ME, ChatRequest(messages, continue_final_message=True), 0)

    result = with_script("hello", use)
    assert (result.text, result.tokens_in, result.tokens_out) == ("lo", len(tokens(PROMPT + "hel")), 2)


def test_a_reply_that_went_on_is_one_reply_afterwards() -> None:
    async def use(manager: ChatManager, _: Engine) -> tuple[Conversation | None, ChatReply]:
        messages = [*HI, {"role": "assistant", "content": "hel"}]
        await manager.chat(ME, ChatRequest(messages, max_tokens=9, continue_final_message=True), 0)
        conversation = manager.conversation(ME, [])
        turns = [*HI, {"role": "assistant", "content": "hello"}, {"role": "user", "content": "more"}]
        return conversation, await manager.chat(ME, ChatRequest(turns), 0)

    conversation, after = with_script("hello", use)
    assert (conversation.messages, conversation.reply) == (HI, "hello")
    assert conversation.options["max_tokens"] == 12
    assert after.tokens_cached == len(tokens(PROMPT + "hello"))


@pytest.mark.parametrize(
    "messages",
    [
        HI,
        [{"role": "assistant", "content": "alone"}],
        [*HI, {"role": "assistant", "content": "", "tool_calls": [{"name": "t", "arguments": {}}]}],
    ],
)
def test_only_an_assistants_text_can_go_on(messages: list[dict[str, Any]]) -> None:
    async def use(manager: ChatManager, _: Engine) -> None:
        with pytest.raises(BadRequest, match="continue_final_message"):
            await manager.chat(ME, ChatRequest(messages, continue_final_message=True), 0)

    with_script("hello", use)


def test_a_call_that_was_cut_off_in_the_middle_is_one_call() -> None:
    from test_chat_manager import CALC, CALL

    shown: list[str] = []

    async def use(manager: ChatManager, _: Engine) -> ChatReply:
        given = f"Well. {CALL}"[:30]
        request = ChatRequest([*HI, {"role": "assistant", "content": given}], tools=[CALC], continue_final_message=True)
        return await manager.chat(ME, request, 0, shown.append)

    result = with_script(f"Well. {CALL} Done.", use)
    assert [call.name for call in result.tool_calls] == ["calculator"]
    assert (result.text, "".join(shown)) == ("Done.", " Done.")


SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 40}, "legs": {"type": "integer"}},
    "required": ["name", "legs"],
}
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sampled": {"temperature": 0.9, "seed": 11},
    "penalised": {"repeat_penalty": 1.3},
    "json": {"json_schema": SCHEMA, "temperature": 0.7, "seed": 3},
    "characters of several tokens": {"temperature": 1.5, "seed": 5},
    "stopped": {"stop": ["er, ", "ing t"]},
}


async def _cut_and_go_on(
    manager: ChatManager, engine: Engine, request: ChatRequest, deltas: int
) -> tuple[Conversation, Conversation]:
    """A reply, and the same captured after so many deltas and gone on with by another process."""
    heard = 0
    reached = asyncio.Event()

    def on_delta(_: str) -> None:
        nonlocal heard
        heard += 1
        if heard == deltas:
            reached.set()

    whole = asyncio.create_task(manager.chat(ME, request, 0, on_delta))
    whole.add_done_callback(lambda _: reached.set())
    await reached.wait()
    image = await asyncio.wrap_future(engine.capture(ME))
    taken = msgspec.json.decode(msgspec.json.encode(manager.conversation(ME, image.tokens)), type=Conversation)
    await whole
    assert await asyncio.wrap_future(engine.plant(OTHER, image))
    manager.plant(OTHER, taken)
    if not taken.finished:
        used = len(taken.tokens) - taken.prompt_tokens
        messages = [*taken.messages, {"role": "assistant", "content": taken.reply}]
        again = {**taken.options, "max_tokens": taken.options["max_tokens"] - used}
        rest = ChatRequest(messages, continue_final_message=True, **again)
        result = await manager.chat(OTHER, rest, 0)
        assert result.tokens_cached >= len(taken.tokens) - 1
    ends = [manager.conversation(pid, []) for pid in (ME, OTHER)]
    for pid in (ME, OTHER):
        await asyncio.wrap_future(manager.release(pid))
    assert ends[0] is not None
    assert ends[1] is not None
    return ends[0], ends[1]


@pytest.mark.model
@pytest.mark.timeout(300)
def test_a_reply_captured_in_the_middle_goes_on_bit_for_bit() -> None:
    system = {"role": "system", "content": "You are a poet. You like emoji such as \N{FOX FACE}\N{SNOWFLAKE}."}
    messages = [system, {"role": "user", "content": "Describe a fox in winter, with many emoji."}]

    async def main() -> None:
        async with chatting(real_model) as (manager, engine):
            for way, options in WAYS.items():
                request = ChatRequest(messages, max_tokens=24, **options)
                for deltas in (2, 9):
                    work = _cut_and_go_on(manager, engine, request, deltas)
                    whole, went_on = await asyncio.wait_for(work, DEADLINE_S)
                    assert whole.finished, way
                    assert replace(went_on, options=whole.options) == whole, (way, deltas)
                    assert went_on.options["max_tokens"] == whole.options["max_tokens"]
            given = [*messages, {"role": "assistant", "content": "no JSON"}]
            with pytest.raises(BadRequest, match="the grammar does not allow"):
                await manager.chat(ME, ChatRequest(given, json_schema=SCHEMA, continue_final_message=True), 0)

    asyncio.run(main())
