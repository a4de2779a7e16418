"""bench: run benchmarks, each in a kernel of its own."""

from __future__ import annotations

from functools import partial
from typing import Any

from aios_shell import bench as benchmarks
from aios_shell import render
from aios_shell.io import Io


def bench(io: Io, names: list[str], runs: int, json: bool) -> int:
    """Exit code 1 when a goal is missed: the figures are printed all the same."""
    wanted = names or list(benchmarks.BENCHMARKS)
    found: dict[str, list[benchmarks.Measure]] = {}
    for name in wanted:
        found[name] = benchmarks.run(name, runs=runs, progress=partial(_tell, io, name))
    if json:
        render.json(io, found)
    else:
        rows = [_row(name, measure) for name, measures in found.items() for measure in measures]
        columns = ("BENCH", "MEASURE", "RATIO", "OURS", "PEER", "UNIT", "GOAL", "MET", "AGAINST")
        render.table(io, columns, rows, right=frozenset({"RATIO", "OURS", "PEER"}))
    return 0 if all(measure.met for measures in found.values() for measure in measures) else 1


def _tell(io: Io, name: str, what: str) -> None:
    io.note(f"bench {name}: {what}")


def _row(name: str, measure: benchmarks.Measure) -> tuple[Any, ...]:
    figures = [f"{value:.3g}" for value in (measure.ratio, measure.ours, measure.peer)]
    return (name, measure.name, *figures, measure.unit, measure.goal, "yes" if measure.met else "no", measure.peer_name)
