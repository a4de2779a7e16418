"""A context switch takes a process's KV state off its slot, checksummed, into memory and puts another's back.

Without that the context would have to be computed again from its tokens. Both are timed for contexts of 256 to 4,096
tokens, by the kernel's own context manager over the real model (`python -m aios_kernel.core.bare --switch`), no other
work around. A row each tells the same with a file in between.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from statistics import median
from typing import Final

from aios_shell.bench import Setting
from aios_shell.bench.measure import Chart, Goal, Measure, Run, Series, measure

SIZES: Final = (256, 512, 1024, 2000, 4096)  # tokens
QUICK_SIZES: Final = (64, 256)
JUDGED: Final = 2000
GOAL: Final = Goal(300, "at least")


def runs(setting: Setting) -> Generator[Run, None, None]:
    setting.begin(setting.runs)
    sizes = QUICK_SIZES if setting.quick else SIZES
    with setting.lab() as here:
        for number in range(setting.runs):
            setting.step(f"run {number + 1}: contexts of {sizes[0]} to {sizes[-1]} tokens")
            yield {"sizes": here.bare("--switch", *map(str, sizes))}


def measures(runs: Sequence[Run]) -> list[Measure]:
    found = []
    for place, size in enumerate(runs[0]["sizes"]):
        rows = [run["sizes"][place] for run in runs]
        for where, key in (("memory", "ram_ms"), ("a file", "disk_ms")):
            found.append(
                measure(
                    f"switch at {size['tokens']} tokens through {where}",
                    [median(row[key]) for row in rows],
                    [row["recompute_ms"] for row in rows],
                    unit="ms",
                    peer_name="recompute",
                    lower_is_better=True,
                    goal=GOAL if size["tokens"] == JUDGED and key == "ram_ms" else None,
                )
            )
    return found


def charts(runs: Sequence[Run]) -> list[Chart]:
    def line(name: str, key: str) -> Series:
        points = [(row["tokens"], median(_list(row[key]))) for run in runs for row in run["sizes"]]
        sizes = sorted({tokens for tokens, _ in points})
        return Series(name, tuple(sizes), tuple(median(y for x, y in points if x == size) for size in sizes))

    lines = (line("recompute", "recompute_ms"), line("through a file", "disk_ms"), line("through memory", "ram_ms"))
    return [Chart("Context switch against recompute", "lines", "tokens in the context", "ms", lines, log_y=True)]


def _list(value: float | list[float]) -> list[float]:
    return value if isinstance(value, list) else [value]
