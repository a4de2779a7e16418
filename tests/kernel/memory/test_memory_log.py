"""Interaction logs of processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aios_kernel.errors import ToolFailed
from aios_kernel.memory.cache import OVERHEAD, SCHEMA, Pages
from aios_kernel.memory.log import InteractionLog
from aios_kernel.protocol import ChatReply, ChatRequest, Pid
from aios_kernel.sqlite import Database
from aios_kernel.testing import FakeClock

pytestmark = pytest.mark.anyio

ONE, TWO = Pid(1), Pid(2)


def reply(text: str) -> ChatReply:
    return ChatReply(text, [], "stop", 1, 0, 1, 0.0, 0.0, 0.0, True)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


@pytest.fixture
async def pages(tmp_path: Path) -> AsyncIterator[Pages]:
    swap = Database.open(tmp_path / "swap.sqlite3", SCHEMA, durable=False)
    yield Pages(swap, 20_000 + 100 * OVERHEAD)
    await asyncio.to_thread(swap.close)


@pytest.fixture
def log(pages: Pages) -> InteractionLog:
    return InteractionLog(pages, 100_000, 500, FakeClock())


async def test_a_conversation_is_told_once(log: InteractionLog) -> None:
    system = {"role": "system", "content": "be brief"}
    messages = [system, user("hi")]
    await log.chat(ONE, ChatRequest(messages), reply("hello"))
    messages = [*messages, {"role": "assistant", "content": "hello"}, user("bye")]
    await log.chat(ONE, ChatRequest(messages), reply("ciao"))
    first, second = await log.last(ONE, 10)
    assert ([system, user("hi")], {"text": "hello", "tool_calls": []}) == (first.asked, first.answered)
    assert ([user("bye")], "ciao") == (second.asked, second.answered["text"])


async def test_another_conversation_is_told_from_its_beginning(log: InteractionLog) -> None:
    await log.chat(ONE, ChatRequest([user("a"), user("b")]), reply("1"))
    await log.chat(ONE, ChatRequest([user("x"), user("b")]), reply("2"))
    await log.chat(ONE, ChatRequest([user("x"), user("b")]), reply("2"))  # the same again asks again
    assert [[user("a"), user("b")], [user("x"), user("b")], [user("b")]] == [i.asked for i in await log.last(ONE, 10)]


async def test_tools_and_failures(log: InteractionLog) -> None:
    await log.tool(ONE, "calculator", {"expression": "1+1"}, "2")
    await log.tool(ONE, "calculator", {"expression": "1/0"}, ToolFailed("division by zero"))
    good, bad = await log.last(ONE, 10)
    assert (
        good.kind,
        good.asked,
        good.answered,
        good.error,
    ) == ("tool", {"name": "calculator", "arguments": {"expression": "1+1"}}, "2", "")
    assert (bad.answered, bad.error) == (None, "ETOOL: division by zero")


async def test_a_log_dies_with_its_process(log: InteractionLog, pages: Pages) -> None:
    for number in range(40):
        await log.tool(ONE, "echo", {"text": "x" * 1_000}, number)
        await log.tool(TWO, "echo", {"text": "x" * 1_000}, number)
    assert list(range(30, 40)) == [row.answered for row in await log.last(ONE, 10)]
    assert pages.evictions > 0
    log.end(ONE)
    log.end(ONE)
    assert await log.last(ONE, 10) == []
    assert list(range(40)) == [row.answered for row in await log.last(TWO, 1_000)]
    log.end(TWO)
    assert (len(pages), log.num_interactions, len(log)) == (0, 0, 0)


async def test_the_longest_loses_its_beginning(log: InteractionLog, pages: Pages) -> None:
    await log.tool(TWO, "echo", {}, "kept")
    for number in range(300):
        await log.tool(ONE, "echo", {"text": "x" * 1_000}, number)
    rows = await log.last(ONE, 1_000)
    assert 299 == rows[-1].answered == rows[-1].seq
    assert 80 < len(rows) < 100
    assert [row.answered for row in await log.last(TWO, 10)] == ["kept"]
    assert log.num_interactions == len(pages) == len(rows) + 1


async def test_not_without_number(log: InteractionLog) -> None:
    for number in range(600):
        await log.tool(ONE, "e", {}, number)
    assert list(range(100, 600)) == [row.answered for row in await log.last(ONE, 1_000)]


async def test_one_that_is_larger_than_all_may_be_is_not_kept(log: InteractionLog) -> None:
    await log.tool(ONE, "echo", {"text": "x" * 200_000}, "")
    await log.tool(ONE, "echo", {}, "next")
    assert [row.answered for row in await log.last(ONE, 10)] == ["next"]


async def test_an_answer_has_its_bounds(tmp_path: Path) -> None:
    swap = Database.open(tmp_path / "more.sqlite3", SCHEMA, durable=False)
    log = InteractionLog(Pages(swap, 20 << 20), 100 << 20, 5_000, FakeClock())
    for number in range(20):
        await log.tool(ONE, "echo", {"text": "x" * (1 << 20)}, number)
    assert [row.answered for row in await log.last(ONE, 100)] == list(range(13, 20))
    long = [user("x" * 100_000), user("y")]
    await log.chat(ONE, ChatRequest(long), reply("z"))
    await log.chat(ONE, ChatRequest([*long, {"role": "assistant", "content": "z"}, user("more")]), reply("z"))
    assert (await log.last(ONE, 1))[0].asked == [user("more")]
    await asyncio.to_thread(swap.close)
