"""What an ended process leaves, and who goes on with it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from chats import ask, real_model, run, with_script

from aios_kernel.chat import ChatManager
from aios_kernel.chat import manager as module
from aios_kernel.core import EngineConfig
from aios_kernel.protocol import ChatReply, ChatRequest, Pid
from aios_kernel.scheduler.engine import Engine

SAID = [{"role": "user", "content": "Name two animals of the sea, and say a word about each."}]


def next_turn(first: ChatReply, **options: Any) -> ChatRequest:
    reply = {"role": "assistant", "content": first.text}
    return ChatRequest([*SAID, reply, {"role": "user", "content": "And on land?"}], **options)


async def left(manager: ChatManager, pid: int, name: bytes = b"sea") -> ChatReply:
    """What `pid` said to the model before it ended."""
    first = await manager.chat(Pid(pid), ChatRequest(SAID), 0)
    await asyncio.wrap_future(manager.release(Pid(pid), name))
    return first


async def cached(manager: ChatManager, pid: int, first: ChatReply, *names: bytes) -> int:
    manager.inherit(Pid(pid), names)
    return (await manager.chat(Pid(pid), next_turn(first), 0)).tokens_cached


def test_a_process_goes_on_where_another_ended() -> None:
    async def use(manager: ChatManager, _: Engine) -> tuple[int, int]:
        first = await left(manager, 1)
        return first.tokens_in + first.tokens_out, await cached(manager, 2, first, b"land", b"sea")

    spoken, reused = with_script("hello", use)
    assert spoken == reused


def test_of_two_at_once_one_goes_on_and_both_are_answered() -> None:
    async def use(manager: ChatManager, _: Engine) -> tuple[int, list[int]]:
        first = await left(manager, 1)
        both = (cached(manager, pid, first, b"sea") for pid in (2, 3))
        return first.tokens_in + first.tokens_out, list(await asyncio.gather(*both))

    spoken, (one, other) = with_script("hello", use)
    assert one == spoken > other


def test_the_least_recent_go_and_an_equal_one_takes_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KEPT", 2)

    async def use(manager: ChatManager, engine: Engine) -> None:
        for pid, name in ((1, b"a"), (2, b"b"), (3, b"b"), (4, b"c")):
            await left(manager, pid, name)
        loop = engine._loop
        assert loop is not None
        assert sorted(loop.contexts.contexts) == [3, 4]
        await asyncio.wrap_future(manager.release(Pid(5), b"d"))  # it has said nothing
        loop.check_invariants()
        assert sorted(loop.contexts.contexts) == [3, 4]

    with_script("hello", use)


def test_one_that_memory_had_no_room_for_is_fed_again() -> None:
    async def use(manager: ChatManager, engine: Engine) -> None:
        first = await left(manager, 1)
        await asyncio.gather(*(manager.chat(Pid(pid), ask(f"{pid}"), 0) for pid in (7, 8, 9)))
        manager.inherit(Pid(2), [b"sea"])
        second = await manager.chat(Pid(2), next_turn(first), 0)
        assert engine._loop is not None
        engine._loop.check_invariants()
        assert (second.text, second.tokens_cached < first.tokens_in) == ("hello", True)

    small = EngineConfig(slots=2, window=4096, threads=1, ram_bytes=0, prefix_bytes=0)
    with_script("hello", use, small)


@pytest.mark.model
def test_the_next_turn_has_the_bits_of_one_in_the_same_process() -> None:
    async def use(manager: ChatManager, _: Engine) -> tuple[ChatReply, ChatReply, ChatReply]:
        options = {"max_tokens": 24, "logits_hash": True}
        own = await manager.chat(Pid(1), ChatRequest(SAID, max_tokens=24), 0)
        native = await manager.chat(Pid(1), next_turn(own, **options), 0)
        first = await manager.chat(Pid(2), ChatRequest(SAID, max_tokens=24), 0)
        await asyncio.wrap_future(manager.release(Pid(2), b"sea"))
        for pid in (11, 12, 13):  # it leaves its slot
            await manager.chat(Pid(pid), ask(f"Say {pid}.", max_tokens=2), 0)
        manager.inherit(Pid(3), [b"sea"])
        return first, native, await manager.chat(Pid(3), next_turn(first, **options), 0)

    first, native, foreign = run(real_model, use)
    assert foreign.tokens_cached >= first.tokens_in + first.tokens_out - 1
    assert (native.text, native.logits_hash) == (foreign.text, foreign.logits_hash)
