from __future__ import annotations

from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest
import typer

from aios_shell import help as help_text
from aios_shell.registry import COMMANDS
from aios_shell.spec import CommandSpec
from aios_shell.typer_app import app
from shell.conftest import Shell

GOLDEN = Path(__file__).with_name("golden")


@pytest.mark.parametrize("spec", COMMANDS, ids=lambda spec: spec.name)
def test_every_handler_takes_what_the_table_names(spec: CommandSpec) -> None:
    module, name = spec.handler.split(":")
    handler = getattr(import_module(f"aios_shell.commands.{module}"), name)
    assert ["io", *(param.name for param in spec.params)] == list(signature(handler).parameters)


def test_names_are_unique_and_the_whole_table_makes_one_typer_app() -> None:
    names = [spec.name for spec in COMMANDS]
    assert len(names) == len(set(names))
    group = typer.main.get_command(app())
    assert {name.split()[0] for name in names} == set(group.commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("words", [["help"], ["help", "run"], ["help", "kill"], ["help", "snap"]], ids=" ".join)
def test_help_is_this_text(shell: Shell, words: list[str]) -> None:
    golden = GOLDEN / f"{'-'.join(words)}.txt"
    status, out, err = shell.words(*words)
    assert (0, golden.read_text(), "") == (status, out, err)


@pytest.mark.parametrize("spec", COMMANDS, ids=lambda spec: spec.name)
def test_help_and_the_help_option_say_the_same(shell: Shell, spec: CommandSpec) -> None:
    assert shell.words(*spec.name.split(), "--help") == (0, help_text.command_help(spec), "")


@pytest.mark.parametrize("words", [["fs", "--help"], ["fs", "-h"], ["fs", "help"], ["help", "fs"]], ids=" ".join)
def test_a_noun_asked_for_help_tells_all_its_commands(shell: Shell, words: list[str]) -> None:
    assert shell.words(*words) == (0, help_text.noun_help("fs"), "")
    assert "  fs rollback  " in help_text.noun_help("fs")


def test_help_fits_a_terminal_of_80_columns() -> None:
    pages = [help_text.overview(), help_text.noun_help("fs"), *(help_text.command_help(spec) for spec in COMMANDS)]
    examples = {f"  {example}" for spec in COMMANDS for example in spec.examples}
    assert [line for page in pages for line in page.splitlines() if len(line) > 80 and line not in examples] == []


def test_the_reference_names_every_visible_command() -> None:
    page = help_text.reference()
    for spec in COMMANDS:
        assert (f"### aios {spec.name}\n" in page) is not spec.hidden


@pytest.mark.parametrize(
    ("words", "status", "err"),
    [
        (["kill"], 2, "missing argument 'PID' (see `aios help kill`)"),
        (["kill", "x"], 2, "invalid value for 'PID': 'x' is not a number (see `aios help kill`)"),
        (["kill", "0"], 2, "invalid value for 'PID': 0 is not at least 1 (see `aios help kill`)"),
        (["kill", "-9", "3"], 3, "no kernel here"),
        (["kill", "-KILL", "3"], 3, "no kernel here"),
        (["kill", "-s", "KILL", "3"], 3, "no kernel here"),
        (["nice", "-5", "3"], 3, "no kernel here"),
        (["nice", "-50", "3"], 2, "invalid value for 'N': -50 is not between -20 and 19 (see `aios help nice`)"),
        (["ps", "--al"], 2, "no such option: --al (Possible options: --all, --help) (see `aios help ps`)"),
        (["ps", "x"], 2, "got unexpected extra argument(s) (x) (see `aios help ps`)"),
        (["ps"], 3, "no kernel here"),
        (["snap"], 3, "no kernel here"),
        (
            ["run", "--json", "math", "1+1"],
            2,
            "--json goes with --bg: without it, standard output is what the agent writes",
        ),
        (
            ["run", "math", "--deadline", "0"],
            2,
            "invalid value for '--deadline': 0.0 is not at least 0.001 (see `aios help run`)",
        ),
        (["tools", "show", ""], 2, "invalid value for 'NAME': it is empty (see `aios help tools show`)"),
        (["access", "revoke", "a", ""], 2, "invalid value for 'ID': it is empty (see `aios help access revoke`)"),
        (["agents", "new", "ps"], 2, "ps is a command: it would be run instead of the agent"),
        (["tools", "add", "x"], 2, "give its program, `aios tools add x -- PROGRAM`, or its address with --url"),
        (["fs", "cat", "w"], 2, "'w': a file is called AGENT/PATH; `aios fs ls w` lists that agent's"),
        (["fs", "write", "w/", "x"], 2, "'w/': a file is called AGENT/PATH; `aios fs ls w` lists that agent's"),
        (
            ["fs", "write", "/etc/passwd", "x"],
            2,
            "'/etc/passwd': a file is called AGENT/PATH; `aios fs ls` lists the agents that keep some",
        ),
        (
            ["fs", "share", "w/a", "--hours", "1e9"],
            2,
            "invalid value for '--hours': 1000000000.0 is not between 0.001 and 8784 (see `aios help fs share`)",
        ),
        (["snap", "sl"], 2, "snap has no command 'sl'; it has ls, save, show, diff, restore, fork, rm, export, import"),
        (["help", "kil"], 2, "no command is called 'kil'; did you mean 'kill'?"),
        (["model", "pull", "x"], 2, "'x' is not OWNER/NAME, as in bartowski/SmolLM2-360M-Instruct-GGUF"),
        (["completion", "tcsh"], 2, "no completion for 'tcsh'; there is bash, zsh, fish"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_wrong_line_is_one_line_of_help(shell: Shell, words: list[str], status: int, err: str) -> None:
    assert (status, "", f"aios: {err}\n") == shell.words(*words)
