"""What ends the app from outside: the terminal is given back as it was found."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Final

from textual.app import App

GRACE_S: Final = 2.0


@contextlib.contextmanager
def ended_by_signals(app: App[int]) -> Iterator[None]:
    """While the app runs, SIGTERM and SIGHUP end it as `q` does, with the status that a shell gives them."""

    def end(number: int, _frame: FrameType | None) -> None:
        status = 128 + number
        # A terminal that is gone takes nothing any more, and Textual would wait for it without end.
        late = threading.Timer(GRACE_S, os._exit, (status,))
        late.daemon = True
        late.start()
        try:
            asyncio.get_running_loop().call_soon_threadsafe(app.exit, status)
        except RuntimeError:  # it has not begun, or has ended
            raise SystemExit(status) from None

    former = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
