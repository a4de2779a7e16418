"""Eight agents ask one question each. What the model answers must not depend on how the kernel came to the answer.

The reference is each agent alone in the kernel, with nothing computed before. It is compared with eight at once;
preempted after every token and after every five (over two slots); moved to disk each time; suspended and resumed by a
person; and begun on a prefix that another had computed. Equal means the same text and the same hash over every row of
logits that a token was chosen from. A way of running them counts only when what it is named for did happen.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from aios_kernel.errors import KernelError
from aios_kernel.protocol import Signal, Tier
from aios_shell.bench import Setting
from aios_shell.bench.lab import Config, Ended, Lab, Row, until
from aios_shell.bench.measure import Chart, Goal, Measure, Run, Series, failed, measure
from aios_shell.bench.trace import Writer

NUM_AGENTS: Final = 8
TOKENS: Final = 48
SYSTEM_WORDS: Final = 100  # several pieces of prefill, so that there is a prefix to share
NUM_STOPS: Final = 3  # of each agent that is suspended and resumed
TOKENS_S: Final = 120.0
GOAL: Final = Goal(100, "at least", "value")

# An agent's answer: its text, and its logits' hash.
Answer = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Way:
    """A way to run the agents. `act` runs them, and tells how often what the way is named for has happened."""

    name: str
    config: Config
    act: Callable[[Lab, list[Row]], tuple[list[Ended], int]]


def _alone(here: Lab, tasks: list[Row]) -> tuple[list[Ended], int]:
    """Counts those that computed everything themselves."""
    ended = [here.ended(here.start(**task)) for task in tasks]
    return ended, sum(row["tokens_cached"] == 0 for each in ended for row in each.rows)


def _at_once(here: Lab, tasks: list[Row]) -> tuple[list[Ended], int]:
    """Counts those that ran while another did."""
    ended = here.probes(tasks)
    rows = [row for each in ended for row in each.rows]
    return ended, sum(row["started_at"] < min(other["ended_at"] for other in rows) for row in rows)


def _preempted(here: Lab, tasks: list[Row]) -> tuple[list[Ended], int]:
    """Counts those that had to wait for a slot."""
    ended = here.probes(tasks)
    return ended, sum(row["wait_ms"] > 0 for each in ended for row in each.rows)


def _through_disk(here: Lab, tasks: list[Row]) -> tuple[list[Ended], int]:
    """Counts those whose context was seen in a file."""
    pids, seen = [here.start(**task) for task in tasks], set[int]()
    ended = here.watched(pids, lambda: seen.update(s.pid for s in here.client.snapshots() if s.tier is Tier.DISK))
    return ended, len(seen)


def _suspended(here: Lab, tasks: list[Row]) -> tuple[list[Ended], int]:
    """Counts the suspensions that moved a context off its slot."""
    pids, num_moved = [here.start(**task) for task in tasks], 0
    for stop in range(1, NUM_STOPS + 1):
        for pid, task in zip(pids, tasks, strict=True):
            _await_tokens(here, pid, stop * task["max_tokens"] // (NUM_STOPS + 1))
            with suppress(KernelError):  # it has ended
                num_moved += here.client.signal(pid, Signal.STOP).kv_bytes > 0
        for pid in pids:
            with suppress(KernelError):
                here.client.signal(pid, Signal.CONT)
    return [here.ended(pid) for pid in pids], num_moved


def _await_tokens(here: Lab, pid: int, tokens: int) -> None:
    """Return once an agent has produced so many, or has ended."""

    def there() -> bool:
        info = here.client.proc(pid)
        return info.tokens_out >= tokens or info.exit_code is not None

    until(there, TOKENS_S, f"agent {pid} has not produced {tokens} tokens")


def _on_a_prefix(here: Lab, tasks: list[Row]) -> tuple[list[Ended], int]:
    """Counts those that needed to feed less than their prompt. The first one leaves the prefix behind."""
    here.probe(**{**tasks[0], "prompt": "Hello."})
    ended = [here.ended(here.start(**task)) for task in tasks]
    return ended, sum(row["tokens_cached"] > 0 for each in ended for row in each.rows)


def _crowded(quantum: int, **context: int) -> Config:
    """Two slots for eight, in turns of so many tokens."""
    return {"model": {"slots": 2}, "sched": {"policy": "rr", "quantum": quantum}, "context": context}


REFERENCE: Final = Way("alone", {"context": {"prefix_bytes": 0}}, _alone)
WAYS: Final = (
    Way("all at once", {"model": {"slots": NUM_AGENTS}}, _at_once),
    Way("preempted after every token", _crowded(1), _preempted),
    Way("preempted after every 5 tokens", _crowded(5), _preempted),
    Way("moved through disk", _crowded(4, ram_bytes=0), _through_disk),
    Way("suspended and resumed", {"model": {"slots": NUM_AGENTS}}, _suspended),
    Way("begun on another's prefix", {}, _on_a_prefix),
)


def runs(setting: Setting) -> Generator[Run, None, None]:
    """Yields one way after the other: {"way", "agents", "same", "happened", "failures"}."""
    setting.begin(setting.runs * (1 + len(WAYS)))
    for number in range(setting.runs):
        writer = Writer(f"consistency {number}")
        fixed = {"system": writer.prose(SYSTEM_WORDS), "logits_hash": True, "stream": False}
        num_agents, tokens = (3, 12) if setting.quick else (NUM_AGENTS, TOKENS)
        tasks = [{**fixed, "prompt": writer.story(), "max_tokens": tokens} for _ in range(num_agents)]
        expected: list[Answer | None] = []
        for way in (REFERENCE, *WAYS):
            setting.step(way.name)
            with setting.lab(way.config) as here:
                ended, happened = way.act(here, tasks)
            answers = [_answer(each) for each in ended]
            expected = expected or answers
            yield {
                "way": way.name,
                "agents": len(tasks),
                "same": sum(a is not None and a == b for a, b in zip(answers, expected, strict=True)),
                "happened": happened,
                "failures": [each.error for each in ended if each.error],
            }


def _answer(ended: Ended) -> Answer | None:
    """None: it failed, or gave no hash."""
    rows = ended.rows
    return (rows[0]["text"], rows[0]["logits_hash"]) if rows and rows[0]["logits_hash"] else None


def measures(runs: Sequence[Run]) -> list[Measure]:
    found = []
    for way in WAYS:
        shares = [
            100 * run["same"] / run["agents"] if run["happened"] else 0.0 for run in runs if run["way"] == way.name
        ]
        if shares:
            found.append(measure(f"equal when {way.name}", [min(shares)], unit="%", goal=GOAL))
    return found + failed("agents", [error for run in runs for error in run["failures"]])


def charts(runs: Sequence[Run]) -> list[Chart]:
    rows = measures(runs)
    names = tuple(row.name.removeprefix("equal when ") for row in rows)
    bars = Series("equal text and logits", names, tuple(row.ours for row in rows))
    return [Chart("Answers that equal those of the agent alone", "bars", "", "% of agents", (bars,))]
