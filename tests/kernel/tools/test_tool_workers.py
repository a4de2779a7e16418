"""Tools that run in a process of their own: code, search, tables, functions of packages."""

from __future__ import annotations

import asyncio
import base64
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from tool_callers import Asked, caller

from aios_kernel.client import protection
from aios_kernel.client.protection import Engine
from aios_kernel.errors import BadRequest, NoSuchTool, NotPermitted, ToolFailed
from aios_kernel.sandbox.config import SandboxConfig
from aios_kernel.sandbox.run import ToolSandbox
from aios_kernel.tools import ToolRegistry
from aios_kernel.tools.code import code_tools
from aios_kernel.tools.data import data_tools
from aios_kernel.tools.files import file_tools
from aios_kernel.tools.functions import Functions
from aios_kernel.tools.workers import Workers

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(protection.tools()[0] is Engine.NONE, reason="nothing here confines tools"),
]


@pytest.fixture
def workers(tmp_path: Path) -> Workers:
    sandbox = ToolSandbox(tmp_path / "scratch", SandboxConfig())
    return Workers(sandbox, tmp_path / "scratch", timeout_s=20.0, memory_bytes=512 << 20)


@pytest.fixture
def tools(workers: Workers) -> ToolRegistry:
    return ToolRegistry([*code_tools(workers), *data_tools(workers), *file_tools()])


def with_file(text: str, path: str = "a.csv") -> Asked:
    asked = Asked()
    asked.results["sto.read"] = {"path": path, "size": len(text), "text": text, "base64": None}
    return asked


def left_behind(workers: Workers) -> list[Path]:
    return sorted(workers.folder.iterdir()) if workers.folder.exists() else []


async def test_python_and_shell_run_what_they_are_given(tools: ToolRegistry, workers: Workers) -> None:
    asked = with_file("one\ntwo\n", "notes/a.txt")
    code = "print(open('a.txt').read().upper(), end='')"
    assert await tools.call("python", {"code": code, "files": ["notes/a.txt"]}, caller(asked=asked)) == "ONE\nTWO"
    assert asked.syscalls == [("sto.read", {"path": "notes/a.txt"})]
    assert [(need.name, need.id, need.irreversible) for need in asked.needs] == [("tool:exec", "python", True)]
    result = await tools.call("shell", {"command": "echo hello; echo oops >&2; exit 3"}, caller())
    assert result == "hello\n[standard error]\noops\n[exit code 3]"
    assert not left_behind(workers)


async def test_code_is_not_run_without_a_persons_word(tools: ToolRegistry) -> None:
    asked = Asked(permit=False)
    with pytest.raises(NotPermitted, match="run shell: rm -rf /"):
        await tools.call("shell", {"command": "rm -rf /"}, caller(asked=asked))


@pytest.mark.parametrize(
    "command",
    [
        f"cat {Path.home()}/.profile /etc/shadow",
        f"{__import__('sys').executable} -c 'import socket; socket.create_connection((\"127.0.0.1\", 1))'",
        "echo x > /tmp/escaped",
    ],
)
async def test_code_reaches_no_home_no_network_and_writes_nowhere_else(tools: ToolRegistry, command: str) -> None:
    result = await tools.call("shell", {"command": f"{command} || echo refused"}, caller())
    assert "refused" in result
    assert "Connection refused" not in result  # that would have been the network's word


async def test_code_that_does_not_end_or_floods_is_ended(tmp_path: Path) -> None:
    sandbox = ToolSandbox(tmp_path / "scratch", SandboxConfig())
    workers = Workers(sandbox, tmp_path / "scratch", timeout_s=1.0, memory_bytes=512 << 20)
    tools = ToolRegistry(code_tools(workers))
    assert "[ended: longer than 1 s]" in await tools.call("python", {"code": "while True: pass"}, caller())
    flood = await tools.call("python", {"code": "while True: print('x' * 10_000)"}, caller())
    assert len(flood) < 200_000
    assert "bytes are left out" in flood
    assert not left_behind(workers)


async def test_a_caller_that_goes_away_takes_its_program_along(tools: ToolRegistry, workers: Workers) -> None:
    running = asyncio.create_task(tools.call("shell", {"command": "sleep 60"}, caller()))
    async with asyncio.timeout(20):
        while not (await tools.infos())[1].running:  # noqa: ASYNC110 - it has no event to tell it
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (await tools.infos())[1].running == 0
    assert not left_behind(workers)


async def test_text_search(tools: ToolRegistry) -> None:
    arguments = {"pattern": "B.", "text": "a\nb1\nB2", "regex": True}
    hits = [{"file": "", "line": 2, "text": "b1"}, {"file": "", "line": 3, "text": "B2"}]
    assert await tools.call("text_search", arguments, caller()) == {"hits": hits, "total": 2}
    asked = with_file("x.y\nxzy\n", "a.txt")
    found = await tools.call("text_search", {"pattern": "x.y", "files": ["a.txt"]}, caller(asked=asked))
    assert found == {"hits": [{"file": "a.txt", "line": 1, "text": "x.y"}], "total": 1}
    with pytest.raises(ToolFailed, match="not a regular expression"):
        await tools.call("text_search", {**arguments, "pattern": "("}, caller())
    with pytest.raises(BadRequest, match="give text or files"):
        await tools.call("text_search", {"pattern": "x"}, caller())


async def test_a_pattern_that_backtracks_for_ever_is_ended(tmp_path: Path) -> None:
    sandbox = ToolSandbox(tmp_path / "scratch", SandboxConfig())
    tools = ToolRegistry(data_tools(Workers(sandbox, tmp_path / "scratch", 1.0, 512 << 20)))
    with pytest.raises(ToolFailed, match="longer than 1 s"):
        await tools.call("text_search", {"pattern": "(a+)+$", "regex": True, "text": "a" * 60 + "!"}, caller())


CSV = "name,age\nAnna,30\nBen,41\n"


async def test_table_query(tools: ToolRegistry, workers: Workers) -> None:
    arguments = {"query": "SELECT name, age + 1 AS next FROM people WHERE age > 30", "files": ["data/people.csv"]}
    asked = with_file(CSV, "data/people.csv")
    result = await tools.call("table_query", arguments, caller(asked=asked))
    assert result == {"columns": ["name", "next"], "rows": [["Ben", 42]], "more": False}
    many = {**arguments, "query": "SELECT * FROM range(5000)"}
    result = await tools.call("table_query", many, caller(asked=asked))
    assert (len(result["rows"]), result["more"]) == (1_000, True)
    assert not left_behind(workers)


async def test_a_query_reads_parquet(tools: ToolRegistry, tmp_path: Path) -> None:
    import duckdb

    file = tmp_path / "n.parquet"
    duckdb.sql(f"COPY (SELECT range AS n FROM range(10)) TO '{file}' (FORMAT parquet)")
    asked = Asked()
    asked.results["sto.read"] = {"text": None, "base64": base64.b64encode(file.read_bytes()).decode()}
    result = await tools.call(
        "table_query", {"query": "SELECT sum(n) AS total FROM n", "files": ["n.parquet"]}, caller(asked=asked)
    )
    assert result["rows"] == [[45]]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM 'people.csv'",
        "COPY people TO '/tmp/x.csv'",
        "ATTACH '/tmp/x.db'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SELECT 1; SELECT 2",
        "SELECT",
    ],
)
async def test_a_query_reaches_nothing_but_its_tables(tools: ToolRegistry, query: str) -> None:
    arguments = {"query": query, "files": ["people.csv"]}
    with pytest.raises(ToolFailed) as caught:
        await tools.call("table_query", arguments, caller(asked=with_file(CSV, "people.csv")))
    assert "\n" not in caught.value.message


async def test_files_are_those_of_the_caller(tools: ToolRegistry) -> None:
    asked = with_file("one\ntwo\nthree\n", "a.txt")
    assert await tools.call("file_read", {"path": "a.txt", "start": 2, "lines": 1}, caller(asked=asked)) == "two\n"
    asked.results["sto.write"] = {"path": "a.txt", "size": 3, "version": 2}
    assert await tools.call("file_write", {"path": "a.txt", "content": "new"}, caller(asked=asked)) == (
        "a.txt: 3 bytes, version 2"
    )
    asked.results["sto.delete"] = NotPermitted("not permitted: delete a.txt")
    with pytest.raises(NotPermitted):
        await tools.call("file_delete", {"path": "a.txt"}, caller(asked=asked))
    asked.results["sto.list"] = [{"path": "d", "kind": "folder"}, {"path": "a.txt", "kind": "file", "size": 3}]
    assert await tools.call("file_list", {}, caller(asked=asked)) == "d/\na.txt (3 bytes)"
    with pytest.raises(BadRequest, match="no two of one name"):
        await tools.call("shell", {"command": "ls", "files": ["x/a", "y/a"]}, caller(asked=asked))


# --- functions of packages

PACKAGE = """
import os, pathlib, time

class Spec:
    def __init__(self, function, **properties):
        self.function, self.description = function, function.__doc__
        self.parameters = {"type": "object", "properties": properties, "required": list(properties)}

class Tool:
    def __init__(self, function, **properties):
        self.spec = Spec(function, **properties)
    def __call__(self, **arguments):
        return self.spec.function(**arguments)

def _double(value):
    "Twice a number."
    print("noise on standard output")
    return 2 * value

async def _later(value):
    "The same, awaited."
    return value

def _spin():
    "Never ends."
    while True:
        pass

def _flood():
    "Far too much."
    return "x" * 10_000_000

def _die():
    "Ends its process."
    os._exit(3)

def _peek():
    "Looks around."
    return pathlib.Path("/etc/shadow").read_text()

NUMBER = {"type": "integer"}
double, later = Tool(_double, value=NUMBER), Tool(_later, value=NUMBER)
spin, flood, die, peek = map(Tool, (_spin, _flood, _die, _peek))
plain = _double
"""


@pytest.fixture
def functions(tmp_path: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Entry points of a package, as an installed one has them."""
    file = tmp_path / "pack" / "made_up_tools.py"
    file.parent.mkdir()
    file.write_text(PACKAGE)
    monkeypatch.syspath_prepend(str(file.parent))
    names = ["double", "later", "spin", "flood", "die", "peek", "plain"]
    entries = [EntryPoint(name, f"{file}:{name}", "aios.tools") for name in names]
    return lambda timeout_s=20.0: Functions(
        Workers(workers.sandbox, workers.folder, timeout_s, workers.memory_bytes),
        [*entries, EntryPoint("lost", "no_such_module:run", "aios.tools"), EntryPoint("a.b", "x:y", "aios.tools")],
    )


async def test_functions_of_packages(functions: Any) -> None:
    source = functions()
    tools = ToolRegistry([], [source])
    infos = {info.name: info for info in await tools.infos()}
    assert set(infos) == {"double", "later", "spin", "flood", "die", "peek"}
    assert infos["double"].description == "Twice a number."
    assert await tools.call("double", {"value": 21}, caller()) == 42
    assert await tools.call("later", {"value": 21}, caller()) == 21
    with pytest.raises(ToolFailed, match="'value' is a required property"):
        await tools.call("double", {}, caller())
    with pytest.raises(NoSuchTool, match="not marked with @tool"):
        await tools.call("plain", {}, caller())
    with pytest.raises(NoSuchTool, match="ModuleNotFoundError"):
        await tools.call("lost", {}, caller())


async def test_functions_fail_alone(functions: Any) -> None:
    tools = ToolRegistry([], [functions(4.0)])
    outcomes = await asyncio.gather(
        *(tools.call(name, {}, caller(pid)) for pid, name in enumerate(("spin", "flood", "die", "peek"))),
        tools.call("double", {"value": 1}, caller(9)),
        return_exceptions=True,
    )
    says = [str(each) for each in outcomes]
    assert "longer than 4 s" in says[0] or "processor time" in says[0]
    assert "more than 1 MiB" in says[1]
    assert "exit code 3" in says[2]
    assert "PermissionError" in says[3]
    assert outcomes[4] == 2


async def test_a_function_marked_with_the_sdk(workers: Workers) -> None:
    """As an installed package has it: the worker imports the SDK, confined."""
    entry = EntryPoint("hotels", "aios_agents.bundled.travel.agent:find_hotels", "aios.tools")
    tools = ToolRegistry([], [Functions(workers, [entry])])
    info = (await tools.infos())[0]
    assert info.description == "Hotels in the city: name, stars, price of a night in euros."
    with pytest.raises(ToolFailed, match="'city' is a required property"):
        await tools.call("hotels", {}, caller())
    with pytest.raises(ToolFailed, match="tool hotels: KeyError: 'Atlantis'"):
        await tools.call("hotels", {"city": "Atlantis"}, caller())
