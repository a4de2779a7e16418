"""The app as a person has it: on a terminal, over a real kernel, with a real model."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from system import System
from tmux import Tmux

pytestmark = [
    pytest.mark.model,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]


@pytest.fixture
def tmux(system: System) -> Iterator[Tmux]:
    with tempfile.TemporaryDirectory(prefix="tmux-") as folder:
        window = Tmux(system, Path(folder))
        try:
            yield window
        finally:
            window.close()


def row_of(screen: str, pid: int) -> str:
    return next(line for line in screen.splitlines() if line.split()[:1] in ([str(pid)], [f"▌{pid}"]))


def test_a_session_at_the_terminal(system: System, tmux: Tmux) -> None:
    tmux.open()
    tmux.expect("No agents are running")
    for task in ("a fox", "a whale"):
        tmux.type(f":run narrate {task}")
        tmux.press("Enter")
        tmux.expect(rf"^\W*\d+ +narrate .*{task}")
        tmux.press("Escape")
    tmux.type(":run chat")
    tmux.press("Enter")
    tmux.expect(r"^\W*\d+ +chat")
    tmux.press("Escape")
    fox, whale, chat = (row["pid"] for row in system.json("ps", "--all"))

    tmux.type("/whale")
    tmux.expect("s  Suspend", absent=True)
    tmux.expect("a fox", absent=True)
    tmux.press("Enter")
    tmux.expect("s  Suspend")
    tmux.type("s")
    tmux.expect(rf"^\W*{whale} +narrate +\W* *suspended")
    assert [snap["pid"] for snap in system.json("snap", "ls") if not snap["saved"]] == [whale]
    tmux.type("3")
    tmux.expect(rf"of {whale}, off its slot")
    tmux.type("0")
    tmux.type("r")
    tmux.expect(rf"^\W*{whale} +narrate +\W* *suspended", absent=True)

    tmux.type("/chat")
    tmux.expect("s  Suspend", absent=True)
    tmux.press("Enter")
    tmux.expect("s  Suspend")
    tmux.type("x")
    tmux.expect(f"End {chat}")
    tmux.type("k")
    assert system.run("wait", str(chat)).returncode == 137
    tmux.press("Escape")
    alive = {row["pid"] for row in system.json("ps")}
    tmux.type("q")
    tmux.expect("ended with 0")
    assert alive <= {row["pid"] for row in system.json("ps", "--all")}, "agents outlive the app"
    for pid in (fox, whale):
        assert system.run("wait", str(pid)).returncode == 0
    tmux.close()

    tmux.open()
    tmux.expect("narrate|No agents are running")
    tmux.type("A")
    screen = tmux.expect("code 137")
    assert "code 137" in row_of(screen, chat)
    assert all("exited" in row_of(screen, pid) for pid in (fox, whale))


def test_a_kernel_that_dies_is_told_and_found_again(system: System, tmux: Tmux) -> None:
    pid = system.start("narrate", "a lighthouse")
    tmux.open()
    tmux.expect("a lighthouse")
    os.kill(system.json("kernel", "status")["pid"], signal.SIGKILL)
    screen = tmux.expect("the kernel went away")
    assert "a lighthouse" in screen, "what was last known stays for reading"
    system.ok("kernel", "start")
    tmux.expect("the kernel went away", absent=True)
    again = system.start("narrate", "a harbour")
    tmux.expect(rf"^\W*{again} +narrate")
    assert system.ps(pid)["exit_code"] is not None
    system.run("kill", "-9", str(again))


@pytest.mark.parametrize(("columns", "rows"), [(20, 6), (1000, 12), (80, 24)])
def test_any_size_of_terminal_will_do(system: System, tmux: Tmux, columns: int, rows: int) -> None:
    system.run("run", "--bg", "narrate", "日本語 \x1b[31mred\x1b]0;title\x07 👩‍👩‍👧 " + "x" * 300)
    tmux.open()
    tmux.expect("narrate")
    for width, height in ((columns, rows), (1, 1), (3, 2), (columns, rows)):
        tmux.resize(width, height)
    screen = tmux.expect("narr")
    assert "\x1b" not in screen
    tmux.type("q")
    tmux.resize(80, 24)
    tmux.expect("ended with 0")


def test_the_terminal_is_given_back_when_the_app_is_ended(tmux: Tmux) -> None:
    tmux.open()
    tmux.expect("No agents are running|narrate")
    shell = psutil.Process(int(tmux.ask("#{pane_pid}")))
    for app in shell.children():
        app.terminate()
    tmux.expect("ended with 143")
    assert tmux.ask("#{alternate_on} #{mouse_any_flag} #{cursor_flag}") == "0 0 1"


def test_what_is_read_stays_in_sight_when_the_terminal_changes(tmux: Tmux) -> None:
    tmux.open()
    tmux.expect("No agents are running|narrate")
    tmux.type("4")
    tmux.type("z")
    tmux.expect("^ *PID|No agents are running", absent=True)
    tmux.resize(100, 30)
    tmux.resize(90, 24)
    tmux.type(":echo wide | tr a-z A-Z")
    tmux.press("Enter")
    screen = tmux.expect("^ *WIDE")
    assert "No agents" not in screen


def test_lines_typed_ahead_run_one_by_one(tmux: Tmux) -> None:
    tmux.open()
    tmux.expect("No agents are running|narrate")
    tmux.type(":echo one\recho two\recho three\r")
    screen = tmux.expect("three$")
    assert all(f"echo {word} " in screen for word in ("one", "two", "three"))


def test_an_agent_that_has_started_does_not_take_the_keys_from_a_line(system: System, tmux: Tmux) -> None:
    tmux.open()
    tmux.expect("No agents are running|narrate")
    tmux.type(":run narrate a bee\recho still")
    tmux.expect("narrate .*a bee")
    tmux.expect(r"│ \d+ narrate")
    tmux.type(" here | tr a-z A-Z\r")
    tmux.expect("│ STILL HERE")
    system.run("kill", "-9", str(system.json("ps")[-1]["pid"]))


def test_what_is_typed_while_it_starts_is_for_the_line(tmux: Tmux) -> None:
    tmux.open()
    tmux.type(":echo soon | tr a-z A-Z\r")
    tmux.expect("│ SOON")
