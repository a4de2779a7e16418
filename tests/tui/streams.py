"""Streams of a process's events, made by hand, and what a hostile program may write."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from typing import Any

import msgspec

from aios_kernel.client import KernelClient
from aios_kernel.errors import KernelUnreachable
from aios_kernel.protocol import Event, EventKind

DEADLINE_S = 10

HOSTILE = (
    b"\x1b[31mred\x1b[0m\x1b]52;c;AAAA\x07\x1b]8;;http://evil\x1b\\x\x1b]8;;\x1b\\",
    b"\x9b31m\xc2\x9b31m\x00\x07\x08\x7f",
    b"&#27;[31m &#155;31m &#x202e;evil &#13;over &#12;",
    b'<http://x/%1b[31m%9b> <javascript:alert(1)> [a](http://b/%1b%5d "\x1b")',
    b"![x](http://track/%1b.png) [![y](http://a)](http://b)",
    b"[red]not markup[/red] [@click=app.quit]x[/] [/oops]",
    "👨‍👩‍👧‍👦 🇨🇭 漢字 e".encode() + "\u0301".encode() * 5000,
    b"\xff\xfe\xf0\x9f\x98",
    "\u202eevil\u2028two\u2029three\ufeff".encode(),
    b"| a | b |\n|---|---|\n| [link](http://x) [/] | \x1b[0m |\n",
    b"x" * 100_000,
    b"|" * 5_000 + b"\n" + b"|-" * 2_500,
    b">" * 3_000 + b"- " * 1_000,
    b"![" * 3_000,
    b"a\tb\r\nc\rd\n",
)


def out(seq: int, data: bytes, kind: EventKind = EventKind.STDOUT) -> Event:
    return Event(1, seq, 1_800_000_000.0 + seq, kind, base64.b64encode(data).decode())


def told(seq: int, kind: EventKind, data: str) -> Event:
    return Event(1, seq, 1_800_000_000.0 + seq, kind, data)


class Script:
    """One stream: the events after `after`, then an end, an error, or silence until it is closed."""

    def __init__(self, events: list[Event], then: str) -> None:
        self._events, self._then = events, then
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        for event in self._events:
            if self.closed.is_set():
                return
            yield "event", msgspec.to_builtins(event)
        if self._then == "silence":
            assert self.closed.wait(DEADLINE_S)
        elif self._then == "away":
            raise KernelUnreachable("the kernel went away")

    def close(self) -> None:
        self.closed.set()


class ScriptedClient(KernelClient):
    """Gives the streams in turn; None is a kernel that does not answer."""

    def __init__(self, *streams: tuple[list[Event], str] | Exception) -> None:
        super().__init__("/nowhere")
        self._streams = list(streams)
        self.asked: list[int] = []
        self.opened: list[Script] = []

    def events(self, pid: int, *, follow: bool = False, after: int = -1, kinds: tuple[EventKind, ...] = ()) -> Any:
        self.asked.append(after)
        stream = self._streams.pop(0)
        if isinstance(stream, Exception):
            raise stream
        self.opened.append(Script([event for event in stream[0] if event.seq > after], stream[1]))
        return self.opened[-1]
