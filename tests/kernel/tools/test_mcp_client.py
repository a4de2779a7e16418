"""MCP servers as tools: a real one, and one with bad manners, over real pipes and sockets."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tool_callers import Asked, caller

from aios_kernel.errors import BadRequest, DeadlineHit, KernelError, NoSuchTool, NotPermitted, ToolFailed
from aios_kernel.tools import ToolRegistry
from aios_kernel.tools.mcp import connection as connection_module
from aios_kernel.tools.mcp.config import ServerConfig
from aios_kernel.tools.mcp.servers import Servers

pytestmark = pytest.mark.anyio

RUDE = Path(__file__).with_name("rude_server.py")


def rude(folder: Path, *how: str, **more: Any) -> ServerConfig:
    return ServerConfig("rude", (sys.executable, str(RUDE), str(folder), *how), **more)


@asynccontextmanager
async def serving(*configs: ServerConfig, file: Path = Path("/nonexistent")) -> AsyncIterator[ToolRegistry]:
    servers = Servers(configs, os.environ, file)
    try:
        async with asyncio.timeout(60):
            yield ToolRegistry([], [servers])
    finally:
        await servers.close()


def alive(folder: Path) -> list[int]:
    found = []
    for pid in map(int, (folder / "pids").read_text().split()):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            continue
        found.append(pid)
    return found


def starts(folder: Path) -> int:
    return len((folder / "pids").read_text().split())


async def test_a_real_server_tells_the_time() -> None:
    time_server = ServerConfig("time", (sys.executable, "-m", "mcp_server_time", "--local-timezone", "UTC"))
    async with serving(time_server) as tools:
        infos = {info.name: info for info in await tools.infos()}
        assert set(infos) == {"time.get_current_time", "time.convert_time"}
        info = infos["time.convert_time"]
        assert (info.source, info.idempotent, info.asks) == ("mcp time", True, False)
        arguments = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
        asked = Asked()
        assert "T21:00:00+09:00" in await tools.call("time.convert_time", arguments, caller(asked=asked))
        assert not asked.needs  # it says that it only reads, and reaches nothing beyond itself
        with pytest.raises(ToolFailed, match="Invalid timezone"):
            await tools.call("time.convert_time", {**arguments, "source_timezone": "Mars"}, caller())
        with pytest.raises(ToolFailed, match="'target_timezone' is a required property"):
            await tools.call("time.convert_time", {"source_timezone": "UTC", "time": "1:00"}, caller())


async def test_nothing_starts_before_it_is_wanted_and_then_once(tmp_path: Path) -> None:
    async with serving(rude(tmp_path)) as tools:
        assert not (tmp_path / "pids").exists()
        results = await asyncio.gather(*(tools.call("rude.echo", {"value": n}, caller(n)) for n in range(20)))
        assert results == [str(n) for n in range(20)]
        assert starts(tmp_path) == 1
    assert not alive(tmp_path)


async def test_what_does_not_only_read_is_asked_about(tmp_path: Path) -> None:
    async with serving(rude(tmp_path)) as tools:
        yes, no = Asked(), Asked(permit=False)
        assert await tools.call("rude.write", {"value": "x"}, caller(asked=yes)) == "x"
        assert [(need.name, need.id, need.irreversible) for need in yes.needs] == [("tool:call", "rude.write", True)]
        assert yes.needs[0].what == 'call rude.write with {"value": "x"}'
        with pytest.raises(NotPermitted):
            await tools.call("rude.write", {}, caller(asked=no))
        assert await tools.call("rude.echo", {"value": "x"}, caller(asked=no)) == "x"


async def test_a_hanging_call_is_an_error_for_its_caller_alone(tmp_path: Path) -> None:
    async with serving(rude(tmp_path, timeout_s=1)) as tools:
        await tools.call("rude.echo", {}, caller())
        with pytest.raises(DeadlineHit, match=r"rude\.hang: not done after 1 s|no answer in 1 s"):
            await tools.call("rude.hang", {}, caller())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("flood", "a line of more than 4 MiB"),
        ("shout", "10000 messages that nobody asked for"),
        ("crash", "it has ended: it broke: what it was asked may or may not have been done"),
    ],
)
async def test_a_lost_connection_is_made_again_by_the_next_call(tmp_path: Path, name: str, says: str) -> None:
    async with serving(rude(tmp_path)) as tools:
        with pytest.raises(ToolFailed, match=says):
            await tools.call(f"rude.{name}", {}, caller())
        assert await tools.call("rude.echo", {"value": 1}, caller()) == "1"
        assert starts(tmp_path) == 2
    assert not alive(tmp_path)


async def test_what_only_reads_is_tried_again_where_the_connection_was_lost(tmp_path: Path) -> None:
    async with serving(rude(tmp_path)) as tools:
        assert await tools.call("rude.die_once", {}, caller()) == "done"
        assert starts(tmp_path) == 2


async def test_results_of_all_kinds(tmp_path: Path) -> None:
    async with serving(rude(tmp_path)) as tools:
        assert await tools.call("rude.image", {}, caller()) == "[image: image/png]"
        assert await tools.call("rude.structured", {}, caller()) == {"a": 1}
        with pytest.raises(ToolFailed, match=r"tool rude\.fail: no such file"):
            await tools.call("rude.fail", {}, caller())
        with pytest.raises(NoSuchTool, match=r"did you mean rude\.echo"):
            await tools.call("rude.eco", {}, caller())


async def test_a_server_whose_tools_change_is_asked_again(tmp_path: Path) -> None:
    async with serving(rude(tmp_path)) as tools:
        with pytest.raises(NoSuchTool):
            await tools.call("rude.new", {}, caller())
        await tools.call("rude.change", {}, caller())
        assert await tools.call("rude.new", {}, caller()) == "done"


async def test_odd_names_and_too_many_tools_are_left_out(tmp_path: Path) -> None:
    async with serving(rude(tmp_path, "odd-names", "many")) as tools:
        names = [info.name for info in await tools.infos()]
    assert 200 < len(names) <= connection_module.MAX_TOOLS
    assert all(name.removeprefix("rude.").isidentifier() for name in names)


async def test_what_it_says_aside_goes_to_the_log_within_bounds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serving(rude(tmp_path, "noisy")) as tools:
        assert await tools.call("rude.echo", {"value": 1}, caller()) == "1"
    said = [record.getMessage() for record in caplog.records if "line " in record.getMessage()]
    assert 0 < len(said) <= 120
    assert "\x1b" not in caplog.text
    assert "what it wrote is no message: this is no message" in caplog.text


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (ServerConfig("rude", ("no-such-program",)), "there is no program 'no-such-program'"),
        (ServerConfig("rude", ("true",), cwd="/nonexistent"), "No such file or directory"),
        (ServerConfig("rude", url="http://127.0.0.1:9/mcp"), "MCP server rude: "),
    ],
)
async def test_a_server_that_cannot_be_had_says_why_and_is_not_hammered(config: ServerConfig, says: str) -> None:
    async with serving(config) as tools:
        with pytest.raises(ToolFailed, match=says):
            await tools.call("rude.echo", {}, caller())
        with pytest.raises(ToolFailed, match="tried again in"):
            await tools.call("rude.echo", {}, caller())
        assert await tools.infos() == []


async def test_a_server_that_dies_at_once_leaves_its_last_words(tmp_path: Path) -> None:
    async with serving(rude(tmp_path, "dead")) as tools:
        with pytest.raises(ToolFailed, match="MCP server rude: it has ended: no such database"):
            await tools.call("rude.echo", {}, caller())


async def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "START_S", 0.5)
    async with serving(rude(tmp_path, "mute")) as tools:
        with pytest.raises(ToolFailed, match=r"it did not start in 0\.5 s"):
            await tools.call("rude.echo", {}, caller())
    assert not alive(tmp_path)


async def test_one_that_does_not_want_to_end_is_ended(tmp_path: Path) -> None:
    async with serving(rude(tmp_path, "stubborn")) as tools:
        await tools.call("rude.echo", {}, caller())
        assert len(alive(tmp_path)) == 1
    assert not alive(tmp_path)


@asynccontextmanager
async def web_server() -> AsyncIterator[str]:
    """A real server over streamable HTTP on loopback; its URL."""
    import uvicorn
    from mcp.server.mcpserver import MCPServer

    app = MCPServer("web")

    @app.tool()
    def double(value: int) -> int:
        """Twice a number."""
        return 2 * value

    @app.tool()
    def flood() -> str:
        """Far too much."""
        return "x" * (6 << 20)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app.streamable_http_app(), log_level="error", ws="none"))
        serving = asyncio.create_task(server.serve([listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
        finally:
            server.should_exit = True
            await serving


async def test_a_server_at_a_url() -> None:
    async with web_server() as url, serving(ServerConfig("web", url=url, timeout_s=10)) as tools:
        asked = Asked()
        assert await tools.call("web.double", {"value": 21}, caller(asked=asked)) == "42"
        assert [need.irreversible for need in asked.needs] == [True]  # what it is given leaves this machine
        with pytest.raises(KernelError, match=r"MCP server web|tool web"):
            await tools.call("web.flood", {}, caller())
        assert await tools.call("web.double", {"value": 2}, caller()) == "4"


async def test_added_and_removed_while_all_runs(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    servers = Servers([], os.environ, file)
    tools = ToolRegistry([], [servers])
    try:
        with pytest.raises(KernelError, match="it has ended"):
            await servers.add(rude(tmp_path, "dead"))
        assert not file.exists()
        info = await servers.add(rude(tmp_path))
        assert (info.state, info.tools) == ("ready", 11)
        assert "[mcp.rude]" in file.read_text()
        assert await tools.call("rude.echo", {"value": 1}, caller()) == "1"
        with pytest.raises(BadRequest, match="already"):
            await servers.add(rude(tmp_path))
        await servers.remove("rude")
        assert "mcp" not in file.read_text()
        assert not alive(tmp_path)
        with pytest.raises(NoSuchTool):
            await tools.call("rude.echo", {}, caller())
        with pytest.raises(BadRequest, match="no MCP server 'rude'"):
            await servers.remove("rude")
    finally:
        await servers.close()
