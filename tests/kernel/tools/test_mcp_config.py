"""[mcp.NAME] of config.toml: read, written, and nothing else of the file touched."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_kernel.errors import BadConfig, BadRequest
from aios_kernel.tools.mcp import config
from aios_kernel.tools.mcp.config import ServerConfig

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12)


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({}, ""),
        ({"command": ["a"], "url": "http://x"}, ""),
        ({"command": "a b"}, "command"),
        ({"command": ["a", 1]}, "command"),
        ({"command": ["a"], "env": {"A": 1}}, "env"),
        ({"command": ["a"], "timeout_s": 0}, "timeout_s"),
        ({"command": ["a"], "timeout_s": True}, "timeout_s"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"url": "http://x", "speed": 1}, "speed"),
    ],
)
def test_a_wrong_table_names_its_key(body: dict[str, object], key: str) -> None:
    with pytest.raises(BadConfig) as caught:
        ServerConfig.parse("time", body)
    assert caught.value.data["key"] == key


@pytest.mark.parametrize("name", ["", "a.b", "a b", "-x", "é", "x" * 33])
def test_a_name_is_part_of_its_tools_names(name: str) -> None:
    with pytest.raises(BadConfig, match="cannot be the name"):
        ServerConfig(name, ("true",))


def test_where_tells_no_password() -> None:
    assert ServerConfig("x", url="https://me:secret@example.org/mcp?key=secret").where == "https://example.org/mcp"


BEFORE = """# mine
[model]
slots = 4   # as many as fit

[mcp.old]  # kept
command = ["old"]
env = { "A" = "[mcp.x]" }
[sched]
policy = "fifo"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_adding_and_removing_leaves_the_rest_as_it_was(path: Path) -> None:
    path.write_text(BEFORE)
    config.add(path, ServerConfig("time", ("mcp-server-time", "--local-timezone", "UTC"), env={"LANG": "C"}))
    assert path.read_text().startswith(BEFORE)
    assert tomllib.loads(path.read_text())["mcp"]["time"] == {
        "command": ["mcp-server-time", "--local-timezone", "UTC"],
        "env": {"LANG": "C"},
    }
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(BadRequest, match="already"):
        config.add(path, ServerConfig("time", ("x",)))
    config.remove(path, "time")
    assert path.read_text() == BEFORE
    config.remove(path, "old")
    assert tomllib.loads(path.read_text()) == {"model": {"slots": 4}, "sched": {"policy": "fifo"}}
    assert "# mine" in path.read_text()
    with pytest.raises(BadRequest, match="has no"):
        config.remove(path, "old")


def test_a_first_server_makes_the_file(path: Path) -> None:
    config.add(path, ServerConfig("web", url="https://example.org/mcp"))
    assert tomllib.loads(path.read_text()) == {"mcp": {"web": {"url": "https://example.org/mcp"}}}
    config.remove(path, "web")
    assert path.read_text() == ""


@pytest.mark.parametrize("text", ['mcp = { old = { command = ["a"] } }', 'mcp.old.command = ["a"]\n', "mcp.old = {}"])
def test_what_cannot_be_edited_safely_is_left(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(BadRequest, match="only you can edit"):
        config.remove(path, "old")
    assert path.read_text() == text


@given(command=st.lists(TEXTS, min_size=1, max_size=4), env=st.dictionaries(TEXTS, TEXTS, max_size=3))
def test_any_command_comes_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, command: list[str], env: dict[str, str]
) -> None:
    path = tmp_path_factory.mktemp("c") / "config.toml"
    server = ServerConfig("x", tuple(command), env=env)
    config.add(path, server)
    assert ServerConfig.parse("x", tomllib.loads(path.read_text())["mcp"]["x"]) == server
