from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from aios_shell.bench.machine import describe
from aios_shell.bench.measure import Chart, Goal, Series, measure
from aios_shell.bench.plot import save
from aios_shell.bench.report import cells, figure, markdown

BARS = Chart("Bars", "bars", "", "s", (Series("ours", ("a", "b"), (1.0, 2.0)), Series("peer", ("a", "b"), (2.0, 3.0))))
LINES = Chart("Lines", "lines", "x", "y", (Series("ours", (1, 10, 100), (1.0, 2.0, 3.0)),), log_x=True, log_y=True)


def outcome(**changes: Any) -> dict[str, Any]:
    measures = [
        measure("first", [0.02], [1.0], unit="s", peer_name="peer", lower_is_better=True, goal=Goal(50, "at least")),
        measure("rate", [1234.0], unit="tok/s"),
    ]
    result = {
        "measures": measures,
        "charts": [LINES],
        "notes": ["the peer has 8 slots"],
        "models": ["tiny.gguf"],
        "error": "",
        "seconds": 1.0,
        "runs": [],
        **changes,
    }
    peers = [{"name": "llama.cpp", "url": "http://x/v1", "model": "tiny.gguf", "slots": 8}]
    return msgspec.to_builtins(
        {
            "date": "2026-01-31",
            "quick": False,
            "machine": describe(),
            "peers": peers,
            "benchmarks": {"mixed": result},
        }
    )


def page(tmp_path: Path, found: dict[str, Any]) -> str:
    path = tmp_path / "figures.json"
    path.write_text(json.dumps(found))
    return markdown(path, "images")


def test_the_page_names_machine_and_peer_and_explains_each_benchmark(tmp_path: Path) -> None:
    text = page(tmp_path, outcome())
    assert "Measured on 2026-01-31: " in text
    assert "tiny.gguf" in text
    assert "Peer: llama.cpp, 8 slots, tiny.gguf." in text
    assert "Three clients send prompts of about 3,000 tokens" in text
    assert "| first | 50x | 0.02 | 1 | s | peer | at least 50x | yes |" in text
    assert "Note: the peer has 8 slots." in text
    assert "![Lines](images/bench-mixed.svg)" in text
    assert "## scale" in text


def test_a_benchmark_that_failed_says_so_on_the_page(tmp_path: Path) -> None:
    assert "Note: the kernel died." in page(tmp_path, outcome(error="the kernel died", measures=[], charts=[]))


def test_a_measure_without_peer_or_goal_leaves_its_cells_empty() -> None:
    row = msgspec.to_builtins(measure("rate", [1234.0], unit="tok/s"))
    assert cells(row) == ("rate", "", "1,234", "", "tok/s", "", "", "")
    row = msgspec.to_builtins(measure("rate", [2.0], [1.0], unit="", goal=Goal(1, "at least"), judged=False))
    assert cells(row)[-1] == "not judged"


def test_figures_have_three_digits_that_count() -> None:
    assert [figure(value) for value in (0.012345, 1.2345, 12.345, 123.45, 12345.6, 2000.0, 0.0)] == [
        "0.0123",
        "1.23",
        "12.3",
        "123",
        "12,346",
        "2,000",
        "0",
    ]


def test_charts_are_drawn_and_the_same_figures_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        save([BARS, LINES], tmp_path / name)
    first, second = ((tmp_path / name).read_text() for name in ("a.svg", "b.svg"))
    assert first == second
    assert "Bars" in first
    assert "Lines" in first
