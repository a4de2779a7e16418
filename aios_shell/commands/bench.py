"""bench: run benchmarks, each in kernels of its own."""

from __future__ import annotations

import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from aios_shell import bench as benchmarks
from aios_shell import render
from aios_shell.bench import Benchmark, Result, Setting
from aios_shell.io import Io

INTERRUPTED: Final = 130
LIST: Final = "ls"


def bench(
    io: Io, names: list[str], runs: int | None, peer: list[str], quick: bool, plot: str | None, json: bool
) -> int:
    """Exit code 1 when a goal is missed or a benchmark failed: the figures are printed all the same."""
    if names == [LIST]:
        return _list(io, json)
    wanted = benchmarks.find(names)
    folder = _folder(io, plot)
    outcome = _Outcome(io, quick, _look_at(peer))
    try:
        with _Hearing(io):
            outcome.run(wanted, runs)
        status = INTERRUPTED if io.cancel.fired else 0
    except KeyboardInterrupt:
        status = INTERRUPTED
    if json:
        outcome.print_json()
    else:
        outcome.print_table()
    if folder is not None:
        outcome.plot(folder)
    return status or (0 if all(result.good for result in outcome.results.values()) else 1)


class _Hearing:
    """Hears Ctrl-C while benchmarks run. Signals come to the main thread; in a pipeline they run in another one."""

    def __init__(self, io: Io) -> None:
        self._io = io
        self._thread = threading.current_thread()
        self._heard = False

    def interrupt(self) -> None:
        if self._heard:
            return  # kernels are being stopped, which has its own deadline
        self._heard = True
        if threading.current_thread() is self._thread:
            raise KeyboardInterrupt
        self._io.cancel.fire()

    def detach(self) -> None:
        self.interrupt()

    def __enter__(self) -> None:
        foreground = self._io.session.foreground
        foreground.add(self)
        if self._thread is threading.main_thread():  # SIGTERM too: else a kernel of ours would be left behind
            self._before = signal.signal(signal.SIGTERM, lambda *_: foreground.interrupt())

    def __exit__(self, *_: object) -> None:
        if self._thread is threading.main_thread():
            signal.signal(signal.SIGTERM, self._before)
        self._io.session.foreground.remove(self)


def _list(io: Io, json: bool) -> int:
    rows = list(benchmarks.BENCHMARKS.values())
    if json:
        render.json(io, rows)
    else:
        cells = [(row.name, f"{row.minutes:g} min", row.runs, row.summary) for row in rows]
        render.table(io, ("NAME", "TAKES", "RUNS", "MEASURES"), cells, right=frozenset({"TAKES", "RUNS"}))
    return 0


def _folder(io: Io, plot: str | None) -> Path | None:
    """Where the charts go. Raises NoPlots and OSError now rather than after minutes."""
    if plot is None:
        return None
    from aios_shell.bench import plot as plots

    plots.check()
    folder = io.session.path(plot)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _look_at(urls: list[str]) -> tuple[Any, ...]:
    """The peers, warm. Raises BadRequest, PeerUnusable."""
    if not urls:
        return ()
    from aios_shell.bench import peer as peers

    found = tuple(peers.look(url) for url in urls)
    for server in found:
        peers.warm(server)
    return found


class _Outcome:
    """The results of one `aios bench`, as they come."""

    def __init__(self, io: Io, quick: bool, peers: tuple[Any, ...]) -> None:
        self._io, self._quick, self._peers = io, quick, peers
        self._began = datetime.now(UTC)
        self.results: dict[str, Result] = {}

    def run(self, wanted: list[Benchmark], num_runs: int | None) -> None:
        from aios_shell.bench.progress import shown

        with shown(self._io, len(wanted)) as progress:
            for row in wanted:
                count = num_runs or (1 if self._quick else row.runs)
                setting = Setting(row.name, count, progress, self._io.cancel, self._quick, self._peers)
                self.results[row.name] = result = Result()
                benchmarks.run(row, setting, result)
                if self._io.cancel.fired:
                    return

    def print_json(self) -> None:
        from aios_shell.bench.machine import describe

        peers = [{"name": p.name, "url": p.url, "model": Path(p.model).name, "slots": p.slots} for p in self._peers]
        head = {"date": self._began.date().isoformat(), "quick": self._quick, "machine": describe(), "peers": peers}
        render.json(self._io, {**head, "benchmarks": self.results})

    def print_table(self) -> None:
        from aios_shell.bench.report import cells

        rows = []
        for name, result in self.results.items():
            for measure in result.measures:
                what, ratio, *rest = cells(msgspec.to_builtins(measure))
                rows.append((name, ratio, *rest[:3], rest[4], rest[5], what, rest[3]))
        columns = ("BENCH", "RATIO", "OURS", "PEER", "UNIT", "GOAL", "MET", "MEASURE", "AGAINST")
        if rows:
            render.table(self._io, columns, rows, right=frozenset({"RATIO", "OURS", "PEER"}), spare=("AGAINST", "GOAL"))
        for name, result in self.results.items():
            for note in [*result.notes, *([result.error] if result.error else [])]:
                self._io.note(f"bench {name}: {note}")
        if self._quick:
            self._io.note("bench: --quick shows that it works; the figures mean nothing and no goal was judged")

    def plot(self, folder: Path) -> None:
        from aios_shell.bench import plot as plots

        for name, result in self.results.items():
            if result.charts:
                path = folder / f"bench-{name}.svg"
                plots.save(result.charts, path)
                self._io.note(f"bench {name}: {path}")
