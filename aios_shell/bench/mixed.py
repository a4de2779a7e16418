"""Three clients send prompts of about 3,000 tokens at once; while those are read in, 16 short questions arrive.

A server that reads a prompt to its end before it looks at anybody else lets the short ones wait for all of that. The
figure that a person feels is the time to first token of the short ones (its 99th percentile); total tokens a second
tell what serving them early costs the rest.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from typing import Final

from aios_shell.bench import Setting, traced
from aios_shell.bench.measure import Chart, Goal, Measure, Run, distribution
from aios_shell.bench.stats import percentile
from aios_shell.bench.trace import Conversation, Trace, Turn, Writer

SLOTS: Final = 8
NUM_LONG: Final = 3
NUM_SHORT: Final = 16
LONG_WORDS: Final = 2700  # about 3,000 tokens
FIRST_S, LAST_S = 0.5, 20.0  # the short ones arrive; the long prompts take two cores over half a minute
GOAL_FIRST: Final = Goal(50, "at least")
GOAL_TOTAL: Final = Goal(0.95, "at least")
DEADLINE_S: Final = 240.0


def trace(writer: Writer, quick: bool) -> Trace:
    words, num_short, last_s, tokens = (150, 3, 1.0, 4) if quick else (LONG_WORDS, NUM_SHORT, LAST_S, 32)
    long = [
        Conversation("long", 0.0, (Turn(f"{writer.prose(words)}\n\nWhat happens in this text?", tokens),))
        for _ in range(NUM_LONG)
    ]
    short = [
        Conversation("short", arrival, (Turn(f"What is a {writer.thing()}?", tokens // 2),))
        for arrival in writer.arrivals(num_short, FIRST_S, last_s)
    ]
    return Trace((*long, *short), DEADLINE_S)


def runs(setting: Setting) -> Generator[Run, None, None]:
    return traced.runs(setting, traced.Traced(slots=SLOTS, trace=trace, rival=True))


def _first_s(q: float, side: traced.Side) -> float:
    return percentile(side["first_s"]["short"], q)


def measures(runs: Sequence[Run]) -> list[Measure]:
    first = partial(traced.versus, runs=runs, unit="s", lower_is_better=True)
    return [
        first("short: p99 time to first token", figure=partial(_first_s, 99), goal=GOAL_FIRST),
        first("short: median time to first token", figure=partial(_first_s, 50)),
        first("long: mean time to the whole reply", figure=partial(traced.average, key="completed_s", group="long")),
        traced.versus("total tokens a second", runs, traced.total_per_s, unit="tok/s", goal=GOAL_TOTAL),
        *traced.failures(runs),
    ]


def charts(runs: Sequence[Run]) -> list[Chart]:
    series = [distribution("ours", traced.pooled(runs, "ours", "first_s", "short"))]
    others = traced.pooled(runs, "peer", "first_s", "short")
    if others:
        series.append(distribution(runs[0]["peer_name"], others))
    title = "Short requests beside long prefills"
    return [Chart(title, "lines", "time to first token, s", "% of requests", tuple(series), log_x=True)]
