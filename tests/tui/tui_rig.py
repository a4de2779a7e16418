"""A runner of command lines, and what it tells."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from shell.conftest import no_kernel

from aios_kernel.client import KernelClient
from aios_shell.session import Session
from aios_shell.tui.running import Runner, RunningLine

DEADLINE_S = 20


@dataclass
class Heard:
    pids: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    noted: threading.Event = field(default_factory=threading.Event)

    def look_at(self, pid: int) -> None:
        self.pids.append(pid)

    def left(self, status: int) -> None:
        self.statuses.append(status)

    def told(self, text: str) -> None:
        self.notes.append(text)
        self.noted.set()


class Rig:
    def __init__(self, folder: Path, connect: Callable[[Callable[[str], None]], KernelClient] = no_kernel) -> None:
        self.heard = Heard()
        self.session = Session(connect, cwd=str(folder))
        self.runner = Runner(self.session, self.heard)

    def start(self, text: str) -> RunningLine:
        return self.runner.start(text, columns=60)

    def run(self, text: str) -> tuple[int | None, str]:
        """Its status and all of what it wrote, in order."""
        line = self.start(text)
        assert line.reader.done.wait(DEADLINE_S)
        lines, partial, _ = line.reader.take()
        return line.status, "\n".join([*lines, partial])


def wait_until(true: Callable[[], object]) -> None:
    until = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < until
        threading.Event().wait(0.01)
