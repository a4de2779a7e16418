"""A program on a pseudo terminal: keys go in, and of what it draws the process under the table's cursor is known."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import psutil

from aios_kernel.errors import DeadlineHit, InternalError

SIZE: Final = (120, 40)  # columns, rows
BLOCK_BYTES: Final = 1 << 16
PID_CELLS: Final = 7  # of a row, from its beginning: the margin and the pid

# ECMA-48: a control sequence, a string such as a title, any other escape sequence, or text.
_TOKEN: Final = re.compile(
    r"\x1b\[([0-?]*)[ -/]*([@-~])|\x1b[\]P_^X].*?(?:\x07|\x1b\\)|\x1b[^\[\]P_^X]|[^\x1b]+", re.DOTALL
)
_BACKGROUND: Final = re.compile(r"(?:^|;)(48;2;\d+;\d+;\d+|48;5;\d+|4[0-79]|10[0-7]|0)?(?=;|$)")


class CursorRow:
    """Reads a terminal's input as far as to know which pid stands in the line with the cursor's background."""

    def __init__(self, color: str) -> None:
        """color: the background, as #rrggbb."""
        red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
        self._wanted = f"48;2;{red};{green};{blue}"
        self._left = ""  # of a sequence that has not come to its end
        self._inside = False
        self._text = ""
        self.pid: int | None = None
        self.text = ""  # everything written since `clear`, without its sequences

    def feed(self, data: str) -> None:
        data, at = self._left + data, 0
        while match := _TOKEN.match(data, at):
            at = match.end()
            if match[2] == "m":
                self._style(match[1])
            elif match[2]:
                self._text = ""  # the position is another
            elif match[0][0] != "\x1b":
                self._write(match[0])
        self._left = data[at:]

    def _style(self, parameters: str) -> None:
        for found in _BACKGROUND.finditer(parameters):
            if found[1] is not None:
                self._inside = found[1] == self._wanted
        if not parameters:
            self._inside = False

    def _write(self, text: str) -> None:
        self.text += text
        if not self._inside:
            self._text = ""
            return
        self._text += text
        head = self._text[:PID_CELLS].split()
        if len(self._text) >= PID_CELLS and head and head[-1].isdecimal():
            self.pid = int(head[-1])

    def clear(self) -> None:
        self.text = ""


class Terminal:
    """A running program."""

    def __init__(self, process: subprocess.Popen[bytes], master: int, row: CursorRow, began: float) -> None:
        self._process = process
        self._master = master
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self.row = row
        self.began = began  # on the clock of time.perf_counter, as all times here

    def press(self, key: str) -> float:
        """When it was pressed."""
        pressed = time.perf_counter()
        os.write(self._master, key.encode())
        return pressed

    def read_until(self, seen: Callable[[CursorRow], bool], timeout_s: float, what: str) -> float:
        """When it was seen. Raises DeadlineHit with `what`, InternalError when the program has ended."""
        deadline = time.perf_counter() + timeout_s
        while not seen(self.row):
            if not self._read(deadline):
                raise DeadlineHit(f"{what} after {timeout_s:g} s; the screen ends with {self.row.text[-200:]!r}")
        return time.perf_counter()

    def read_for(self, seconds: float) -> None:
        """Take what is drawn, as a terminal does."""
        deadline = time.perf_counter() + seconds
        while self._read(deadline):
            self.row.clear()

    def _read(self, deadline: float) -> bool:
        """Take what has been drawn, waiting for something. False: nothing came in time."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.perf_counter()))
        if not ready:
            return False
        try:
            data = os.read(self._master, BLOCK_BYTES)
        except OSError:  # EIO: the other side is closed (pty(7))
            data = b""
        if not data:
            raise InternalError(f"the app ended with {self._process.wait()}: {self.row.text[-500:]!r}")
        self.row.feed(self._decode(data))
        return True

    def cpu_s(self) -> float:
        """Processor time of the program so far."""
        times = psutil.Process(self._process.pid).cpu_times()
        return times.user + times.system


@contextlib.contextmanager
def terminal(command: Sequence[str], env: Mapping[str, str], cursor: str) -> Iterator[Terminal]:
    """A program on a terminal of its own, of SIZE and in true colours, killed after the block."""
    colors = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"}
    own = {name: value for name, value in env.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")} | colors
    master, slave = os.openpty()
    try:
        began = time.perf_counter()
        try:
            columns, rows = SIZE
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=own, start_new_session=True)
        finally:
            os.close(slave)
        with child:
            try:
                yield Terminal(child, master, CursorRow(cursor), began)
            finally:
                child.kill()
    finally:
        os.close(master)
