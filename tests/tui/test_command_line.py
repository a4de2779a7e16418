"""The command line, its output, the help and the palette in an app of their own; there is no kernel here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from factories import live, proc
from shell.conftest import no_kernel
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.command import CommandPalette
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import OptionList, Static

from aios_kernel.client import paths
from aios_kernel.protocol import ProcState
from aios_shell import history
from aios_shell.complete import Candidate, World
from aios_shell.session import Session
from aios_shell.tui.messages import Act, Run
from aios_shell.tui.palette import defaults
from aios_shell.tui.palette_commands import ShellCommands
from aios_shell.tui.screens.help import HelpScreen
from aios_shell.tui.widgets.command_line import CommandLine
from aios_shell.tui.widgets.output import MAX_LINES, Output

pytestmark = pytest.mark.anyio

DEADLINE_S = 20


class Host(App[int]):
    COMMANDS = {ShellCommands}
    CSS = "Output { height: 1fr; }"
    BINDINGS = [
        Binding("f1", "nothing", "Do nothing", id="app.nothing"),
        Binding("ctrl+c", "nothing", "", id="app.int"),
    ]

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.session = Session(no_kernel, cwd=str(folder))
        self.live = live(proc(12, agent="math", task="[bold]1+1[/] \x1b[31m", state=ProcState.ASKING))
        self.heard: list[Any] = []

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return defaults(self.current_theme)

    def compose(self) -> ComposeResult:
        yield Output()
        yield CommandLine(self.session)

    def on_mount(self) -> None:
        self.query_one(CommandLine).focus()

    def on_act(self, event: Act) -> None:
        self.heard.append((event.verb, event.pids))

    def on_run(self, event: Run) -> None:
        self.heard.append(event.line)

    def on_command_line_left(self, event: CommandLine.Left) -> None:
        self.heard.append(("left", event.status))

    def on_command_line_dismissed(self) -> None:
        self.heard.append("dismissed")

    def on_output_spoke(self, event: Output.Spoke) -> None:
        self.heard.append(("spoke", event.line.text))

    @property
    def line(self) -> CommandLine:
        return self.query_one(CommandLine)

    @property
    def shown(self) -> str:
        return "\n".join(row.rstrip() for row in self.query_one(Output)._texts())

    @property
    def offered(self) -> list[str]:
        return [choice.shown for choice in self.line.candidates.choices]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setenv("AIOS_HOME", str(tmp_path / "home"))
    folder = tmp_path / "here"
    folder.mkdir()
    return Host(folder)


async def until(pilot: Pilot[int], true: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not true():
            await pilot.pause(0.01)


async def type_line(pilot: Pilot[int], text: str, *keys: str) -> None:
    pilot.app.query_one(CommandLine).prompt.insert(text)
    await pilot.press(*keys)
    await pilot.pause()


async def test_a_line_and_what_it_wrote(host: Host) -> None:
    async with host.run_test(size=(80, 24)) as pilot:
        await type_line(pilot, "echo a | tr a b; false", "enter")
        await until(pilot, lambda: "exit 1" in host.shown)
        command, output = host.shown.splitlines()[:2]
        assert command.startswith("❯ echo a | tr a b; false")
        assert output == "b"
        assert host.line.prompt.text == ""
        assert host.heard == [("spoke", "echo a | tr a b; false")]
        assert history.load(paths().history) == ["echo a | tr a b; false"]


async def test_what_is_typed_ahead_is_the_next_line(host: Host) -> None:
    async with host.run_test(size=(80, 24)) as pilot:
        for key in (*"false", "enter", *"true"):
            host.post_message(Key(key, "\r" if key == "enter" else key))
        await until(pilot, lambda: host.line.prompt.text == "true")
        await until(pilot, lambda: "exit 1" in host.shown)
        assert host.shown.startswith("❯ false ")


async def test_a_line_goes_on_while_a_quote_is_open(host: Host) -> None:
    async with host.run_test(size=(80, 24)) as pilot:
        await type_line(pilot, "echo 'a", "enter")
        assert host.line.prompt.text == "echo 'a\n"
        await type_line(pilot, "b'", "enter")
        await until(pilot, lambda: "\na\nb" in host.shown)


async def test_a_caret_under_what_is_wrong(host: Host) -> None:
    async with host.run_test(size=(80, 24)) as pilot:
        await type_line(pilot, "ls | | wc", "enter")
        problem = host.line.query_one(".problem", Static)
        caret = problem.region.x + str(problem.render()).index("^")
        assert caret == host.line.prompt.cursor_screen_offset.x == host.line.prompt.region.x + 5
        assert "unexpected '|'" in str(problem.render())
        await pilot.press("x")
        assert not problem.display


async def test_history_is_walked_searched_and_suggested(host: Host) -> None:
    path = paths()
    path.make()
    for entry in ("queue", "ps --all", "echo 'two\nlines'", "ps --tree"):
        history.append(path.history, entry)
    async with host.run_test(size=(80, 24)) as pilot:
        prompt = host.line.prompt
        await pilot.press("up", "up")
        assert prompt.text == "echo 'two\nlines'"
        await pilot.press("escape")
        await type_line(pilot, "ps", "up", "up")
        assert prompt.text == "ps --all"
        await pilot.press("down", "down")
        assert prompt.text == "ps"
        assert prompt.suggestion == ""
        await pilot.press("space")
        assert prompt.suggestion == "--tree"
        await pilot.press("right")
        assert prompt.text == "ps --tree"
        await pilot.press("escape")
        await type_line(pilot, "PS", "ctrl+r")
        assert host.offered == ["ps --all", "ps --tree"]
        await pilot.press("ctrl+r", "enter")
        assert prompt.text == "ps --all"


async def test_completion(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "pids", lambda _: [Candidate("12", "math \x1b[31m"), Candidate("13")])
    (Path(host.session.cwd) / "a file").touch()
    async with host.run_test(size=(80, 24)) as pilot:
        prompt = host.line.prompt
        await type_line(pilot, "susp", "tab")
        await until(pilot, lambda: prompt.text == "suspend ")
        await pilot.press("tab")
        await until(pilot, lambda: host.offered == ["12", "13"])
        assert prompt.text == "suspend 1"  # what both have in common
        options = host.line.candidates
        assert options.region.bottom == host.line.prompt.region.y
        assert "\x1b" not in str(options.get_option_at_index(0).prompt)
        await pilot.press("tab", "tab", "enter")
        assert prompt.text == "suspend 13 "
        await pilot.press("escape")
        await type_line(pilot, "cat 'a", "tab")
        await until(pilot, lambda: prompt.text == "cat 'a file' ")


async def test_a_choice_can_be_clicked_and_typing_on_closes_the_list(host: Host) -> None:
    async with host.run_test(size=(80, 24)) as pilot:
        await type_line(pilot, "kernel st", "tab")
        await until(pilot, lambda: host.offered == ["start", "stop", "status"])
        await pilot.click(OptionList, offset=(2, 1))
        assert host.line.prompt.text == "kernel stop "
        await pilot.press("escape")
        await type_line(pilot, "kernel st", "tab")
        await until(pilot, lambda: host.offered)
        await pilot.press("a")
        await until(pilot, lambda: not host.offered)


async def test_ctrl_c_clears_then_interrupts(host: Host) -> None:
    async with host.run_test(size=(80, 24)) as pilot:
        await type_line(pilot, "yes on and on", "enter")
        await until(pilot, lambda: "lines left out" in host.shown)
        await type_line(pilot, "half", "ctrl+c")
        assert host.line.prompt.text == ""
        await pilot.press("ctrl+c")
        await until(pilot, lambda: "exit 130" in host.shown)
        output = host.query_one(Output)
        assert output.virtual_size.height <= MAX_LINES + 2
        assert output.is_vertical_scroll_end


async def test_leaving(host: Host) -> None:
    async with host.run_test(size=(80, 24)) as pilot:
        await pilot.press("escape")
        await type_line(pilot, "exit 3", "enter")
        await until(pilot, lambda: ("left", 3) in host.heard)
        await pilot.press("ctrl+d")
        assert [heard for heard in host.heard if heard[0] != "spoke"] == ["dismissed", ("left", 3), ("left", 0)]


async def test_what_is_written_cannot_command_the_terminal_and_folds_to_any_width(host: Host) -> None:
    (Path(host.session.cwd) / "hostile").write_text(
        "\x1b]0;owned\x07[bold]x[/] \x1b[31m" + "漢字🙂" * 40 + "\n" + "y" * 10_000
    )
    async with host.run_test(size=(80, 24)) as pilot:
        await type_line(pilot, "cat hostile", "enter")
        await until(pilot, lambda: "[bold]x[/]" in host.shown)
        for width in (20, 1000, 3, 80):
            await pilot.resize_terminal(width, 24)
            await pilot.pause()
        output = host.query_one(Output)
        for y in range(output.size.height):
            strip = output.render_line(y)
            assert strip.cell_length == output.scrollable_content_region.width
            assert "\x1b" not in strip.text
        assert host.shown.replace("\n", "").count("漢字🙂") == 40


async def test_the_end_is_followed_until_one_scrolls_up(host: Host) -> None:
    gate = Path(host.session.cwd) / "gate"
    os.mkfifo(gate)
    async with host.run_test(size=(80, 24)) as pilot:
        output = host.query_one(Output)
        await type_line(pilot, "seq 100; cat gate", "enter")
        await until(pilot, lambda: output.scroll_offset.y > 50)
        await pilot.resize_terminal(60, 10)
        await until(pilot, lambda: output.is_vertical_scroll_end)
        output.focus()
        await pilot.press("home")
        await until(pilot, lambda: output.scroll_offset.y == 0)
        gate.write_text("late\n")
        await until(pilot, lambda: "late" in host.shown)
        assert output.scroll_offset.y == 0
        await pilot.press("y")
        assert host.clipboard.endswith("\n100\nlate\n")
        await pilot.press("c")
        await until(pilot, lambda: not host.shown)


async def test_help_tells_keys_and_commands_and_finds_them(host: Host) -> None:
    async with host.run_test(size=(120, 40)) as pilot:
        await host.push_screen(HelpScreen(host.screen, {"line.search": "f7,ctrl+r", "app.nothing": "f2"}))
        await pilot.pause()
        keys, commands = (str(column.render()) for column in host.screen.query("Help Static").results(Static))
        assert keys.index("Command line") < keys.index("Everywhere") < keys.index("Output of commands")
        assert "f7 ^r" in keys
        assert "f2" in keys
        assert "f1" not in keys
        assert "kernel restart" in commands
        await pilot.press(*"restart")
        keys, commands = (str(column.render()) for column in host.screen.query("Help Static").results(Static))
        assert keys == ""
        assert "kernel restart" in commands
        assert "kernel stop" not in commands
        await pilot.press("escape")
        assert not isinstance(host.screen, HelpScreen)


async def test_the_palette_has_verbs_for_live_processes(host: Host) -> None:
    async with host.run_test(size=(100, 40)) as pilot:
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(host.screen, CommandPalette))
        await pilot.press(*"approve12")
        options = host.screen.query_one(OptionList)
        await until(pilot, lambda: options.option_count)
        assert "process: approve 12 math (asking) [bold]1+1[/] ^[[31m" in str(options.get_option_at_index(0).prompt)
        await pilot.press("enter")
        await until(pilot, lambda: ("approve", (12,)) in host.heard)


@pytest.mark.parametrize(("query", "line"), [("contexts: snap ls", "snap ls"), ("theme: nord", None)])
async def test_the_palette_runs_commands_and_sets_themes(host: Host, query: str, line: str | None) -> None:
    async with host.run_test(size=(100, 40)) as pilot:
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(host.screen, CommandPalette))
        await pilot.press(*(("space" if key == " " else "colon" if key == ":" else key) for key in query))
        options = host.screen.query_one(OptionList)
        await until(pilot, lambda: options.option_count and query in str(options.get_option_at_index(0).prompt))
        await pilot.press("enter")
        await until(pilot, lambda: line in host.heard if line else host.theme == "nord")


async def test_a_command_that_needs_words_is_put_on_the_line(host: Host) -> None:
    async with host.run_test(size=(100, 40)) as pilot:
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(host.screen, CommandPalette))
        await pilot.press(*"restore")
        options = host.screen.query_one(OptionList)
        await until(pilot, lambda: options.option_count)
        await pilot.press("enter")
        await until(pilot, lambda: host.line.prompt.text == "snap restore ")
        assert host.focused is host.line.prompt
