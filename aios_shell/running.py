"""An agent in the foreground: its output to our descriptors as it comes, our input to it, Ctrl-C as its signal."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Iterator

from aios_kernel.client import KernelClient, Stream, event_of, is_error, output_bytes
from aios_kernel.errors import InvalidState, KernelError, KernelUnreachable
from aios_kernel.protocol import Event, EventKind, ProcState, Signal
from aios_shell.io import Io, write_all
from aios_shell.text import TerminalText

DETACHED = 130
_KINDS = (EventKind.STDOUT, EventKind.STDERR, EventKind.STATE, EventKind.EXIT)


class AgentRun:
    """One process whose streams this shell carries until it ends, is detached, or nobody reads it any more."""

    def __init__(self, client: KernelClient, pid: int, io: Io, *, feed: bool) -> None:
        self._client, self._pid, self._io, self._feeds = client, pid, io, feed
        self._stream: Stream | None = None
        self._detached = False
        self._mid_line = False  # on the terminal, where narration should not be glued to the answer
        self._screens = {fd: TerminalText() for fd in (io.stdout, io.stderr) if io.tty(fd)}

    def follow(self) -> int:
        """Carry the streams. Returns the agent's exit code, 130 when detached.

        Raises KernelUnreachable when the kernel goes away first, OSError when the output cannot be written.
        """
        foreground = self._io.session.foreground
        self._stream = self._client.events(self._pid, follow=True, kinds=_KINDS)
        foreground.add(self)
        try:
            with self._io.cancel.closing(self._stream.close), self._feeding():
                self._tell_of_model()
                return self._carry(self._stream)
        except OSError:
            self._signal(Signal.TERM)  # nobody reads, or the disk is full: what it would still say is for nobody
            raise
        finally:
            foreground.remove(self)

    def interrupt(self) -> None:
        """Ctrl-C: the agent's own business; `chat` stops the turn, most end with 130."""
        self._signal(Signal.INT)

    def detach(self) -> None:
        """Ctrl-C again: leave the agent to itself."""
        self._detached = True
        if self._stream is not None:
            self._stream.close()

    def _carry(self, stream: Stream) -> int:
        for _, data in stream:
            error = is_error(data)
            if error is not None:
                raise error
            event = event_of(data)
            if event.kind is EventKind.EXIT:
                return int(event.data)
            if event.kind is EventKind.STATE:
                self._tell_question(event.data)
            else:
                self._write(event)
        self._begin_line()
        if self._detached:
            self._io.note(f"process {self._pid} goes on without this terminal; `aios attach {self._pid}` comes back")
            return DETACHED
        if self._io.cancel.fired:
            self._signal(Signal.TERM)
            return DETACHED
        raise KernelUnreachable(f"the kernel went away before process {self._pid} ended")

    def _write(self, event: Event) -> None:
        data = output_bytes(event)
        if event.kind is EventKind.STDOUT:
            write_all(self._io.stdout, self._safe(self._io.stdout, data))
            self._mid_line = self._io.tty(self._io.stdout) and not data.endswith(b"\n")
            return
        self._begin_line()
        with contextlib.suppress(OSError):  # nobody reads its narration: no reason to end it
            write_all(self._io.stderr, self._safe(self._io.stderr, data))

    def _tell_question(self, change: str) -> None:
        """It waits for a person, who would else see nothing at all."""
        state, _, question = change.partition(" ")
        if (
            state == ProcState.ASKING and self._client.proc(self._pid).state is ProcState.ASKING
        ):  # not one long answered
            self._begin_line()
            self._io.note(f"{question}? `aios approve {self._pid}` or `aios deny {self._pid}`, in another terminal")

    def _tell_of_model(self) -> None:
        """A large model takes its time to load, and who looks at a terminal would see nothing."""
        if self._io.tty(self._io.stderr) and (status := self._client.status()).model_state == "loading":
            self._io.note(f"loading {status.model}" if status.model else "loading the model")

    def _begin_line(self) -> None:
        if self._mid_line and self._io.tty(self._io.stderr):
            self._io.narrate("\n")
        self._mid_line = False

    def _safe(self, fd: int, data: bytes) -> bytes:
        """A terminal gets text without control characters; a pipe or file gets what the agent wrote."""
        screen = self._screens.get(fd)
        return screen.feed(data) if screen is not None else data

    def _signal(self, signal: Signal) -> None:
        try:
            self._client.signal(self._pid, signal)
        except InvalidState:
            pass  # it has ended: the stream tells
        except KernelError as error:
            self._io.note(error.message)

    @contextlib.contextmanager
    def _feeding(self) -> Iterator[None]:
        if not self._feeds:
            yield
            return
        stop_read, stop_write = os.pipe()
        thread = threading.Thread(target=self._feed, args=(stop_read,), name=f"stdin of {self._pid}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            os.close(stop_write)  # wakes the thread when it waits for input

    def _feed(self, stop: int) -> None:
        """Standard input to the agent, until either ends. Waits on both, so that no typed line is taken in vain."""
        try:
            while True:
                ready, _, _ = select.select([self._io.stdin, stop], [], [])
                if stop in ready:
                    return
                data = self._read()
                self._client.feed(self._pid, data, eof=not data)
                if not data:
                    return
        except InvalidState as error:  # it ended, closed its input, or never had any
            if data and self._io.tty(self._io.stdin):
                self._io.note(f"{error.message}; `aios send {self._pid} TEXT` reaches its mailbox")
        except KernelError:
            return  # the output's stream tells
        finally:
            os.close(stop)

    def _read(self) -> bytes:
        try:
            return os.read(self._io.stdin, 65536)
        except OSError:  # a terminal that is not ours any more
            return b""
