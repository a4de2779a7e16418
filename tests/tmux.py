"""A person at a terminal: `aios` in a tmux of its own, keys going in, the screen coming back."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

from system import System

DEADLINE_S = 60
LOOK_S = 0.05  # between two looks at the screen; tmux has no event for "the screen has changed"


class Tmux:
    """One server, one window. Close it; it can be opened again."""

    def __init__(self, system: System, folder: Path, columns: int = 120, rows: int = 40) -> None:
        self._sockets = (
            folder / f"{number}.sock" for number in count()
        )  # a server that ends holds its own for a while
        self._socket = next(self._sockets)
        env = {name: value for name, value in system.env.items() if name not in ("COLUMNS", "LINES", "TMUX")}
        self._env = {**env, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
        self._size = ("-x", str(columns), "-y", str(rows))

    def _do(self, *words: str) -> str:
        command = ["tmux", "-u", "-f", "/dev/null", "-S", str(self._socket), *words]
        return subprocess.run(
            command, env=self._env, check=True, capture_output=True, text=True, timeout=DEADLINE_S
        ).stdout

    def open(self, *words: str) -> None:
        """Run `aios` there; its exit status is shown when it has ended."""
        command = shlex.join([sys.executable, "-m", "aios_shell", *words])
        self._do("new-session", "-d", *self._size, f"{command}; echo ended with $?; exec cat")

    def close(self) -> None:
        subprocess.run(["tmux", "-S", str(self._socket), "kill-server"], check=False, capture_output=True, timeout=30)
        self._socket = next(self._sockets)

    def press(self, *keys: str) -> None:
        """Keys by tmux's names: Enter, Escape, C-c, j."""
        self._do("send-keys", *keys)

    def type(self, text: str) -> None:
        self._do("send-keys", "-l", text)

    def resize(self, columns: int, rows: int) -> None:
        self._do("resize-window", "-x", str(columns), "-y", str(rows))

    def screen(self) -> str:
        return self._do("capture-pane", "-p")

    def ask(self, form: str) -> str:
        """What tmux knows of the pane, in its own format language."""
        return self._do("display-message", "-p", form).strip()

    def expect(self, pattern: str, *, absent: bool = False) -> str:
        """Wait until the screen matches, or no longer does; the screen then."""
        until = time.monotonic() + DEADLINE_S
        while (re.search(pattern, self.screen(), re.MULTILINE) is None) != absent:
            assert time.monotonic() < until, f"{pattern!r} {'stayed' if absent else 'never came'}:\n{self.screen()}"
            time.sleep(LOOK_S)
        return self.screen()
