"""What the kernel costs over the core that it runs.

One chat call of one token, plain and streamed, as the agent sees it, beside the model's part of that same call. Eight
agents at once, 256 tokens each, beside the same core in a plain batch loop with no kernel around it (`python -m
aios_kernel.core.bare`). And, while those eight run, the part of the engine's steps that it does not spend in llama.cpp.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final

from aios_shell.bench import Setting
from aios_shell.bench.lab import Lab, Row, rows_of
from aios_shell.bench.measure import Chart, Goal, Measure, Run, Series, measure
from aios_shell.bench.trace import Writer

NUM_AGENTS: Final = 8
TOKENS: Final = 256
NUM_CALLS: Final = 20
GOAL_CALL: Final = Goal(5, "at most", "excess")  # ms
GOAL_EIGHT: Final = Goal(0.95, "at least")
GOAL_OUTSIDE: Final = Goal(3, "at most", "value")  # % of step time


def runs(setting: Setting) -> Generator[Run, None, None]:
    """Yields {"plain", "streamed": {"wall_ms", "core_ms"}, "eight": {"ours", "bare", "outside"}}."""
    tokens, num_calls = (16, 3) if setting.quick else (TOKENS, NUM_CALLS)
    setting.begin(setting.runs * 3)
    with setting.lab({"model": {"slots": NUM_AGENTS}}) as here:
        for number in range(setting.runs):
            setting.step(f"run {number + 1}: chat calls of one token")
            story = Writer(f"overhead {number}").story()
            run: Run = {
                name: _calls(here.probe(prompt=story, calls=num_calls + 1, max_tokens=1, stream=stream)[1:])
                for name, stream in (("plain", False), ("streamed", True))
            }
            writer = Writer(f"overhead {number} eight")
            setting.step(f"run {number + 1}: {NUM_AGENTS} agents at once")
            run["eight"], rows = _eight(here, [writer.story() for _ in range(NUM_AGENTS)], tokens)
            setting.step(f"run {number + 1}: the bare core")
            run["eight"]["bare"] = _bare(here, rows)
            yield run


def _calls(rows: Sequence[Row]) -> dict[str, list[float]]:
    return {
        "wall_ms": [row["wall_ms"] for row in rows],
        "core_ms": [row["prefill_ms"] + row["decode_ms"] for row in rows],
    }


def _eight(here: Lab, prompts: Sequence[str], tokens: int) -> tuple[dict[str, float], list[Row]]:
    before = here.client.status()
    rows = rows_of(here.probes([{"prompt": prompt, "max_tokens": tokens} for prompt in prompts]))
    after = here.client.status()
    steps_s = after.engine_s - before.engine_s
    span_s = max(row["ended_at"] for row in rows) - min(row["started_at"] for row in rows)
    figures = {
        "ours": sum(row["tokens_out"] for row in rows) / span_s,
        "outside": 100 * (steps_s - (after.core_s - before.core_s)) / steps_s,
    }
    return figures, rows


def _bare(here: Lab, rows: Sequence[Row]) -> float:
    """The bare loop over as many tokens as `rows` fed and produced: tokens a second."""
    prompt = sum(row["tokens_in"] - row["tokens_cached"] for row in rows) // len(rows)
    tokens = sum(row["tokens_out"] for row in rows) // len(rows)
    words = ("--sequences", len(rows), "--prompt-tokens", prompt, "--tokens", tokens)
    return float(here.bare(*map(str, words))["tok_per_s"])


def measures(runs: Sequence[Run]) -> list[Measure]:
    found = [
        measure(
            f"a chat call of one token, {name}",
            [ms for run in runs for ms in run[name]["wall_ms"]],
            [ms for run in runs for ms in run[name]["core_ms"]],
            unit="ms",
            peer_name="its core calls",
            lower_is_better=True,
            goal=GOAL_CALL,
        )
        for name in ("plain", "streamed")
    ]
    ours, bare = ([run["eight"][side] for run in runs] for side in ("ours", "bare"))
    outside = [run["eight"]["outside"] for run in runs]
    return [
        *found,
        measure("8 agents at once", ours, bare, unit="tok/s", peer_name="bare batch loop", goal=GOAL_EIGHT),
        measure("step time outside llama.cpp, 8 sequences", outside, unit="%", goal=GOAL_OUTSIDE),
    ]


def charts(runs: Sequence[Run]) -> list[Chart]:
    numbers = tuple(str(number + 1) for number in range(len(runs)))
    series = tuple(
        Series(name, numbers, tuple(run["eight"][key] for run in runs))
        for name, key in (("8 agents in the kernel", "ours"), ("bare batch loop", "bare"))
    )
    return [Chart("Kernel against the bare core", "bars", "run", "tokens/s", series)]
