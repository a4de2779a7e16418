from __future__ import annotations

import asyncio
import json

import jsonschema
import pytest
from chats import DEADLINE_S, ask, chatting, real_model, with_script

from aios_kernel.chat import ChatManager
from aios_kernel.errors import BadRequest, KernelStopping, ModelFailed
from aios_kernel.protocol import ChatRequest, Pid, ToolSpec
from aios_kernel.scheduler.engine import Engine

CALC = ToolSpec(
    "calculator",
    "Computes an arithmetic expression.",
    {"type": "object", "properties": {"expression": {"type": "string", "maxLength": 12}}, "required": ["expression"]},
)
CALL = '<tool_call>{"name": "calculator", "arguments": {"expression": "12*7"}}</tool_call>'


def test_a_chat_streams_what_it_replies() -> None:
    shown: list[str] = []
    result = with_script("hello", lambda manager, _: manager.chat(Pid(1), ask("hi"), 0, shown.append))
    assert ("".join(shown), result.text, result.finish_reason, result.tokens_out) == ("hello", "hello", "stop", 5)


def test_a_second_turn_reuses_the_first() -> None:
    async def use(manager: ChatManager, _: Engine) -> list[int]:
        first = await manager.chat(Pid(1), ask("hi"), 0)
        messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": first.text}]
        second = await manager.chat(Pid(1), ChatRequest([*messages, {"role": "user", "content": "more"}]), 0)
        return [first.tokens_in + first.tokens_out, second.tokens_cached]

    spoken, cached = with_script("hello", use)
    assert cached == spoken


def test_after_a_stop_string_the_next_turn_holds_what_was_said_and_no_more() -> None:
    async def use(manager: ChatManager, _: Engine) -> tuple[int, int]:
        first = await manager.chat(Pid(1), ask("hi", stop=["lo"]), 0)
        messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": first.text}]
        request = ChatRequest([*messages, {"role": "user", "content": "more"}])
        after = await manager.chat(Pid(1), request, 0)
        fresh = await manager.chat(Pid(2), request, 0)
        return after.tokens_in, fresh.tokens_in

    after, fresh = with_script("hello", use)
    assert after == fresh


def test_a_call_is_parsed_and_not_shown() -> None:
    shown: list[str] = []
    result = with_script(
        f"Well. {CALL}", lambda manager, _: manager.chat(Pid(1), ask("12*7?", tools=[CALC]), 0, shown.append)
    )
    assert (result.text, result.finish_reason, "".join(shown)) == ("Well.", "tool_calls", "Well. ")
    assert [(c.name, c.arguments, c.id) for c in result.tool_calls] == [
        ("calculator", {"expression": "12*7"}, "call_1")
    ]


def test_without_tools_the_same_text_is_text() -> None:
    result = with_script(CALL, lambda manager, _: manager.chat(Pid(1), ask("hi", tools=[CALC], tool_choice="none"), 0))
    assert (result.text, result.tool_calls) == (CALL, [])


def test_cancelling_the_task_ends_the_generation() -> None:
    async def use(manager: ChatManager, engine: Engine) -> tuple[int, str]:
        started = asyncio.Event()
        task = asyncio.create_task(manager.chat(Pid(1), ask("hi", max_tokens=3000), 0, lambda _: started.set()))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wrap_future(engine.renice(Pid(1), 0))
        return len(engine.queue()), engine.usage(Pid(1)).phase.value

    assert with_script("", use) == (0, "idle")


def test_a_listener_that_raises_ends_its_own_chat() -> None:
    async def use(manager: ChatManager, _: Engine) -> str:
        def deaf(text: str) -> None:
            raise BrokenPipeError("gone")

        with pytest.raises(BrokenPipeError):
            await manager.chat(Pid(1), ask("hi"), 0, deaf)
        return (await manager.chat(Pid(2), ask("hi"), 0)).text

    assert with_script("hello", use) == "hello"


def test_closing_the_engine_answers_a_chat() -> None:
    async def use(manager: ChatManager, engine: Engine) -> None:
        started = asyncio.Event()
        task = asyncio.create_task(manager.chat(Pid(1), ask("hi", max_tokens=3000), 0, lambda _: started.set()))
        await started.wait()
        await asyncio.to_thread(engine.close, DEADLINE_S)
        with pytest.raises(KernelStopping):
            await task

    with_script("", use)


def test_a_reply_that_breaks_its_schema_is_not_passed_on() -> None:
    async def use(manager: ChatManager, _: Engine) -> None:
        with pytest.raises(ModelFailed, match="validate"):
            await manager.chat(Pid(1), ask("hi", json_schema={"type": "integer", "multipleOf": 5}), 0)

    with_script("12", use)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (ChatRequest([]), "at least one"),
        (ChatRequest([{"role": "wizard", "content": "x"}]), r"messages\[0\].role"),
        (ChatRequest([{"role": "user", "content": 3}]), r"messages\[0\].content"),
        (ask("x", tool_choice="required"), "no tools"),
        (ask("x", tools=[CALC], tool_choice="hammer"), "auto, none, required, calculator"),
        (ask("x", tools=[CALC], json_schema={}), "exclude"),
        (ask("x", temperature=-1), "temperature"),
        (ask("x", max_tokens=0), "max_tokens"),
    ],
)
def test_bad_requests_are_named(request_: ChatRequest, message: str) -> None:
    async def use(manager: ChatManager, _: Engine) -> None:
        with pytest.raises(BadRequest, match=message):
            await manager.chat(Pid(1), request_, 0)

    with_script("hello", use)


@pytest.mark.model
def test_the_real_model_answers_calls_and_obeys() -> None:
    """One load for what only a real model shows: the template, calls under each choice, JSON of a schema."""
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 20},
            "legs": {"type": "integer"},
            "wild": {"type": "boolean"},
            "colours": {"type": "array", "items": {"enum": ["red", "grey", "white"]}, "maxItems": 3},
        },
        "required": ["name", "legs", "wild", "colours"],
        "additionalProperties": False,
    }

    async def main() -> None:
        async with chatting(real_model) as (manager, _):
            plain = await manager.chat(Pid(1), ask("Name a colour of the rainbow.", max_tokens=12), 0)
            assert plain.text
            assert plain.exact
            for choice in ("required", "calculator"):
                called = await manager.chat(
                    Pid(2), ask("What is 12*7?", tools=[CALC], tool_choice=choice, max_tokens=80), 0
                )
                assert (called.finish_reason, [c.name for c in called.tool_calls]) == ("tool_calls", ["calculator"])
                jsonschema.validate(called.tool_calls[0].arguments, CALC.parameters)
            free = await manager.chat(Pid(3), ask("Say hi.", tools=[CALC], max_tokens=20), 0)
            assert free.text or free.tool_calls
            for seed in range(2):
                request = ask("Describe a fox.", json_schema=schema, max_tokens=120, temperature=1.2, seed=seed)
                described = await manager.chat(Pid(4), request, 0)
                assert described.finish_reason == "stop"
                jsonschema.validate(json.loads(described.text), schema)
            huge = {"type": "string", "minLength": 100_000}
            with pytest.raises(BadRequest, match="grammar"):
                await manager.chat(Pid(5), ask("x", json_schema=huge), 0)

    asyncio.run(main())


def test_json_that_a_stop_string_cut_is_passed_on_as_it_is() -> None:
    request = ask("hi", json_schema={"type": "object"}, stop=["1"])
    assert with_script('{"a":1}', lambda manager, _: manager.chat(Pid(1), request, 0)).text == '{"a":'


def test_a_call_that_is_no_text_stays_text() -> None:
    call = '<tool_call>{"name": "calculator", "arguments": {"expression": "\\ud800"}}</tool_call>'
    result = with_script(call, lambda manager, _: manager.chat(Pid(1), ask("hi", tools=[CALC]), 0))
    assert (result.text, result.tool_calls) == (call, [])


def test_a_seed_that_means_chance_is_refused() -> None:
    async def use(manager: ChatManager, _: Engine) -> None:
        for seed in (-1, 2**32 - 1):
            with pytest.raises(BadRequest, match="seed"):
                await manager.chat(Pid(1), ask("hi", seed=seed), 0)

    with_script("hello", use)
