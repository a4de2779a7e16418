"""Runs command lines for the app: the shell's own executor, in a thread a line, what it writes through a pipe.

No line has a terminal: its input is empty, its programs lead sessions of their own, Ctrl-C is sent to them.
"""

from __future__ import annotations

import codecs
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from aios_kernel.errors import KernelError, row_of
from aios_shell.io import Cancel, Io, Screen
from aios_shell.language.parse import AndOr, Incomplete, Line, SyntaxProblem, parse
from aios_shell.session import AgentJob, Foreground, Job, Session
from aios_shell.tui.ansi import MAX_CHARS, clean
from aios_shell.tui.starting import Prepared, prepare

FAILED: Final = 1
SYNTAX: Final = 2
INTERRUPTED: Final = 130
HIGH_WATER: Final = 1 << 18  # characters that wait to be shown; then whoever writes them waits too
MAX_WAITING: Final = 4096  # lines of those that are kept


class Listener(Protocol):
    """Hears of what lines do, in their threads."""

    def look_at(self, pid: int) -> None:
        """A process that a line has started or named."""
        ...

    def left(self, status: int) -> None:
        """`exit` was run."""
        ...

    def told(self, text: str) -> None:
        """One line for the person, from a job whose line has ended."""
        ...


class Reader:
    """Takes what is written to a pipe, line by line, and no faster than it is shown."""

    def __init__(self, fd: int, stirred: Callable[[], None]) -> None:
        """stirred: called, in any thread, when there is something to take after there was nothing."""
        self._fd, self._stirred = fd, stirred
        self._room = threading.Condition()
        self._lines: list[str] = []
        self._partial = ""
        self._num_lost = self._num_chars = 0
        self._closed = False
        self.done = threading.Event()
        threading.Thread(target=self._read, name="output", daemon=True).start()

    def take(self) -> tuple[list[str], str, int]:
        """New whole lines, what stands of the next one, and how many lines were left out before them."""
        with self._room:
            taken = self._lines, clean(self._partial), self._num_lost
            self._lines, self._num_lost, self._num_chars = [], 0, 0
            self._room.notify_all()
        return taken

    def close(self) -> None:
        """Read no more: the next write to the pipe fails."""
        with self._room:
            self._closed = True
            self._room.notify_all()

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        try:
            while not self._closed and (data := os.read(self._fd, 65536)):
                self._add(decoder.decode(data))
                with self._room:
                    self._room.wait_for(lambda: self._closed or self._num_chars < HIGH_WATER)
        finally:
            os.close(self._fd)
            self.done.set()
            self._stirred()

    def _add(self, text: str) -> None:
        *whole, partial = (self._partial + text).split("\n")
        lost = max(0, len(whole) - MAX_WAITING)
        cleaned = [clean(line) for line in whole[lost:]]
        with self._room:
            empty = not self._num_chars
            self._lines += cleaned
            self._partial = partial[: MAX_CHARS + 1]
            self._num_lost += lost
            self._num_chars += len(text)
        if empty:
            self._stirred()


class RunningLine:
    """One command line: what it writes, as it comes, and how it ended."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.began = time.monotonic()
        self.took_s: float | None = None
        self.status: int | None = None  # None: it runs
        self.quiet = False  # it only starts an agent, whose own pane tells
        self.cancel = Cancel()
        self.foreground = Foreground(terminal=False)
        self.stirred: Callable[[], None] = lambda: None  # who shows it; called in any thread
        self._num_interrupts = 0
        read, self._write = os.pipe()
        self.reader = Reader(read, self._stir)

    def _stir(self) -> None:
        self.stirred()

    def io(self, session: Session, stdin: int, columns: int, *, color: bool) -> Io:
        return Io(session, stdin, self._write, self._write, self.cancel, Screen(self._write, columns, color))

    def ended(self, status: int) -> None:
        self.status, self.took_s = status, time.monotonic() - self.began
        self.stirred()

    def close(self) -> None:
        """Nobody writes any more. Its thread only."""
        os.close(self._write)

    def interrupt(self) -> None:
        """Ctrl-C: first as at a terminal; then what does not end is left; then nobody hears it any more. May block."""
        self._num_interrupts += 1
        if self._num_interrupts == 1:
            try:
                self.foreground.interrupt()
            except KeyboardInterrupt:
                self.cancel.fire()
        else:
            self.foreground.interrupted = True
            self.foreground.detach()
            self.cancel.fire()
        if self._num_interrupts > 2 and self.status is None:
            self.reader.close()
            self.ended(INTERRUPTED)


class Runner:
    """The app's shell: lines run at once, each in a copy of the session; what they change comes back when they end."""

    def __init__(self, session: Session, listener: Listener) -> None:
        self._session, self._listener = session, listener
        self._running: list[RunningLine] = []

    def start(self, text: str, columns: int) -> RunningLine:
        line = RunningLine(text)
        self._running = [*self._unended(), line]
        color = not self._session.env.get("NO_COLOR")
        threading.Thread(target=self._run, args=(line, columns, color), name="line", daemon=True).start()
        return line

    def interrupt(self) -> bool:
        """Ctrl-C for the line that began last. False: none runs."""
        running = self._unended()
        if running:
            threading.Thread(target=running[-1].interrupt, name="interrupt", daemon=True).start()
        return bool(running)

    def close(self) -> None:
        """End what this shell carries. Agents that were started go on."""
        for line in self._unended():
            line.cancel.fire()
            line.reader.close()
        for job in self._session.jobs:
            job.cancel()

    def _unended(self) -> list[RunningLine]:
        return [line for line in self._running if line.status is None]

    def _run(self, line: RunningLine, columns: int, color: bool) -> None:
        before = list(self._session.jobs)
        session = replace(self._session, foreground=line.foreground, interactive=True)
        cwd = session.cwd
        with open(os.devnull, "rb") as null:  # noqa: PTH123 -- a descriptor is wanted
            io = line.io(session, null.fileno(), columns, color=color)
            try:
                status = self._carry(line, io)
                if session.cwd != cwd:
                    self._session.cwd = session.cwd
                self._session.status = status
                if line.status is None:
                    line.ended(status)
                if session.exit_status is not None:
                    self._listener.left(session.exit_status)
                self._wait_jobs([job for job in session.jobs if job not in before])
            finally:
                line.close()

    def _carry(self, line: RunningLine, io: Io) -> int:
        try:
            prepared = prepare(read_lines(line.text), io.session, io.note)
            if prepared.attach is not None:
                self._listener.look_at(io.session.connect(io.note).proc(prepared.attach).pid)
                return 0
            return self._started(line, prepared, io)
        except SyntaxProblem as problem:
            io.narrate(problem.show())
            return SYNTAX
        except KernelError as error:
            io.note(error.message)
            return row_of(error).exit
        except Exception as error:  # a fault of ours: the line ends and says so, and is not running for ever
            io.note(f"{type(error).__name__}: {error}")
            return FAILED

    def _started(self, line: RunningLine, prepared: Prepared, io: Io) -> int:
        from aios_shell.language.pipeline import run_line  # and with it Typer: nothing for the first paint to wait for

        jobs = io.session.jobs
        num_jobs = len(jobs)
        line.quiet = prepared.starts
        status = run_line(prepared.line, io)
        agents = [job for job in jobs[num_jobs:] if isinstance(job, AgentJob)]
        if prepared.starts and agents:
            self._listener.look_at(int(agents[-1].label))
        line.quiet = line.quiet and status == 0
        return status

    def _wait_jobs(self, jobs: list[Job]) -> None:
        """What a line's background jobs write is still its own: it is heard until they have ended."""
        for job in jobs:
            if job.carried:
                status = job.wait()
                if job in self._session.jobs:  # else somebody has waited for it
                    self._session.jobs.remove(job)
                    self._listener.told(f"[{job.label}] {job.text} {'done' if not status else f'ended with {status}'}")


def read_lines(text: str) -> Line:
    """What may be several lines, pasted, as one; a line goes on while a quote or an operator is open.

    Raises SyntaxProblem, or Incomplete when more may follow.
    """
    items: list[AndOr] = []
    rows = text.split("\n")
    begin = 0  # the row that a line begins in
    for end in range(1, len(rows) + 1):
        try:
            items += parse("\n".join(rows[begin:end])).items
        except Incomplete as problem:
            if end == len(rows):
                raise _moved(problem, rows, begin) from None
        except SyntaxProblem as problem:
            raise _moved(problem, rows, begin) from None
        else:
            begin = end
    return Line(tuple(items))


def _moved(problem: SyntaxProblem, rows: list[str], begin: int) -> SyntaxProblem:
    before = sum(len(row) + 1 for row in rows[:begin])
    return type(problem)("\n".join(rows), before + problem.position, problem.message)
