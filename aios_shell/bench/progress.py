"""How far a benchmark is: bars on a terminal, one line a step anywhere else."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, Protocol

from aios_shell.io import Io


class Progress(Protocol):
    def begin(self, name: str, num_steps: int) -> None:
        """Benchmark `name` starts."""
        ...

    def step(self, what: str) -> None:
        """Its next step starts."""
        ...

    def end(self) -> None:
        """It is done, or broken off, maybe before it began."""
        ...


class Notes:
    """For pipes and logs."""

    def __init__(self, io: Io) -> None:
        self._io = io
        self._name, self._num_steps, self._done = "", 0, 0

    def begin(self, name: str, num_steps: int) -> None:
        self._name, self._num_steps, self._done = name, num_steps, 0

    def step(self, what: str) -> None:
        self._done += 1
        self._io.note(f"bench {self._name} {self._done}/{self._num_steps}: {what}")

    def end(self) -> None:
        pass


class Bars:
    """One bar for the benchmarks, one for the steps of the one that runs."""

    def __init__(self, rich: Any, num_benchmarks: int) -> None:
        self._rich = rich
        self._all = rich.add_task("bench", total=num_benchmarks, what="")
        self._own: Any = None
        self._begun = False

    def begin(self, name: str, num_steps: int) -> None:
        self._own, self._begun = self._rich.add_task(name, total=num_steps, what=""), False

    def step(self, what: str) -> None:
        self._rich.update(self._own, advance=int(self._begun), what=what)
        self._begun = True

    def end(self) -> None:
        if self._own is not None:  # it did begin
            self._rich.remove_task(self._own)
        self._own = None
        self._rich.advance(self._all)


@contextlib.contextmanager
def shown(io: Io, num_benchmarks: int) -> Iterator[Progress]:
    """On standard error, gone when the block ends."""
    if not io.tty(io.stderr):
        yield Notes(io)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    with open(io.stderr, "w", closefd=False, encoding="utf-8") as stderr:
        console = Console(file=stderr, force_terminal=True, no_color=bool(os.environ.get("NO_COLOR")))
        columns = (
            TextColumn("{task.description:<12}"),
            BarColumn(24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[what]}"),
        )
        with Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as rich:
            yield Bars(rich, num_benchmarks)
