"""The app on a pseudo terminal of 120 columns and 40 rows: how soon it is there, what it costs, how fast it answers.

First paint is from the start of `aios` to the first text on the screen, with a kernel running; beside it stands a
process that only imports what the app does. Then the app shows 200 agents, all of which change their state ten times
a second: no model here can make so many do that, so they are told by a server that speaks the kernel's protocol,
while a real kernel beside it decodes without a pause. The CPU time is the app's alone, and a key press is answered
when the row it leads to is drawn with the cursor on it. Last, 2,000 rows are paged through as by a key held down.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from statistics import median
from typing import Final

from aios_shell.bench import Setting
from aios_shell.bench.feed import Script, telling
from aios_shell.bench.lab import Lab, aios_home, until
from aios_shell.bench.measure import Chart, Goal, Measure, Run, distribution, measure
from aios_shell.bench.stats import percentile
from aios_shell.bench.terminal import CursorRow, Terminal, terminal

APP: Final = (sys.executable, "-P", "-m", "aios_shell")
BARE: Final = "import textual.app"
IMPORTS: Final = "import aios_shell.cli, aios_shell.tui.app"
START_S: Final = 30.0
ANSWER_S: Final = 5.0
ANSWERED_MS: Final = 50.0
STALL_MS: Final = 100.0

PAINT: Final = Goal(500, "at most", "excess")
CPU: Final = Goal(25, "at most", "value")
KEYS: Final = Goal(99, "at least", "value")
PAGES: Final = Goal(STALL_MS, "at most", "value")

AGENTS, ROWS = 200, 2000
DECODERS: Final = 2
SETTLE_S: Final = 2.0
PAGE_DOWN: Final = "\x1b[6~"
REPEAT_S: Final = 1 / 30  # of a key held down


def runs(setting: Setting) -> Generator[Run, None, None]:
    """Yields {"bare_ms", "imports_ms", "paint_ms", "ready_ms", "cpu", "cpu_keys", "keys_ms", "tok_per_s", "pages_ms"}.

    `cpu` is the share of one core (0 to 1), the times of keys and pages are lists.
    """
    starts, seconds, keys, pages = (1, 1.0, 5, 5) if setting.quick else (5, 10.0, 300, 50)
    cursor = _cursor_color()
    setting.begin(setting.runs * 3)
    with setting.lab() as here:
        for number in range(setting.runs):
            setting.step(f"run {number + 1}, first paint")
            with aios_home(here.home):
                run = _first_paint(starts, cursor)
            setting.step(f"run {number + 1}, {AGENTS} agents")
            with _decoding(here), _app(Script(AGENTS, changing=True), cursor) as app:
                run |= _load(app, seconds, keys)
                run["tok_per_s"] = _decode_rate(here)
            setting.step(f"run {number + 1}, {ROWS} rows")
            with _app(Script(ROWS, changing=False), cursor) as app:
                run["pages_ms"] = [_page(app) for _ in range(pages)]
            yield run


def _cursor_color() -> str:
    """Of the theme that the app has where nothing is configured."""
    from aios_shell.settings import Settings
    from aios_shell.tui.themes import bundled

    return bundled()[Settings().theme].variables["block-cursor-background"]


def _first_paint(starts: int, cursor: str) -> Run:
    """Medians in milliseconds, the ways taken in turn."""
    rows = [(_imports_ms(BARE), _imports_ms(IMPORTS), *_paint_ms(cursor)) for _ in range(starts + 1)][1:]
    names = ("bare_ms", "imports_ms", "paint_ms", "ready_ms")
    return dict(zip(names, (median(column) for column in zip(*rows, strict=True)), strict=True))


def _imports_ms(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-P", "-c", code], check=True, stdin=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1e3


def _paint_ms(cursor: str) -> tuple[float, float]:
    """To the first text, and to what the kernel has told."""
    with terminal(APP, os.environ, cursor) as app:
        painted = app.read_until(lambda row: bool(row.text.strip()), START_S, "the app has drawn nothing")
        ready = app.read_until(_shows_kernel, START_S, "the app does not show the kernel")
    return (painted - app.began) * 1e3, (ready - app.began) * 1e3


def _shows_kernel(row: CursorRow) -> bool:
    """It has processes, or an invitation to start some."""
    return row.pid is not None or "agents ls" in row.text


@contextlib.contextmanager
def _decoding(here: Lab) -> Iterator[None]:
    """Agents that generate for as long as the block runs."""
    pids = [here.start(prompt="Tell me a long story.", max_tokens=400, calls=100_000) for _ in range(DECODERS)]
    try:
        yield
    finally:
        for pid in pids:
            here.kill(pid)


def _decode_rate(here: Lab) -> float:
    """Tokens a second; there are none for a moment where replies end together. Raises DeadlineHit."""
    rates: list[float] = []

    def decodes() -> bool:
        rates.append(here.client.status().tok_per_s)
        return rates[-1] > 0

    until(decodes, ANSWER_S, "the kernel beside the app did not decode")
    return rates[-1]


@contextlib.contextmanager
def _app(script: Script, cursor: str) -> Iterator[Terminal]:
    """The app, showing what `script` tells, with the cursor on its first row."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(aios_home(stack.enter_context(tempfile.TemporaryDirectory(prefix="aios-bench-"))))
        stack.enter_context(telling(script))
        app = stack.enter_context(terminal(APP, os.environ, cursor))
        app.read_until(lambda row: row.pid == 1, START_S, "the app does not show the agents")
        app.read_for(SETTLE_S)
        yield app


def _load(app: Terminal, seconds: float, keys: int) -> Run:
    """What the app costs by itself, then with a person at the keys."""
    with _metered(app) as idle:
        app.read_for(seconds)
    with _metered(app) as busy:
        # Uneven pauses, so that presses fall everywhere between two frames; a fast typist's, 60 to 150 ms.
        keys_ms = [_step(app, number, pause_s=0.06 + 0.01 * (number * 7 % 10)) for number in range(keys)]
    return {"cpu": idle[0], "cpu_keys": busy[0], "keys_ms": keys_ms}


@contextlib.contextmanager
def _metered(app: Terminal) -> Iterator[list[float]]:
    """Afterwards the list has the share of one core that the app used in the block."""
    share: list[float] = []
    cpu_s, began = app.cpu_s(), time.perf_counter()
    yield share
    share.append((app.cpu_s() - cpu_s) / (time.perf_counter() - began))


def _step(app: Terminal, number: int, pause_s: float) -> float:
    """One row down, or up again: milliseconds until the cursor is drawn there."""
    key, pid = ("j", 2) if number % 2 == 0 else ("k", 1)
    pressed = app.press(key)
    answered = app.read_until(lambda row: row.pid == pid, ANSWER_S, f"the app has not answered {key}")
    app.read_for(pause_s)
    return (answered - pressed) * 1e3


def _page(app: Terminal) -> float:
    """One page down: milliseconds until the cursor is drawn on another row."""
    before = app.row.pid
    pressed = app.press(PAGE_DOWN)
    answered = app.read_until(lambda row: row.pid != before, ANSWER_S, "the app has not turned the page")
    app.read_for(max(0.0, pressed + REPEAT_S - time.perf_counter()))
    return (answered - pressed) * 1e3


def measures(runs: Sequence[Run]) -> list[Measure]:
    imports, only = [run["imports_ms"] for run in runs], "a process that only imports"
    told, paged = [run["keys_ms"] for run in runs], [run["pages_ms"] for run in runs]

    def of(name: str, scale: float = 1.0) -> list[float]:
        return [scale * run[name] for run in runs]

    within = [100 * sum(each <= ANSWERED_MS for each in keys) / len(keys) for keys in told]
    return [
        measure("first paint", of("paint_ms"), imports, unit="ms", peer_name=f"{only} the app", goal=PAINT),
        measure("until it shows the kernel", of("ready_ms"), imports, unit="ms", peer_name=f"{only} the app"),
        measure("imports of the app", imports, of("bare_ms"), unit="ms", peer_name=f"{only} textual.app"),
        measure(f"CPU time, {AGENTS} agents changing at 10 Hz", of("cpu", 100), unit="% of a core", goal=CPU),
        measure("the same, keys pressed all the time", of("cpu_keys", 100), unit="% of a core"),
        measure(f"keys answered within {ANSWERED_MS:g} ms", within, unit="%", goal=KEYS),
        measure("key to answer, median", [median(keys) for keys in told], unit="ms"),
        measure("key to answer, p99", [percentile(keys, 99) for keys in told], unit="ms"),
        measure(f"slowest page of {ROWS:,} rows", [max(pages) for pages in paged], unit="ms", goal=PAGES),
    ]


def charts(runs: Sequence[Run]) -> list[Chart]:
    keys = [each for run in runs for each in run["keys_ms"]]
    pages = [each for run in runs for each in run["pages_ms"]]
    series = (distribution(f"{AGENTS} agents changing", keys), distribution(f"pages of {ROWS:,} rows", pages))
    return [Chart("Keys answered in time", "lines", "ms", "% of key presses", series)]
