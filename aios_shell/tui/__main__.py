"""The app as a program of its own, whatever its standard streams are: what `aios serve` runs for each tab."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading

from aios_kernel.client.launch import connect
from aios_shell.session import Session
from aios_shell.tui.app import AiosApp

# textual-serve sets these for the app; what the app starts is not in a browser.
_SERVED = ("TEXTUAL_DRIVER", "TEXTUAL_FPS", "TEXTUAL_COLOR_SYSTEM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "ROWS")


def main() -> int:
    threading.Thread(target=_end_with_server, name="server", daemon=True).start()
    env = {name: value for name, value in os.environ.items() if name not in _SERVED}
    return AiosApp(Session(connect, env)).run() or 0


def _end_with_server() -> None:
    """Standard input hangs up when `aios serve` is gone, however it went; an app without a screen has no use."""
    poller = select.poll()
    poller.register(0, 0)  # hang-ups are told unasked
    poller.poll()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
