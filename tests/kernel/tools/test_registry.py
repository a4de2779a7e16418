from __future__ import annotations

import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aios_kernel.clock import SystemClock
from aios_kernel.errors import DeadlineHit, NoSuchTool, ToolFailed
from aios_kernel.protocol import ToolSpec
from aios_kernel.tools import Tool, ToolRegistry, builtin_tools

pytestmark = pytest.mark.anyio

ANYTHING: dict[str, Any] = {"type": "object"}


@asynccontextmanager
async def registry(*more: Tool) -> AsyncIterator[ToolRegistry]:
    tools = ToolRegistry([*builtin_tools(SystemClock()), *more])
    try:
        yield tools
    finally:
        tools.close()


async def test_built_ins_answer() -> None:
    async with registry() as tools:
        assert [spec.name for spec in tools.specs()] == ["calculator", "clock"]
        assert await tools.call("calculator", {"expression": "12*7"}) == "84"
        now = await tools.call("clock", {"timezone": "UTC"})
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, \w+day", now)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "'expression' is a required property"),
        ({"expression": 3}, "expression: 3 is not of type 'string'"),
        ({"expression": "1", "x": 1}, "'x' was unexpected"),
    ],
)
async def test_arguments_are_checked_against_the_schema(arguments: dict[str, Any], says: str) -> None:
    async with registry() as tools:
        with pytest.raises(ToolFailed) as caught:
            await tools.call("calculator", arguments)
    assert says in caught.value.message


async def test_an_unknown_tool_names_the_nearest() -> None:
    async with registry() as tools:
        with pytest.raises(NoSuchTool, match="did you mean calculator"):
            await tools.call("calculater", {})


async def test_an_unknown_time_zone() -> None:
    async with registry() as tools:
        with pytest.raises(ToolFailed, match="no time zone 'Mars/Olympus'"):
            await tools.call("clock", {"timezone": "Mars/Olympus"})


async def test_a_tool_that_raises_fails_alone() -> None:
    def explode(_: dict[str, Any]) -> Any:
        raise OSError("boom")

    async with registry(Tool(ToolSpec("bomb", "", ANYTHING), explode)) as tools:
        with pytest.raises(ToolFailed, match="tool bomb: OSError: boom"):
            await tools.call("bomb", {})
        assert await tools.call("calculator", {"expression": "1+1"}) == "2"


async def test_a_tool_that_hangs_is_left_behind() -> None:
    release = threading.Event()
    async with registry(Tool(ToolSpec("hang", "", ANYTHING), lambda _: release.wait(), timeout_s=0.05)) as tools:
        try:
            with pytest.raises(DeadlineHit, match=r"tool hang: not done after 0\.05 s"):
                await tools.call("hang", {})
            assert await tools.call("calculator", {"expression": "1+1"}) == "2"
        finally:
            release.set()
