"""The shell on a real terminal (a pty): prompts, streaming, Ctrl-C."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from collections.abc import Iterator

import psutil
import pytest
from system import System

pytestmark = pytest.mark.model

PROMPT = r"aios.{0,20}> "
DEADLINE_S = 60
CTRL_C, CTRL_D = "\x03", "\x04"


class Terminal:
    """80 columns, 24 rows, with `aios` in it. `seen` is everything it has shown that `expect` has not passed."""

    def __init__(self, system: System, *words: str) -> None:
        pid, self._main = pty.fork()  # a session of its own with the terminal in control of it: Ctrl-C is a signal
        if pid == 0:
            os.execve(
                sys.executable,
                [sys.executable, "-m", "aios_shell", *words],
                {**system.env, "TERM": "xterm-256color"},
            )
        fcntl.ioctl(self._main, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = psutil.Process(pid)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._main, text.encode())

    def expect(self, pattern: str) -> str:
        """Wait until `pattern` has been shown; what was shown up to its end."""
        until = time.monotonic() + DEADLINE_S
        while not (found := re.search(pattern, self.seen)):
            ready, _, _ = select.select([self._main], [], [], max(0, until - time.monotonic()))
            assert ready, f"{pattern!r} was not shown; the terminal has {self.seen!r}"
            self.seen += os.read(self._main, 65536).decode(errors="replace")
        shown, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return shown

    def exit_code(self) -> int | None:
        """Wait until it has ended, reading on so that it can."""
        with contextlib.suppress(OSError):  # Linux answers EIO when the last writer is gone
            while select.select([self._main], [], [], DEADLINE_S)[0] and (data := os.read(self._main, 65536)):
                self.seen += data.decode(errors="replace")
        return self.process.wait(DEADLINE_S)

    def close(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            self.process.kill()
            self.process.wait(DEADLINE_S)
        os.close(self._main)


@contextlib.contextmanager
def terminal(system: System, *words: str) -> Iterator[Terminal]:
    screen = Terminal(system, *words)
    try:
        yield screen
    finally:
        screen.close()


def test_the_repl_runs_lines_and_ctrl_d_leaves_it(system: System) -> None:
    with terminal(system, "repl") as screen:
        screen.expect(PROMPT)
        screen.type("math 'What is 12*7?'\r")
        screen.expect("12 *\\* *7 = 84")
        screen.expect(PROMPT)
        screen.type(CTRL_D)
        assert screen.exit_code() == 0


def test_ctrl_c_ends_the_agent_in_the_foreground(system: System) -> None:
    with terminal(system, "run", "narrate", "a long winter") as screen:
        screen.expect(r"\w+ \w+ \w+")  # it is in mid-sentence
        screen.type(CTRL_C)
        assert screen.exit_code() == 130
    assert system.json("ps", "--all")[-1]["exit_code"] == 130


def test_ctrl_c_twice_leaves_the_agent_running(system: System) -> None:
    with terminal(system, "run", "chat") as screen:
        screen.type("Tell me a story.\r")
        screen.expect(r"\w+ \w+ \w+ \w+ \w+ \w+ \w+ \w+")
        screen.type(CTRL_C)
        screen.expect("interrupted")  # the turn is over, chat goes on
        screen.type(CTRL_C)
        shown = screen.expect(r"aios attach \d+")
        assert screen.exit_code() == 130
    pid = int(shown.rsplit(" ", 1)[1])
    assert system.ps(pid)["exit_code"] is None
    system.ok("kill", str(pid))


def test_a_task_cannot_command_the_terminal(system: System) -> None:
    system.run("run", "math", "no \x1b]0;owned\x07 digits")
    with terminal(system, "ps", "--all") as screen:
        assert screen.exit_code() == 0
    assert "owned" in screen.seen
    assert "\x1b]0;" not in screen.seen
