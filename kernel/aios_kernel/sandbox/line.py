"""The kernel's end of an agent's line: it hands out connections. What is said on it is told in `client.line`.

All connections of an agent are known together: they share one pace, so that a flood waits at its own door, and end with
the agent.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final

from aios_kernel.client.bucket import TokenBucket

log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 256  # of one agent: each is a syscall under way, or waits for the next
# Requests, in whole or in part, and connections: so many at once, then so many a second. A syscall costs the kernel
# 2.4 ms of processor time over all its threads, a connection 0.3 (tests/hostile, 2 cores): a flood gets a quarter core.
BURST: Final = 64
PER_S: Final = 100.0
_SEND_BYTES: Final = 4_096  # of descriptors on their way to an agent that does not take them


class Traffic:
    """What is one agent's of the kernel's HTTP: shared by all its connections.

    Attributes:
        on_closed: hears that a connection has ended.
        on_malformed: hears of the first piece of data that was no request.
    """

    def __init__(self, now: float) -> None:
        self.pace = TokenBucket(BURST, PER_S, now)
        self.open: set[asyncio.Transport] = set()
        self.num_malformed = 0
        self.on_closed: Callable[[], None] = lambda: None
        self.on_malformed: Callable[[], object] = lambda: None


Accept = Callable[[socket.socket, Traffic], None]  # answers on a connection from now on


class Line:
    """One agent's. Event loop only.

    Attributes:
        theirs: for the agent to inherit; close it once it has.
    """

    def __init__(self, token: str, accept: Accept, on_malformed: Callable[[], object]) -> None:
        """Raises OSError."""
        self._accept = accept
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._ours.setblocking(False)
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
        self._ours.send(token.encode() + b"\n")
        self._loop = asyncio.get_running_loop()
        self._traffic = Traffic(self._loop.time())
        self._traffic.on_closed, self._traffic.on_malformed = self._on_closed, on_malformed
        self._pause: asyncio.TimerHandle | None = None
        self._listening = False
        self._listen()

    def close(self) -> None:
        """The agent has ended: so do its connections, after what is being written. Twice is fine."""
        self._deafen()
        self._ours.close()
        self.theirs.close()
        for transport in list(self._traffic.open):
            transport.close()

    def _on_asked(self) -> None:
        try:
            if not self._ours.recv(1):
                self._deafen()  # the agent has closed it, or has ended: then the host tells
                return
            self._hand_out()
        except BlockingIOError:  # it does not take what it asked for
            self._wait(1.0)
        except OSError as error:
            log.debug("an agent's line: %s", error)
            self._deafen()

    def _hand_out(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            try:
                socket.send_fds(self._ours, [b"k"], [theirs.fileno()])
            except OSError:
                ours.close()
                raise
        self._accept(ours, self._traffic)
        pause = self._traffic.pace.take(self._loop.time())
        if pause or len(self._traffic.open) >= MAX_CONNECTIONS:
            self._wait(pause)

    def _wait(self, pause_s: float) -> None:
        """Hand out nothing for so long, and then only if there is room."""
        self._deafen()
        self._pause = self._loop.call_later(pause_s, self._listen)

    def _on_closed(self) -> None:
        if self._pause is None:
            self._listen()

    def _listen(self) -> None:
        self._pause = None
        if not self._listening and self._ours.fileno() >= 0 and len(self._traffic.open) < MAX_CONNECTIONS:
            self._listening = True
            self._loop.add_reader(self._ours.fileno(), self._on_asked)

    def _deafen(self) -> None:
        if self._listening:
            self._listening = False
            self._loop.remove_reader(self._ours.fileno())
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
