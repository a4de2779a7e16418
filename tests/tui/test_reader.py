"""The reader's thread: what it tells, how it comes back, and that it ends."""

from __future__ import annotations

import threading

import pytest
from streams import DEADLINE_S, ScriptedClient, out, told

from aios_kernel.client import KernelClient
from aios_kernel.errors import InvalidState, KernelError, KernelUnreachable, LimitHit, NoSuchProcess
from aios_kernel.protocol import Event, EventKind
from aios_shell.tui import reader as reader_module
from aios_shell.tui.reader import MAX_WAITING, Reader


class Taker:
    """Takes whenever told to."""

    def __init__(self, client: KernelClient, after: int = -1) -> None:
        self.events: list[Event] = []
        self._told = threading.Semaphore(0)
        self.reader = Reader(client, 1, after, self._told.release)

    def take(self, num: int) -> list[int]:
        """The seqs of the first `num` events."""
        while len(self.events) < num:
            assert self._told.acquire(timeout=DEADLINE_S)
            self.events += self.reader.take()
        return [event.seq for event in self.events]

    def join(self) -> None:
        self.reader._thread.join(DEADLINE_S)
        assert not self.reader._thread.is_alive()


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "RETRY_S", 0.01)


def test_it_ends_with_the_process() -> None:
    taker = Taker(ScriptedClient(([out(0, b"a"), told(1, EventKind.EXIT, "0")], "end")))
    assert taker.take(2) == [0, 1]
    taker.join()


def test_it_comes_back_after_the_last_event_when_the_kernel_was_away() -> None:
    events = [out(0, b"a"), out(1, b"b"), told(2, EventKind.EXIT, "0")]
    client = ScriptedClient((events[:2], "away"), KernelUnreachable("none"), (events, "end"))
    taker = Taker(client)
    assert taker.take(3) == [0, 1, 2]
    assert client.asked == [-1, 1, 1]
    taker.join()


def test_closing_ends_a_silent_stream() -> None:
    client = ScriptedClient(([out(0, b"a")], "silence"))
    taker = Taker(client)
    taker.take(1)
    taker.reader.close()
    taker.join()
    assert client.opened[0].closed.is_set()


def test_closing_ends_the_wait_between_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "RETRY_S", 1e6)
    monkeypatch.setattr(reader_module, "MAX_RETRY_S", 1e6)
    taker = Taker(ScriptedClient(KernelUnreachable("none")))
    taker.reader.close()
    taker.join()


@pytest.mark.parametrize(
    "error",
    [NoSuchProcess("no process 1"), InvalidState("its events are no longer kept"), LimitHit("the disk is full")],
)
def test_what_is_not_told_is_not_asked_for_again_and_why(error: KernelError) -> None:
    client = ScriptedClient(error)
    taker = Taker(client)
    taker.join()
    assert (client.asked, taker.reader.why_not) == ([-1], error.message)
    assert taker._told.acquire(timeout=DEADLINE_S)


def test_what_is_not_taken_stays_with_the_kernel() -> None:
    big = [out(seq, b"x" * 300_000) for seq in range(20)]
    taker = Taker(ScriptedClient(([*big, told(20, EventKind.EXIT, "0")], "end")))
    assert taker._told.acquire(timeout=DEADLINE_S)
    with taker.reader._changed:
        taker.reader._changed.wait_for(lambda: taker.reader._num_chars >= MAX_WAITING, 1)
    assert len(taker.reader._events) < 10
    taker.events += taker.reader.take()
    assert taker.take(21) == list(range(21))
    taker.join()
