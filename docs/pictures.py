"""Draws the pictures in docs/images: real commands, and the app, on a real kernel. `just pictures`."""

from __future__ import annotations

import asyncio
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

IMAGES = Path(__file__).parent / "images"
COLUMNS, ROWS = 100, 40

# More agents than slots, so that the scheduler has something to decide.
CROWD = (
    'aios run --bg narrate "a fox and a lighthouse"',
    'aios run --bg narrate "the last train to the sea"',
    'aios run --bg --nice -5 math "What is 12*7?"',
    'aios run --bg narrate "two sisters who open a bakery"',
    'aios run --bg travel "three days in Lisbon"',
    'aios run --bg narrate "a robot who paints"',
    "aios run --bg chat",
    "aios suspend 2",
)
# file, size, theme, keys
SHOTS: tuple[tuple[str, tuple[int, int], str, tuple[str, ...]], ...] = (
    ("app.svg", (180, 50), "graphite", ()),
    ("app-scheduler.svg", (120, 40), "graphite", ("2",)),
    ("app-80x24.svg", (80, 24), "paper", ()),
    ("app-contexts.svg", (120, 32), "dusk", ("3",)),
)
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


def session(env: dict[str, str], home: str) -> None:
    """Command lines and what they show."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in SESSION:
        console.print(Text.assemble(("$ ", "bold green"), (line, "bold")))
        console.print(Text.from_ansi(in_terminal(line, env, home)))
    console.save_svg(str(IMAGES / "session.svg"), title="aios")


async def app(theme: str, size: tuple[int, int], keys: tuple[str, ...]) -> str:
    """The app as it looks once it has followed the agents for some steps."""
    from aios_shell.cli import connect
    from aios_shell.session import Session
    from aios_shell.tui.app import AiosApp

    shown = AiosApp(Session(connect))
    shown.theme = theme
    async with shown.run_test(size=size) as pilot:
        async with asyncio.timeout(60):
            while len(shown.live.steps) < 150:
                await pilot.pause(0.1)
        for key in keys:
            await pilot.press(key)
        await pilot.pause(1.0)
        return shown.export_screenshot(title="aios")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="aios-") as home:
        bin_folder = Path(sys.executable).parent
        env = {**os.environ, "AIOS_HOME": f"{home}/h", "PATH": f"{bin_folder}:{os.environ['PATH']}"}
        env |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        env.pop("NO_COLOR", None)
        in_terminal("aios kernel start", env, home)
        session(env, home)
        in_terminal("aios kernel stop", env, home)
        for file, size, theme, keys in SHOTS:
            env["AIOS_HOME"] = os.environ["AIOS_HOME"] = f"{home}/{file}"
            config = Path(env["AIOS_HOME"], "config")
            config.mkdir(parents=True)
            (config / "config.toml").write_text("[model]\nslots = 4\n")
            in_terminal("aios kernel start", env, home)
            in_terminal("; ".join(CROWD), env, home)
            (IMAGES / file).write_text(asyncio.run(app(theme, size, keys)), encoding="utf-8")
            in_terminal("aios kernel stop", env, home)


if __name__ == "__main__":
    main()
