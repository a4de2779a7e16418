"""The app's tie to the kernel: starts it, follows its feed in a thread, and comes back when it was away."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from aios_kernel.client import KernelClient, frame_of
from aios_kernel.client.launch import connect
from aios_kernel.errors import KernelError, KernelUnreachable
from aios_kernel.protocol import Frame
from aios_shell.tui.live import Link

if TYPE_CHECKING:
    from aios_kernel.client import Stream

HZ: Final = 10.0  # frames a second: what an eye follows in a table
RETRY_S: Final = 0.5  # how long a kernel that is back may go unnoticed

Told = Frame | tuple[Link, str]


class Follower:
    """Reads the kernel's feed. What it hears is taken with `take`, on any thread; `on_told` says that there is some."""

    def __init__(self, on_told: Callable[[], object]) -> None:
        """on_told: called on the follower's thread, once until `take` is."""
        self._on_told = on_told
        self._lock = threading.Lock()
        self._told: deque[Told] = deque()
        self._stop = threading.Event()
        self._start = threading.Event()  # a person asks for a kernel
        self._stream: Stream | None = None
        self._thread = threading.Thread(target=self._run, name="kernel feed", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End the thread, at once."""
        self._stop.set()
        self._start.set()
        with self._lock:
            if self._stream is not None:
                self._stream.close()

    def start_kernel(self) -> None:
        """Start a kernel instead of waiting for one."""
        self._start.set()

    def take(self) -> list[Told]:
        """All that was told since the last call, in order."""
        with self._lock:
            told = list(self._told)
            self._told.clear()
        return told

    def _tell(self, told: Told) -> None:
        with self._lock:
            first = not self._told
            self._told.append(told)
        if first and not self._stop.is_set():
            self._on_told()

    def _run(self) -> None:
        self._begin()
        while not self._stop.is_set():
            try:
                stream = KernelClient().watch(HZ)
            except KernelUnreachable:
                pass  # none is there: the reason has been told
            except KernelError as error:
                self._tell((Link.LOST, error.message))
            else:
                self._follow(stream)
            if self._start.wait(RETRY_S) and not self._stop.is_set():
                self._start.clear()
                self._begin()

    def _begin(self) -> None:
        self._tell((Link.STARTING, "starting the kernel"))
        try:
            connect(lambda notice: self._tell((Link.STARTING, notice)))
        except KernelError as error:
            self._tell((Link.LOST, error.message))

    def _follow(self, stream: Stream) -> None:
        """Tell what comes, until the kernel or the app ends it."""
        with self._lock:
            self._stream = stream
        if self._stop.is_set():
            stream.close()
        reason = "the kernel went away"
        try:
            self._tell((Link.LOADING, "connected"))
            for _, data in stream:
                self._tell(frame_of(data))
        except KernelError as error:
            reason = error.message
        finally:
            with self._lock:
                self._stream = None
        self._tell((Link.LOST, f"{reason}; K starts one"))
