"""Tools through the real command line: a real MCP server used by an agent, and ours used by a real MCP client."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from mcp import MCPError, StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client
from system import System, runs

from aios_kernel.protocol import ProcState

# By the program's own call, then by the model's.
TRAVELLER = """
import json

async def main(agent):
    noon = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
    converted = json.loads(await agent.tool("time.convert_time", **noon))
    messages = [{"role": "user", "content": agent.task}]
    await agent.run_tools(messages, ["time.get_current_time"], rounds=1, tool_choice="required", max_tokens=64)
    agent.write(json.dumps({"there": converted["target"]["datetime"], "turns": messages[1:]}) + "\\n")
"""


@pytest.fixture(scope="module")
def timed(system: System) -> System:
    """A system with the real time server added."""
    folder = system.home / "data" / "agents" / "traveller"
    folder.mkdir(parents=True)
    (folder / "agent.toml").write_text('name = "traveller"\ndescription = "Asks for the time."\nentry = "tour:main"\n')
    (folder / "tour.py").write_text(TRAVELLER)
    system.ok("tools", "add", "time", "--", sys.executable, "-m", "mcp_server_time", "--local-timezone", "UTC")
    return system


def tools_of(system: System) -> dict[str, Any]:
    return {tool["name"]: tool for tool in system.json("tools", "ls")["tools"]}


def test_tools_are_listed_shown_and_called(system: System) -> None:
    tools = tools_of(system)
    assert {"calculator", "clock", "convert", "text_search", "table_query", "python", "shell"} <= set(tools)
    assert (tools["shell"]["asks"], tools["calculator"]["asks"]) == (True, False)
    assert system.json("tools", "ls")["unavailable"] == {"http_fetch": "is off: [tools] http_fetch = true"}
    assert "expression (needed)" in system.ok("tools", "show", "calculator")
    assert system.ok("tools", "call", "convert", "value=3", "from=mile", "to=km") == "4.828032 km\n"
    assert system.ok("tools", "call", "calculator", '{"expression": "2^10"}') == "1024\n"
    assert system.json("tools", "call", "calculator", "expression=2^10") == "1024"


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["calculater"], 1, "did you mean calculator"),
        (["calculator", "x=1"], 1, "tool calculator: arguments: "),
        (["calculator", "expression"], 2, "'expression' is not NAME=VALUE"),
        (["calculator", "{"], 2, "the arguments are not JSON"),
        (["http_fetch", "url=http://x"], 1, "http_fetch is off"),
        (["shell", "command=id", "--group", "guest"], 126, "not permitted: run shell: id"),
        (["clock", "--group", "king"], 2, "group 'king': must be one of guest, user, operator"),
    ],
)
def test_what_goes_wrong_is_said_in_one_line(system: System, words: list[str], status: int, says: str) -> None:
    done = system.run("tools", "call", *words)
    assert (done.returncode, done.stdout) == (status, "")
    assert says in done.stderr


def test_code_runs_in_the_sandbox(system: System) -> None:
    assert system.ok("tools", "call", "python", "code=print(6 * 7)") == "42\n"
    assert "exit code" in system.ok("tools", "call", "shell", f"command=cat {system.home}/state/person.key")


@pytest.mark.model
def test_an_agent_uses_a_real_mcp_server(timed: System) -> None:
    tools = tools_of(timed)
    assert (tools["time.convert_time"]["source"], tools["time.convert_time"]["asks"]) == ("mcp time", False)
    told = json.loads(timed.ok("run", "traveller", "What time is it in Asia/Tokyo?"))
    assert told["there"].endswith("T21:00:00+09:00")
    call, result, *_ = told["turns"]
    assert call["tool_calls"][0]["name"] == "time.get_current_time"
    assert (result["role"], result["name"]) == ("tool", "time.get_current_time")
    assert "datetime" in result["content"] or "Invalid timezone" in result["content"]  # as the small model chose it
    audited = timed.json("audit", "ls", "--limit", "1000")
    assert ("tool:call", "time.convert_time", "allow") in [(a["action"], a["resource"], a["outcome"]) for a in audited]


NOON = ("source_timezone=UTC", "time=12:00")


def test_servers_are_kept_and_taken_away(timed: System) -> None:
    timed.ok("kernel", "restart")
    assert "T12:00" in timed.ok("tools", "call", "time.convert_time", *NOON, "target_timezone=UTC")
    servers = timed.json("tools", "ls")["servers"]
    assert [(server["name"], server["state"], server["tools"]) for server in servers] == [("time", "ready", 2)]
    refused = timed.run("tools", "add", "time", "--", "true")
    assert (refused.returncode, "already" in refused.stderr) == (2, True)
    broken = timed.run("tools", "add", "broken", "--", "no-such-program")
    assert (broken.returncode, "there is no program" in broken.stderr) == (1, True)


@pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that ends a process with its parent")
def test_servers_end_with_a_kernel_that_is_killed(timed: System) -> None:
    timed.ok("tools", "call", "time.get_current_time", "timezone=UTC")
    kernel = psutil.Process(timed.json("kernel", "status")["pid"])
    server = next(child for child in kernel.children() if "mcp_server_time" in child.cmdline())
    kernel.kill()
    deadline = time.monotonic() + 20
    while runs(server):
        assert time.monotonic() < deadline, "the server outlives its kernel"
        time.sleep(0.02)
    assert "+00:00" in timed.ok("tools", "call", "time.get_current_time", "timezone=UTC")


# --- our own server


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Any]:
    with (tmp_path / "stderr").open("w+") as file:
        yield file


def serving(system: System, notes: Any, *options: str) -> Client:
    words = ["-m", "aios_shell", "tools", "serve", *options]
    parameters = StdioServerParameters(command=sys.executable, args=words, env=system.env)
    return Client(stdio_client(parameters, notes), read_timeout_seconds=60)


@pytest.mark.anyio
async def test_the_kernels_tools_as_an_mcp_server(system: System, notes: Any) -> None:
    async with serving(system, notes, "calculator", "python") as client:
        listed = (await client.list_tools()).tools
        assert [tool.name for tool in listed] == ["calculator", "python"]
        done = await client.call_tool("calculator", {"expression": "12*7"})
        assert (done.is_error, done.content[0].text) == (False, "84")
        failed = await client.call_tool("calculator", {"expression": "1/0"})
        assert (failed.is_error, "division by zero" in failed.content[0].text) == (True, True)
        with pytest.raises(MCPError, match="no tool 'clock'"):
            await client.call_tool("clock", {})

        async def approve() -> None:
            kernel = system.client()
            with anyio.fail_after(60):
                pid = next(proc.pid for proc in await anyio.to_thread.run_sync(kernel.procs) if proc.agent == "mcp")
                await anyio.to_thread.run_sync(lambda: kernel.wait(pid, state=ProcState.ASKING, timeout_s=50))
            await anyio.to_thread.run_sync(system.ok, "approve", str(pid))

        async with anyio.create_task_group() as group:
            group.start_soon(approve)
            done = await client.call_tool("python", {"code": "print('asked for')"})
        assert done.content[0].text == "asked for"
    ended = [proc for proc in system.client().procs(all=True) if proc.agent == "mcp"]
    assert [(proc.state, proc.exit_code) for proc in ended] == [("exited", 0)]


@pytest.mark.anyio
async def test_a_server_whose_process_is_killed_ends(system: System, notes: Any) -> None:
    async with serving(system, notes, "--agent", "doomed") as client:
        assert len((await client.list_tools()).tools) > 10
        pid = next(proc.pid for proc in system.client().procs() if proc.agent == "doomed")
        system.ok("kill", str(pid))
        with pytest.raises(MCPError, match="Connection closed"):  # at the latest when the token names nobody
            await client.call_tool("calculator", {"expression": "1"})
    notes.seek(0)
    assert f"process {pid} was killed by SIGTERM" in notes.read()


def test_a_file_is_no_mcp_client(system: System, tmp_path: Path) -> None:
    file = tmp_path / "in"
    file.write_text("{}\n")
    with file.open() as stdin:
        done = system.popen("tools", "serve", stdin=stdin)
        _, error = done.communicate(timeout=60)
    assert (done.returncode, "speaks through a pipe" in error) == (2, True)


def test_a_server_that_cannot_serve_says_why(system: System) -> None:
    ended = system.run("-c", "tools serve < /dev/null")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "aios: standard input is a file: an MCP client speaks through a pipe\n"
    unknown = system.run("tools", "serve", "nope")
    assert (unknown.returncode, unknown.stderr.startswith("aios: no tool 'nope'")) == (1, True)
