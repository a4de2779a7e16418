"""The page docs/benchmarks.md, from the JSON of one run of `aios bench`."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aios_shell import render
from aios_shell.bench import BENCHMARKS, Benchmark


def markdown(path: Path, images: str) -> str:
    """A section a benchmark: what it measures, and what it found.

    Args:
        path: the output of `aios bench --json`.
        images: folder of the charts, as the page refers to it.
    """
    outcome = json.loads(path.read_text(encoding="utf-8"))
    lines = [*_where(outcome), *(line for row in BENCHMARKS.values() for line in _section(row, outcome, images))]
    return "\n".join(lines)


def _where(outcome: dict[str, Any]) -> Iterator[str]:
    machine = outcome["machine"]
    models = sorted({model for result in outcome["benchmarks"].values() for model in result["models"]})
    yield (
        f"Measured on {outcome['date']}: {machine['cpu']}, {machine['cores']} cores, "
        f"{render.size(machine['memory_bytes'])} of memory, {machine['os']}, Python {machine['python']}, "
        f"aios-shell {machine['aios_shell']}, llama-cpp-python {machine['llama_cpp_python']}, {', '.join(models)}."
    )
    for peer in outcome["peers"]:
        yield f"Peer: {peer['name']}, {peer['slots'] or 'unknown'} slots, {peer['model']}."
    yield ""


def _section(row: Benchmark, outcome: dict[str, Any], images: str) -> Iterator[str]:
    yield f"## {row.name}"
    yield ""
    yield _explanation(row)
    yield ""
    result = outcome["benchmarks"].get(row.name)
    if result is None:
        return
    for note in [*result["notes"], *([result["error"]] if result["error"] else [])]:
        yield f"Note: {note}."
        yield ""
    yield "| measure | ratio | ours | peer | unit | against | goal | met |"
    yield "| --- | --: | --: | --: | --- | --- | --- | --- |"
    for measure in result["measures"]:
        yield "| " + " | ".join(cells(measure)) + " |"
    yield ""
    if result["charts"]:
        yield f"![{result['charts'][0]['title']}]({images}/bench-{row.name}.svg)"
        yield ""


def _explanation(row: Benchmark) -> str:
    return (importlib.import_module(f"aios_shell.bench.{row.name}").__doc__ or "").strip()


def cells(measure: dict[str, Any]) -> tuple[str, ...]:
    """A measure, as the JSON has it, for a row of a table."""
    ratio = "" if measure["ratio"] is None else f"{figure(measure['ratio'])}x"
    peer = "" if measure["peer"] is None else figure(measure["peer"])
    met = {True: "yes", False: "no", None: "not judged" if measure["goal"] else ""}[measure["met"]]
    head = (measure["name"], ratio, figure(measure["ours"]), peer)
    return (*head, measure["unit"], measure["peer_name"], measure["goal"], met)


def figure(value: float) -> str:
    """Three digits that count, no exponent."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"
