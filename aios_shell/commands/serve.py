"""serve."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator

from aios_shell.io import Io


def serve(io: Io, port: int) -> None:
    """Until Ctrl-C, which is how it ends: exit code 0."""
    # textual-serve writes what an app said on standard error to sys.stdout, which here has the address alone.
    with contextlib.redirect_stdout(sys.stderr):
        asyncio.run(_serve(io, port))


async def _serve(io: Io, port: int) -> None:
    from aios_shell.tui.browser import serving

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    with _signals(loop, stop), io.cancel.closing(lambda: _set(loop, stop)):
        async with serving(port, lambda: io.note("opened; the address above has done its work")) as url:
            io.line(url)
            io.note("open this once, in a browser on this machine; Ctrl-C ends it, and the agents go on")
            await stop.wait()


def _set(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(stop.set)


@contextlib.contextmanager
def _signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> Iterator[None]:
    """INT and TERM end it in order; in a thread of a shell's job `io.cancel` does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
