"""What the kernel costs over the core it runs: per chat call, with 8 agents at once, and beside a busy program."""

from __future__ import annotations

from aios_shell.bench import Measure, Progress, compare
from aios_shell.bench.lab import Lab, Row, busy_neighbour, lab

NUM_AGENTS = 8
TOKENS = 256
STORY = "Write a long story about a {} and a lighthouse."
HEROES = ["fox", "robot", "pilot", "nurse", "queen", "miner", "baker", "sailor"]


def run(runs: int, progress: Progress) -> list[Measure]:
    """A B A B, medians of `runs`. About half a minute a run on two cores."""
    with lab(f"[model]\nslots = {NUM_AGENTS}\nwindow = 2048\n") as here:
        measures = []
        for name, stream in (("one chat call of one token", False), ("the same, streamed", True)):
            progress(name)
            calls = here.probe(prompt=STORY.format("fox"), calls=max(20, runs), max_tokens=1, stream=stream)[1:]
            measures.append(
                compare(
                    name,
                    [row["wall_ms"] for row in calls],
                    [row["prefill_ms"] + row["decode_ms"] for row in calls],
                    unit="ms",
                    peer_name="core calls of the same request",
                    at_most_more=5,
                )
            )
        progress(f"{NUM_AGENTS} agents at once")
        ours, bare = [], []
        for _ in range(runs):
            rows = eight(here)
            ours.append(tokens_per_s(rows))
            bare.append(loop(here, rows, sequences=NUM_AGENTS))
        measures.append(
            compare(
                f"{NUM_AGENTS} agents at once", ours, bare, unit="tok/s", peer_name="bare batch loop", at_least=0.95
            )
        )
        progress("beside a busy program")
        ours, bare = [], []
        for _ in range(runs):
            with busy_neighbour():
                here.probe(prompt=STORY.format("fox"), max_tokens=TOKENS)  # the governor has seen the neighbour
                rows = here.probe(prompt=STORY.format("robot"), max_tokens=TOKENS)
            ours.append(tokens_per_s(rows))
            bare.append(loop(here, rows, sequences=1, threads=1))
        measures.append(
            compare(
                "beside a busy program",
                ours,
                bare,
                unit="tok/s",
                peer_name="bare loop, one thread, nothing beside it",
                at_least=0.8,
            )
        )
    return measures


def eight(here: Lab) -> list[Row]:
    tasks = [{"prompt": STORY.format(hero), "max_tokens": TOKENS} for hero in HEROES]
    return [row for rows in here.probes(tasks) for row in rows]


def tokens_per_s(rows: list[Row]) -> float:
    """Tokens of all calls over the time from the first call's start to the last one's end."""
    span = max(row["ended_at"] for row in rows) - min(row["started_at"] for row in rows)
    return float(sum(row["tokens_out"] for row in rows) / span)


def loop(here: Lab, rows: list[Row], **options: int) -> float:
    """The bare loop over as many tokens as `rows` had: tokens a second."""
    prompt = max(row["tokens_in"] for row in rows)
    tokens = sum(row["tokens_out"] for row in rows) // len(rows)
    return float(here.bare(prompt_tokens=prompt, tokens=tokens, **options)["tok_per_s"])
