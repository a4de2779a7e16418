"""A command's own standard streams: file descriptors, so that each stage of a pipeline has its own.

Commands never touch sys.stdout: two of them may run at once, in threads, with different ones.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aios_shell.text import sanitize

if TYPE_CHECKING:
    from aios_shell.session import Session


class Cancel:
    """Ends a stage's waits: fired once, from any thread; whatever was opened under it is closed then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closers: list[Callable[[], None]] = []
        self.fired = False

    def fire(self) -> None:
        with self._lock:
            self.fired = True
            closers, self._closers = self._closers, []
        for close in closers:
            close()

    @contextlib.contextmanager
    def closing(self, close: Callable[[], None]) -> Iterator[None]:
        """Call `close`, which must bear being called twice, on cancellation and at the end of the block."""
        with self._lock:
            self._closers.append(close)
        if self.fired:
            close()
        try:
            yield
        finally:
            with self._lock:
                if close in self._closers:
                    self._closers.remove(close)
            close()


@dataclass(frozen=True, slots=True)
class Screen:
    """A window that shows what is written to `fd`, as a terminal would."""

    fd: int
    columns: int
    color: bool


@dataclass(frozen=True, slots=True)
class Io:
    """Where one command reads and writes, and the session it runs in.

    Writes raise BrokenPipeError when the reader is gone; the executor makes exit code 141 of it.
    """

    session: Session
    stdin: int = 0
    stdout: int = 1
    stderr: int = 2
    cancel: Cancel = field(default_factory=Cancel)
    screen: Screen | None = None

    def write(self, text: str) -> None:
        """Text for standard output, as it is."""
        write_all(self.stdout, text.encode("utf-8", "surrogateescape"))

    def line(self, text: str) -> None:
        self.write(text + "\n")

    def note(self, text: str) -> None:
        """One line of narration on standard error."""
        self.narrate(f"aios: {sanitize(text)}\n")

    def narrate(self, text: str) -> None:
        """Text for standard error, as it is. Nobody reading it is no reason to fail."""
        with contextlib.suppress(OSError):
            write_all(self.stderr, text.encode("utf-8", "surrogateescape"))

    def confirm(self, question: str) -> bool:
        """Ask whoever types: anything but yes is no, and so are the end of input and a cancel."""
        self.narrate(f"{sanitize(question)} [y/N] ")
        cancelled, cancel = os.pipe()
        try:
            with self.cancel.closing(lambda: write_all(cancel, b"x")):
                ready, _, _ = select.select([self.stdin, cancelled], [], [])
            answer = b"" if cancelled in ready else os.read(self.stdin, 4_096)
        finally:
            os.close(cancelled)
            os.close(cancel)
        if not answer.endswith(b"\n"):
            self.narrate("\n")
        return answer.strip().lower() in (b"y", b"yes")

    def tty(self, fd: int) -> bool:
        """True where a person reads, or types, right at the other end."""
        return self._screen(fd) is not None or os.isatty(fd)

    def _screen(self, fd: int) -> Screen | None:
        return self.screen if self.screen is not None and self.screen.fd == fd else None

    @property
    def columns(self) -> int:
        """Width of the terminal on standard output; 80 where there is none."""
        screen = self._screen(self.stdout)
        if screen is not None:
            return screen.columns
        try:
            return os.get_terminal_size(self.stdout).columns or 80
        except OSError:
            return 80

    @property
    def color(self) -> bool:
        """Colours only on a terminal that has them and whose owner did not decline (https://no-color.org)."""
        screen = self._screen(self.stdout)
        if screen is not None:
            return screen.color
        env = self.session.env
        return os.isatty(self.stdout) and not env.get("NO_COLOR") and env.get("TERM", "dumb") != "dumb"


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`. Raises OSError, BrokenPipeError when the reader is gone."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # a program that shares the descriptor has made it so
            select.select([], [fd], [])
        except OSError as error:
            error.filename = "output"
            raise


def open_missing() -> None:
    """Fill the places of standard streams that were closed: the next file opened, a socket, would land there."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # takes the lowest number; input is empty, output fails
