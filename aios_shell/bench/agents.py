"""24 agents share a system prompt and have four turns each, over 4 slots: six agents to a slot.

Each goes on as soon as it is answered, so contexts leave their slots and come back all the time. A server that has to
read a conversation in again when it comes back pays for it at every turn; so does one that reads the system prompt
once for each agent. The figure is the mean time from an agent's first request to its last reply.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from typing import Final

from aios_shell.bench import Setting, traced
from aios_shell.bench.measure import Chart, Goal, Measure, Run, distribution
from aios_shell.bench.stats import percentile
from aios_shell.bench.trace import Conversation, Trace, Turn, Writer

SLOTS: Final = 4
NUM_AGENTS: Final = 24
NUM_TURNS: Final = 4
SYSTEM_WORDS: Final = 600  # about 700 tokens
ARRIVE_WITHIN_S: Final = 2.0
GOAL: Final = Goal(2.5, "at least")
DEADLINE_S: Final = 300.0


def trace(writer: Writer, quick: bool) -> Trace:
    words, num_agents, num_turns, tokens = (40, 6, 2, 4) if quick else (SYSTEM_WORDS, NUM_AGENTS, NUM_TURNS, 32)
    system = f"You are an assistant in this world. {writer.prose(words)} Answer briefly."
    arrivals = writer.arrivals(num_agents, 0.0, ARRIVE_WITHIN_S)
    return Trace(
        tuple(
            Conversation(
                "agent",
                arrival,
                tuple(Turn(f"{writer.sentence()} {writer.sentence()} Why?", tokens) for _ in range(num_turns)),
                system,
            )
            for arrival in arrivals
        ),
        DEADLINE_S,
    )


def runs(setting: Setting) -> Generator[Run, None, None]:
    return traced.runs(setting, traced.Traced(slots=SLOTS, trace=trace, rival=True))


def _cached(side: traced.Side) -> float:
    return 100 * side["tokens_cached"] / side["tokens_in"] if side["tokens_in"] else 0.0


def _p90(side: traced.Side) -> float:
    return percentile(side["completed_s"]["agent"], 90)


def measures(runs: Sequence[Run]) -> list[Measure]:
    mean_s = partial(traced.average, key="completed_s", group="agent")
    done = partial(traced.versus, runs=runs, unit="s", lower_is_better=True)
    return [
        done("four turns: mean time", figure=mean_s, goal=GOAL),
        done("four turns: p90 of the time", figure=_p90),
        traced.versus("tokens produced a second", runs, traced.produced_per_s, unit="tok/s"),
        traced.versus("prompt tokens that needed no feeding", runs, _cached, unit="%"),
        *traced.failures(runs),
    ]


def charts(runs: Sequence[Run]) -> list[Chart]:
    series = [distribution("ours", traced.pooled(runs, "ours", "completed_s", "agent"))]
    others = traced.pooled(runs, "peer", "completed_s", "agent")
    if others:
        series.append(distribution(runs[0]["peer_name"], others))
    title = "24 agents of four turns over 4 slots"
    return [Chart(title, "lines", "time to the last reply, s", "% of agents", tuple(series))]
