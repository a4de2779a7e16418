"""A shell over real descriptors, on a machine where no kernel can be reached."""

from __future__ import annotations

import os
import pty
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aios_kernel.client import KernelClient
from aios_kernel.errors import KernelUnreachable
from aios_shell.io import Io
from aios_shell.language.pipeline import run_text
from aios_shell.session import Session
from aios_shell.typer_app import execute


@dataclass(frozen=True)
class Terminal:
    """What a person types at and looks at, and the end that a program has of it."""

    person: int
    program: int


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    ends = Terminal(*pty.openpty())
    yield ends
    os.close(ends.person)
    os.close(ends.program)


def no_kernel(_: Callable[[str], None]) -> KernelClient:
    raise KernelUnreachable("no kernel here")


@dataclass
class Shell:
    """Runs lines; collects what they write to files of its own, as any descriptors would."""

    folder: Path
    session: Session = field(init=False)

    def __post_init__(self) -> None:
        self.session = Session(no_kernel, cwd=str(self.folder))
        self.session.env["PWD"] = str(self.folder)

    def line(self, text: str, stdin: str = "") -> tuple[int, str, str]:
        """Exit status, standard output, standard error."""
        return self._with_io(stdin, lambda io: run_text(text, io))

    def words(self, *words: str) -> tuple[int, str, str]:
        return self._with_io("", lambda io: execute(list(words), io))

    def _with_io(self, stdin: str, act: Callable[[Io], int]) -> tuple[int, str, str]:
        base = self.folder.parent
        (base / "stdin").write_text(stdin)
        streams = [os.open(base / "stdin", os.O_RDONLY)]
        streams += [os.open(base / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC) for name in ("stdout", "stderr")]
        try:
            status = act(Io(self.session, *streams))
            self.session.wait_jobs(carried_only=True)
        finally:
            for fd in streams:
                os.close(fd)
        return status, (base / "stdout").read_text(), (base / "stderr").read_text()


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("AIOS_HOME", str(tmp_path / "home"))
    folder = tmp_path / "here"
    folder.mkdir()
    return Shell(folder)
