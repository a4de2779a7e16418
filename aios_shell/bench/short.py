"""Eight clients ask one short question each at the same moment, and each reply is 128 tokens long.

The figure is the tokens of all replies over the time from the first request to the last reply. It tells what the
kernel's bookkeeping leaves of the model's speed when every slot is taken and nobody has to wait.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final

from aios_shell.bench import Setting, traced
from aios_shell.bench.measure import Chart, Goal, Measure, Run, Series
from aios_shell.bench.trace import Conversation, Trace, Turn, Writer

NUM_CLIENTS: Final = 8
GOAL: Final = Goal(1.0, "at least")
DEADLINE_S: Final = 120.0


def trace(writer: Writer, quick: bool) -> Trace:
    tokens = 8 if quick else 128
    return Trace(
        tuple(Conversation("short", 0.0, (Turn(writer.story(), tokens),)) for _ in range(NUM_CLIENTS)), DEADLINE_S
    )


def runs(setting: Setting) -> Generator[Run, None, None]:
    return traced.runs(setting, traced.Traced(slots=NUM_CLIENTS, trace=trace, rival=False))


def measures(runs: Sequence[Run]) -> list[Measure]:
    return [
        traced.versus("8 short requests at once", runs, traced.produced_per_s, unit="tok/s", goal=GOAL),
        *traced.failures(runs),
    ]


def charts(runs: Sequence[Run]) -> list[Chart]:
    numbers = tuple(str(number + 1) for number in range(len(runs)))
    series = [Series("ours", numbers, tuple(traced.produced_per_s(run["ours"]) for run in runs))]
    if all(run["peer"] for run in runs):
        series.append(Series(runs[0]["peer_name"], numbers, tuple(traced.produced_per_s(run["peer"]) for run in runs)))
    return [Chart("8 short requests at once", "bars", "run", "tokens/s", tuple(series))]
