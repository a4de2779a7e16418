"""Draws docs/images/session.svg: real commands on a real kernel, in a terminal of 100 columns. `just pictures`."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS, ROWS = 100, 40
SESSION = (
    'aios run math "What is 12*7?"',
    "printf 'The meeting moved to Tuesday because Bob travels.' | aios run summarize | tee note.txt",
    "aios run narrate 'a fox and a lighthouse' --bg",
    "aios run narrate 'a robot who paints' --bg",
    "aios logs 4 -f --output | head -c 80; echo; aios suspend 4",
    "aios ps",
    "aios snap ls",
    "aios resume 4 && aios wait 3 4 && aios ps --all",
)


def in_terminal(line: str, env: dict[str, str], cwd: str) -> str:
    """What `line` shows on a terminal."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        ["bash", "-c", line], stdin=subprocess.DEVNULL, stdout=side, stderr=side, env=env, cwd=cwd
    )
    os.close(side)
    shown = bytearray()
    while True:
        try:
            data = os.read(main, 65536)
        except OSError:  # Linux answers EIO when the last writer is gone
            break
        if not data:
            break
        shown += data
    os.close(main)
    if process.wait() != 0:
        sys.exit(f"{line!r} exited {process.returncode}: {shown.decode(errors='replace')}")
    return shown.decode().replace("\r\n", "\n")


def main() -> None:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    with tempfile.TemporaryDirectory(prefix="aios-") as home:
        bin_folder = Path(sys.executable).parent
        env = {**os.environ, "AIOS_HOME": f"{home}/h", "PATH": f"{bin_folder}:{os.environ['PATH']}"}
        env |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        env.pop("NO_COLOR", None)
        in_terminal("aios kernel start", env, home)
        for line in SESSION:
            console.print(Text.assemble(("$ ", "bold green"), (line, "bold")))
            console.print(Text.from_ansi(in_terminal(line, env, home)))
        in_terminal("aios kernel stop", env, home)
    console.save_svg(str(Path(__file__).parent / "images" / "session.svg"), title="aios")


if __name__ == "__main__":
    main()
