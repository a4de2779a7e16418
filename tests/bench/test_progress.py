from __future__ import annotations

import os
import pty
import tty

from shell.conftest import no_kernel

from aios_shell.bench.progress import shown
from aios_shell.io import Io
from aios_shell.session import Session


def drive(io: Io) -> None:
    with shown(io, 2) as progress:
        for name in ("first", "second"):
            progress.begin(name, 2)
            progress.step("one")
            progress.step("two")
            progress.end()


def test_on_a_pipe_there_is_a_line_for_each_step() -> None:
    read, write = os.pipe()
    with os.fdopen(read) as lines:
        try:
            drive(Io(Session(no_kernel), stderr=write))
        finally:
            os.close(write)
        assert lines.readlines() == [
            "aios: bench first 1/2: one\n",
            "aios: bench first 2/2: two\n",
            "aios: bench second 1/2: one\n",
            "aios: bench second 2/2: two\n",
        ]


def test_on_a_terminal_there_are_bars_that_go_when_done() -> None:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    drive(Io(Session(no_kernel), stderr=theirs))
    os.close(theirs)
    shown_bytes = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    assert b"bench" in shown_bytes
    assert b"0:00:0" in shown_bytes
    assert shown_bytes.endswith((b"\x1b[2K", b"\x1b[?25h"))


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 16)
    except OSError:  # the other end is closed, and everything is read
        return b""
