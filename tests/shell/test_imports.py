"""What the commands that must start fast may not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = [
    "llama_cpp",
    "numpy",
    "duckdb",
    "aiohttp",
    "fastapi",
    "uvicorn",
    "pydantic",
    "jinja2",
    "jsonschema",
    "prompt_toolkit",
    "textual",
    "rich",
    "lark",
    "asyncio",
    "huggingface_hub",
    "aios_agents",
]

# os._exit ends `aios`: the list is printed in its place.
SCRIPT = """
import os, sys
sys.argv = ["aios", *sys.argv[1:]]
def report(status):
    sys.stderr.write("loaded: " + " ".join(sorted({name.split(".")[0] for name in sys.modules})))
    sys.stderr.flush()
    raise SystemExit
os._exit = report
from aios_shell.cli import main
main()
"""


def loaded(tmp_path, *words: str) -> set[str]:
    env = {"AIOS_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert "loaded: " in done.stderr, done.stderr
    return set(done.stderr.rpartition("loaded: ")[2].split())


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["--help"],
        ["help", "run"],
        ["ps", "--help"],
        ["kernel", "status"],
        ["kill", "-9", "x"],
        ["locate"],
    ],
    ids=" ".join,
)
def test_a_plain_command_loads_nothing_heavy(tmp_path, words: list[str]) -> None:
    assert not set(HEAVY) & loaded(tmp_path, *words)


def test_a_line_loads_the_grammar_and_nothing_else_heavy(tmp_path) -> None:
    assert {"lark"} == set(HEAVY) & loaded(tmp_path, "-c", "cd / && help ps > /dev/null")
