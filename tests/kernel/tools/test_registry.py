"""The registry: whatever one tool does, its caller hears of it, and nobody else."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tool_callers import Asked, caller, tool

from aios_kernel.access.need import Kind, Need
from aios_kernel.errors import DeadlineHit, KernelError, NoSuchTool, NotPermitted, ToolFailed
from aios_kernel.tools import Tool, ToolRegistry
from aios_kernel.tools import registry as module
from aios_kernel.tools.tool import ConnectionLost

pytestmark = pytest.mark.anyio


async def echo(arguments: dict[str, Any]) -> Any:
    return arguments.get("value")


async def hang(_: dict[str, Any]) -> Any:
    await asyncio.Event().wait()


async def explode(_: dict[str, Any]) -> Any:
    raise OSError("boom\n" * 1_000)


ECHO = tool("echo", echo)


class Served:
    """A source whose one tool loses its connection the first times."""

    def __init__(self, failures: int, *, idempotent: bool) -> None:
        self.failures = failures
        self.found = 0
        self._idempotent = idempotent

    async def _run(self, _: dict[str, Any]) -> Any:
        if self.failures:
            self.failures -= 1
            raise ConnectionLost("gone")
        return "done"

    def claims(self, name: str) -> bool:
        return name.startswith("there.")

    async def find(self, name: str) -> Tool:
        if name != "there.x":
            raise NoSuchTool(f"no tool {name!r}", name=name)
        self.found += 1
        return tool("there.x", self._run, idempotent=self._idempotent)

    async def tools(self) -> list[Tool]:
        return [await self.find("there.x")]

    def known(self) -> list[Tool]:
        return []


async def test_a_tool_that_raises_fails_alone() -> None:
    tools = ToolRegistry([ECHO, tool("bomb", explode)])
    with pytest.raises(ToolFailed, match="tool bomb: OSError: boom boom") as caught:
        await tools.call("bomb", {}, caller())
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400
    assert await tools.call("echo", {"value": 1}, caller()) == 1


async def test_a_tool_that_hangs_frees_its_place() -> None:
    tools = ToolRegistry([ECHO, tool("hang", hang, timeout_s=0.02, concurrency=1)])
    outcomes = await asyncio.gather(*(tools.call("hang", {}, caller(pid)) for pid in range(3)), return_exceptions=True)
    assert [str(each) for each in outcomes] == ["tool hang: not done after 0.02 s"] * 3
    assert {type(each) for each in outcomes} == {DeadlineHit}
    assert [(info.name, info.running, info.waiting) for info in await tools.infos()] == [
        ("echo", 0, 0),
        ("hang", 0, 0),
    ]


async def test_a_caller_that_goes_away_frees_its_place() -> None:
    runs = asyncio.Event()

    async def hang_and_tell(arguments: dict[str, Any]) -> Any:
        runs.set()
        await hang(arguments)

    tools = ToolRegistry([tool("hang", hang_and_tell, concurrency=1)])
    running = asyncio.create_task(tools.call("hang", {}, caller()))
    await runs.wait()
    assert (await tools.infos())[0].running == 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (await tools.infos())[0].running == 0


@given(st.integers(0, 200), st.integers(0, 200), st.sampled_from(["x", "é", "\n"]))
@settings(deadline=None)
def test_a_flood_is_an_error_and_all_else_comes_through(size: int, limit: int, char: str) -> None:
    async def run() -> Any:
        tools = ToolRegistry([replace(ECHO, max_output_bytes=limit)])
        return await tools.call("echo", {"value": char * size}, caller())

    written = {"x": 1, "é": 2, "\n": 2}[char] * size + 2  # as JSON, in quotes
    if written <= limit:
        assert asyncio.run(run()) == char * size
    else:
        with pytest.raises(ToolFailed, match=f"its result has {written} bytes: at most {limit} are taken"):
            asyncio.run(run())


async def test_a_result_that_json_cannot_say_is_the_tools_fault() -> None:
    async def odd(_: dict[str, Any]) -> Any:
        return object()

    with pytest.raises(ToolFailed, match="tool odd: its result is no JSON"):
        await ToolRegistry([tool("odd", odd)]).call("odd", {}, caller())


async def test_an_unknown_tool_is_told_from_one_that_is_off() -> None:
    tools = ToolRegistry([ECHO], [Served(0, idempotent=True)], {"fetch": "is off: [tools] http_fetch = true"})
    with pytest.raises(NoSuchTool, match="did you mean echo"):
        await tools.call("ecko", {}, caller())
    with pytest.raises(NoSuchTool, match=r"fetch is off: \[tools\] http_fetch"):
        await tools.call("fetch", {}, caller())
    with pytest.raises(NoSuchTool, match=r"no tool 'there\.y'"):
        await tools.call("there.y", {}, caller())


async def test_what_a_run_needs_is_decided_before_it() -> None:
    need = Need("exec", Kind.TOOL, "echo", irreversible=True)
    tools = ToolRegistry([replace(ECHO, needs=lambda _, __: [need])])
    yes, no = Asked(), Asked(permit=False)
    assert await tools.call("echo", {"value": 1}, caller(asked=yes)) == 1
    with pytest.raises(NotPermitted):
        await tools.call("echo", {"value": 1}, caller(asked=no))
    assert yes.needs == no.needs == [need]


async def test_nobody_is_asked_about_arguments_that_do_not_fit() -> None:
    schema = {"type": "object", "properties": {"value": {"type": "integer"}}, "required": ["value"]}
    need = Need("exec", Kind.TOOL, "echo")
    tools = ToolRegistry([tool("echo", echo, parameters=schema, needs=lambda _, __: [need])])
    asked = Asked()
    with pytest.raises(ToolFailed, match="tool echo: value: 'x' is not of type 'integer'"):
        await tools.call("echo", {"value": "x"}, caller(asked=asked))
    assert not asked.needs


async def test_waiting_for_a_person_does_not_count_against_the_tool() -> None:
    answered = asyncio.Event()

    class Slow(Asked):
        async def require(self, need: Need) -> None:
            await answered.wait()

    async def run(_: dict[str, Any], by: Any) -> str:
        await by.require(Need("connect", Kind.NETWORK, "example.org:443"))
        return "done"

    tools = ToolRegistry([replace(ECHO, run=run, timeout_s=0.05)])
    calling = asyncio.create_task(tools.call("echo", {}, caller(asked=Slow())))
    await asyncio.sleep(0.1)
    assert not calling.done()
    answered.set()
    assert await calling == "done"


@pytest.mark.parametrize(("failures", "idempotent", "done"), [(1, True, True), (2, True, False), (1, False, False)])
async def test_only_what_may_run_twice_is_tried_again(failures: int, idempotent: bool, done: bool) -> None:
    source = Served(failures, idempotent=idempotent)
    tools = ToolRegistry([], [source])
    if done:
        assert await tools.call("there.x", {}, caller()) == "done"
    else:
        with pytest.raises(ToolFailed, match="gone"):
            await tools.call("there.x", {}, caller())
    assert source.found == (2 if idempotent else 1)


async def test_the_model_is_told_of_the_tools_it_asks_for() -> None:
    source = Served(0, idempotent=True)
    tools = ToolRegistry([ECHO], [source])
    assert [spec.name for spec in await tools.specs()] == ["echo", "there.x"]
    found = source.found
    assert [spec.name for spec in await tools.specs(["echo", "nothing"])] == ["echo"]
    assert source.found == found  # nobody has been asked for what is not wanted
    assert [spec.name for spec in await tools.specs(["there.x"])] == ["there.x"]


async def test_a_schema_that_is_none_fails_the_call_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_S", 1.0)
    tools = ToolRegistry([tool("odd", echo, parameters={"type": "object", "required": 3}), ECHO])
    with pytest.raises(KernelError, match="tool odd: its schema is none"):
        await tools.call("odd", {}, caller())
    assert await tools.call("echo", {"value": 1}, caller()) == 1
