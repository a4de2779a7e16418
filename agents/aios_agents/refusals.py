"""What agents are refused: the host hears of it by their seccomp filters, answers, and tells the kernel.

The host answers, as it does little else and one process has to: the system holds the agent's thread meanwhile. Time
that the host spends on one agent, and each refusal, is paced, so that who tries without end waits for itself alone.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable
from typing import Final

from aios_kernel.client.bucket import DENIALS, DENIALS_PER_S, TokenBucket
from aios_kernel.client.confine import Confinement
from aios_kernel.client.confine.notices import Call, Listener
from aios_kernel.client.confine.reach import Reach, Refusal

# Seconds of the host's time, for one agent: so much at once, then so much a second. A call takes it 50 microseconds, so
# a program with a thousand imports is not held up.
_BURST_S: Final = 0.5
_SHARE: Final = 0.25

Tell = Callable[[int, Refusal, str], object]  # pid, the refusal, the call's name


class Refusals:
    """Those of all agents of a host. One thread: the selector's."""

    def __init__(self, selector: selectors.BaseSelector, tell: Tell) -> None:
        """The selector's keys get as data what is to be called when they are ready."""
        self._selector = selector
        self._tell = tell
        self._wards: dict[int, _Ward] = {}  # by OS pid
        self._paused: set[_Ward] = set()

    def expect(self, channel: socket.socket, pid: int, os_pid: int, confinement: Confinement) -> None:
        """The agent sends its filter's listener on `channel`, which is closed here, before its own code runs."""
        self._wards[os_pid] = ward = _Ward(channel, pid, Reach(os_pid, confinement))
        self._selector.register(channel, selectors.EVENT_READ, lambda: self._meet(ward))

    def forget(self, os_pid: int) -> None:
        """The agent has ended."""
        ward = self._wards.pop(os_pid, None)
        if ward is not None:
            self._leave(ward)

    def resume(self) -> float | None:
        """Listen again to whom has waited long enough; returns for how many seconds others have to, None: nobody."""
        now = time.monotonic()
        for ward in [ward for ward in self._paused if ward.until <= now]:
            self._paused.discard(ward)
            self._listen(ward)
        return min((ward.until - now for ward in self._paused), default=None)

    def _meet(self, ward: _Ward) -> None:
        self._selector.unregister(ward.channel)
        with ward.channel:
            fds: list[int] = []
            with contextlib.suppress(OSError):  # it died before it had sent all
                _, fds, _, _ = socket.recv_fds(ward.channel, 1, 1)
        if fds:
            ward.listener = Listener(fds[0])
            self._listen(ward)

    def _listen(self, ward: _Ward) -> None:
        if ward.listener is not None:
            self._selector.register(ward.listener, selectors.EVENT_READ, lambda: self._serve(ward))

    def _serve(self, ward: _Ward) -> None:
        """Answer one call, so that agents take turns."""
        listener = ward.listener
        assert listener is not None
        begin = time.monotonic()
        try:
            call = listener.receive()
        except EOFError:
            self._leave(ward)
            return
        if call is None:
            return
        refusal = _decide(ward, listener, call)
        if refusal is not None:
            self._tell(ward.pid, refusal, call.name)
        listener.answer(call, refusal.error if refusal else 0)
        end = time.monotonic()
        pause = ward.time.take(end, end - begin)
        if refusal is not None:
            pause = max(pause, ward.refusals.take(end))
        if pause:
            ward.until = end + pause
            self._selector.unregister(listener)
            self._paused.add(ward)

    def _leave(self, ward: _Ward) -> None:
        self._paused.discard(ward)
        for each in (ward.channel, ward.listener):
            if each is not None and each.fileno() >= 0:
                with contextlib.suppress(KeyError):  # it is paused, or was never listened to
                    self._selector.unregister(each)
                each.close()
        ward.listener = None


class _Ward:
    """One agent. until: the time of the monotonic clock at which a paused one is listened to again."""

    def __init__(self, channel: socket.socket, pid: int, reach: Reach) -> None:
        self.channel = channel
        self.pid = pid
        self.reach = reach
        self.listener: Listener | None = None
        self.time = TokenBucket(_BURST_S, _SHARE, time.monotonic())
        self.refusals = TokenBucket(DENIALS, DENIALS_PER_S, time.monotonic())
        self.until = 0.0


def _decide(ward: _Ward, listener: Listener, call: Call) -> Refusal | None:
    """None too where the caller has been killed meanwhile: what was read may be of another's memory."""
    try:
        refusal = ward.reach.refusal(call)
    except (OSError, RecursionError):  # too many links for us are too many for the system
        return None
    return refusal if refusal is not None and listener.is_held(call) else None
