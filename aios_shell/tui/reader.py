"""One process's events, read in a thread, for a screen that takes them when it is ready to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from aios_kernel.client import KernelClient, Stream, event_of, is_error
from aios_kernel.errors import DeadlineHit, KernelError, KernelStopping, KernelUnreachable, NotAuthenticated
from aios_kernel.protocol import Event, EventKind

if TYPE_CHECKING:
    from textual.app import App

RETRY_S: Final = 0.5  # after the kernel went away, doubled each time up to
MAX_RETRY_S: Final = 5.0
MAX_WAITING: Final = (
    1_000_000  # characters that are not taken yet: then the kernel has to wait, and nobody's memory fills
)


# Of a kernel that is away, or another one already: its key is another too.
_PASSING: Final = (KernelUnreachable, KernelStopping, DeadlineHit, NotAuthenticated)


class Connected(Protocol):
    """An app that has a kernel."""

    client: KernelClient


def client_of(app: App[Any]) -> KernelClient:
    return cast(Connected, app).client


class Reader:
    """Follows the events of a process from seq `after` on until it ends, across restarts of the kernel.

    `take` and `close` are for any thread, at any time.

    Attributes:
        why_not: why there is no more to read, though the end was not told; "" mostly.
    """

    def __init__(self, client: KernelClient, pid: int, after: int, on_told: Callable[[], object]) -> None:
        """on_told: called on the reader's thread when there is something to take, once until `take` is."""
        self._client, self._pid, self._after, self._on_told = client, pid, after, on_told
        self._changed = threading.Condition()
        self._events: list[Event] = []
        self._num_chars = 0
        self._closed = False
        self.why_not = ""
        self._stream: Stream | None = None
        self._thread = threading.Thread(target=self._run, name=f"events of {pid}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, at once; what was not taken is dropped."""
        with self._changed:
            self._closed = True
            self._events.clear()
            if self._stream is not None:
                self._stream.close()
            self._changed.notify_all()

    def take(self) -> list[Event]:
        """The events that came since the last call, in order."""
        with self._changed:
            events, self._events, self._num_chars = self._events, [], 0
            self._changed.notify_all()
        return events

    def _run(self) -> None:
        delay = RETRY_S
        while not self._closed:
            before = self._after
            try:
                if self._follow():
                    return
            except _PASSING:  # the app tells of it; here it is tried again
                pass
            except KernelError as error:  # its events are not kept, or could not be
                self.why_not = error.message
                self._on_told()
                return
            delay = RETRY_S if self._after > before else min(2 * delay, MAX_RETRY_S)
            with self._changed:
                self._changed.wait_for(lambda: self._closed, delay)

    def _follow(self) -> bool:
        """Read one stream to its end. Returns whether the process has ended. Raises KernelError."""
        stream = self._client.events(self._pid, follow=True, after=self._after)
        with self._changed:
            self._stream = stream
            if self._closed:
                stream.close()
        for _, data in stream:
            error = is_error(data)
            if error is not None:
                raise error
            event = event_of(data)
            self._tell(event)
            if event.kind is EventKind.EXIT:
                return True
        return False

    def _tell(self, event: Event) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._num_chars < MAX_WAITING)
            if self._closed:
                return
            first = not self._events
            self._events.append(event)
            self._num_chars += len(event.data)
            self._after = event.seq
        if first and not self._closed:
            self._on_told()
