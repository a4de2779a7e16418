"""A round of killed.py: a writer that is killed, then a checker of what it has left; forks of this process."""

from __future__ import annotations

import asyncio
import json
import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

MAX_ALIVE_S: Final = 0.06  # of a writer, after its first acknowledgement
START_S: Final = 30.0  # until it has written something
MAX_CALLS: Final = 40  # that change files, and are not SQLite's or DuckDB's, before it is killed at one

Tell = Callable[..., None]  # a JSON-able change: its number, then what it is; the number alone: it is durable
State = dict[str, Any]  # what the store holds, by name; None: it was removed


@dataclass
class Known:
    """What the checker may expect.

    Attributes:
        oldest_go: the store may drop what comes first by name.
        open: by the number of the change, what was asked for and not acknowledged.
    """

    oldest_go: bool = False

    state: State = field(default_factory=dict)
    open: dict[int, State] = field(default_factory=dict)
    number: int = 0

    def hear(self, line: list[Any]) -> None:
        number, *change = line
        self.number = max(self.number, number + 1)
        if change:
            self.open[number] = change[0]
        else:
            self.state.update(self.open.pop(number))

    def settle(self, found: State) -> None:
        """Hold what was found against what may be; from now on that is what is known. Raises AssertionError."""
        for number, change in self.open.items():
            was = [found.get(name) == self.state.get(name) for name in change]
            done = [found.get(name) == value for name, value in change.items()]
            assert all(was) or all(done), f"change {number} is half done: {change}, there is {found}"
            self.state.update({name: found.get(name) for name in change})
        self.open.clear()
        expected = {name: value for name, value in self.state.items() if value is not None}
        wrong = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
        assert not wrong, [(name, expected.get(name), found.get(name)) for name in wrong]


Change = Callable[[Path, random.Random, Known, Tell], Awaitable[None]]  # changes the store until it is killed
Find = Callable[[Path], Awaitable[State]]  # what the store holds; raises AssertionError where it is not sound


def forked(work: Callable[[int], None]) -> tuple[int, int]:
    """Run `work` with the end of a pipe in a fork of this process. Returns its pid and the other end."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid:
        os.close(theirs)
        return pid, ours
    try:
        os.close(ours)
        work(theirs)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


class Deadline:
    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds

    @property
    def left(self) -> float:
        return max(0.0, self.at - time.monotonic())


def lines(fd: int, deadline: Deadline) -> Iterator[list[Any]]:
    """What the other end tells, until it is closed or nothing is left of the time; half a line is none."""
    rest = b""
    while select.select([fd], [], [], deadline.left)[0] and (data := os.read(fd, 1 << 16)):
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield json.loads(line)


def die_among_calls(rng: random.Random) -> None:
    """See to it that this process is killed just before, or after, one of its next calls that change files."""
    left, early = rng.randrange(1, MAX_CALLS), rng.random() < 0.5

    def deadly(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0 and early:
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*args, **options)
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return called

    for name in ("rename", "replace", "unlink", "link", "mkdir", "rmdir", "fsync", "fdatasync", "pwrite", "ftruncate"):
        setattr(os, name, deadly(getattr(os, name)))


def one_round(change: Change, find: Find, folder: Path, rng: random.Random, known: Known, *, by_call: bool) -> None:
    """The store is in `folder`. Raises AssertionError where it does not hold what it must."""

    def writer(fd: int) -> None:
        def tell(*line: Any) -> None:
            os.write(fd, json.dumps(line).encode() + b"\n")  # at once: what is in the pipe outlives this process

        if by_call:
            die_among_calls(rng)
        asyncio.run(_run(change(folder, rng, known, tell)))

    def checker(fd: int) -> None:
        found = asyncio.run(_run(find(folder)))
        data = memoryview(json.dumps(found).encode())
        while data:
            data = data[os.write(fd, data) :]

    pid, fd = forked(writer)
    deadline, started = Deadline(START_S), False
    for line in lines(fd, deadline):
        known.hear(line)
        if not started and len(line) == 1:
            started, deadline.at = True, time.monotonic() + rng.random() * MAX_ALIVE_S
    os.kill(pid, signal.SIGKILL)
    for line in lines(fd, Deadline(START_S)):  # what it told before it died
        known.hear(line)
    os.close(fd)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "the writer ended by itself"
    pid, fd = forked(checker)
    with os.fdopen(fd, "rb") as pipe:
        body = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, "the checker failed"
    found = json.loads(body)
    if known.oldest_go:
        oldest = min(found, default="")
        known.state = {each: value for each, value in known.state.items() if each >= oldest}
    known.settle(found)


async def _run(work: Awaitable[Any]) -> Any:
    return await work
