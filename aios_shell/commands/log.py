"""logs, send."""

from __future__ import annotations

import base64
import datetime

from aios_kernel.client import event_of, is_error, output_bytes
from aios_kernel.errors import KernelUnreachable
from aios_kernel.protocol import Event, EventKind
from aios_shell import render
from aios_shell.io import Io, write_all
from aios_shell.text import TerminalText, sanitize


def logs(io: Io, pid: int, follow: bool, output: bool, json: bool) -> int:
    client = io.session.connect(io.note)
    kinds: tuple[EventKind, ...] = (EventKind.STDOUT,) if output else ()
    if follow and output:
        kinds = (EventKind.STDOUT, EventKind.EXIT)  # EXIT is what ends the following
    stream = client.events(pid, follow=follow, kinds=kinds)
    show = _Raw(io) if output else _Json(io, follow) if json else _Text(io)
    with io.cancel.closing(stream.close):
        for _, data in stream:
            error = is_error(data)
            if error is not None:
                raise error
            event = event_of(data)
            show.event(event)
            if event.kind is EventKind.EXIT:
                break
        else:
            if follow and not io.cancel.fired:
                raise KernelUnreachable("the kernel went away")
    show.end()
    return 0


def send(io: Io, pid: int, text: list[str]) -> None:
    io.session.connect(io.note).send(pid, " ".join(text))


class _Raw:
    """What the agent wrote to standard output, byte for byte; made safe only for a terminal."""

    def __init__(self, io: Io) -> None:
        self._io = io
        self._screen = TerminalText() if io.tty(io.stdout) else None

    def event(self, event: Event) -> None:
        if event.kind is EventKind.STDOUT:
            data = output_bytes(event)
            write_all(self._io.stdout, self._screen.feed(data) if self._screen else data)

    def end(self) -> None:
        pass


class _Text(_Raw):
    """One line an event: time, what, text. Output that comes in pieces is put together to lines."""

    def __init__(self, io: Io) -> None:
        super().__init__(io)
        self._partial: dict[EventKind, tuple[Event, str]] = {}
        self._texts = {EventKind.STDOUT: TerminalText(), EventKind.STDERR: TerminalText()}

    def event(self, event: Event) -> None:
        if event.kind not in self._texts:
            self._flush()
            self._line(event, sanitize(event.data))
            return
        since, held = self._partial.pop(event.kind, (event, ""))
        *lines, rest = (held + self._texts[event.kind].feed(output_bytes(event)).decode()).split("\n")
        for line in lines:
            self._line(since, line)
            since = event
        if rest:
            self._partial[event.kind] = (since, rest)

    def end(self) -> None:
        self._flush()

    def _flush(self) -> None:
        for event, text in self._partial.values():
            self._line(event, text)
        self._partial.clear()

    def _line(self, event: Event, text: str) -> None:
        at = datetime.datetime.fromtimestamp(event.at).strftime("%H:%M:%S.%f")[:-3]
        self._io.line(f"{at} {event.kind.value:<7} {text}".rstrip())


class _Json(_Raw):
    """Events as JSON: a list, or one object a line while following."""

    def __init__(self, io: Io, follow: bool) -> None:
        super().__init__(io)
        self._follow = follow
        self._events: list[dict[str, object]] = []

    def event(self, event: Event) -> None:
        import msgspec

        row: dict[str, object] = {
            "pid": event.pid,
            "seq": event.seq,
            "at": event.at,
            "kind": event.kind.value,
            "data": _readable(event),
        }
        if self._follow:
            self._io.line(msgspec.json.encode(row).decode())
        else:
            self._events.append(row)

    def end(self) -> None:
        if not self._follow:
            render.json(self._io, self._events)


def _readable(event: Event) -> str:
    if event.kind in (EventKind.STDOUT, EventKind.STDERR):
        return base64.b64decode(event.data).decode("utf-8", "replace")
    return event.data
