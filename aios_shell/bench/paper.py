"""The experiment of the AIOS paper (arXiv 2403.16971): Math, Narrating and Rec agents, twelve of them at one moment.

They are run one after the other; all at once with nobody to schedule them, so that their calls of the model are served
singly, in the order they arrive; and all at once under `fifo`, `rr` and the default policy. An agent's waiting time is
from the common start to its own, and whatever its calls spent ready without a slot; its turnaround is from the common
start to its end. Each way has a fresh kernel, so that none finds the prompts of another.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from random import Random
from statistics import mean
from typing import Final

from aios_kernel.protocol import RunRequest
from aios_shell.bench import Setting
from aios_shell.bench.lab import Config, Ended, Lab
from aios_shell.bench.measure import Chart, Goal, Measure, Run, Series, failed, measure
from aios_shell.bench.stats import percentile
from aios_shell.bench.trace import Writer

NUM_EACH: Final = 4  # of the three agents
QUICK_AGENTS: Final = 2  # math and narrate: rec reads 460 tokens
QUICK_TOKENS: Final = 16  # of a story; else as many as the agent wants
SERIAL: Final = "one after the other"
UNSCHEDULED: Final = "unscheduled"
GOAL: Final = Goal(3, "at least")

# Names of ways to run them, and the kernel's configuration for each. Unscheduled: one call at a time, first come,
# first served, which is what agents get that share a model without a scheduler.
WAYS: Final[dict[str, Config]] = {
    SERIAL: {},
    UNSCHEDULED: {"model": {"slots": 1}, "sched": {"policy": "fifo"}},
    "fifo": {"sched": {"policy": "fifo"}},
    "rr": {"sched": {"policy": "rr"}},
    "default": {},
}
WISHES: Final = (
    "a funny film for the family",
    "a thrilling crime film",
    "a fantasy book about a journey",
    "a science fiction book",
    "a romance with a happy end",
    "a history book about war",
    "a drama about friends",
    "an adventure at sea",
)


def tasks(number: int, num_each: int, story_tokens: int | None = None) -> list[RunRequest]:
    """The agents of one run, in the order they arrive; run by run they have other tasks."""
    writer, dice = Writer(f"paper {number}"), Random(f"paper {number}")  # noqa: S311 -- varied, repeatable
    requests = []
    for i in range(num_each):
        first, second = dice.randint(11, 89), dice.randint(11, 89)
        requests += [
            RunRequest("math", f"What is {first} + {second}?"),
            RunRequest("narrate", f"a {writer.thing()} and a {writer.thing()}", max_tokens=story_tokens),
            RunRequest("rec", WISHES[(number * num_each + i) % len(WISHES)]),
        ]
    return requests


def runs(setting: Setting) -> Generator[Run, None, None]:
    """Yields {way: {"policy", "wait_s", "turnaround_s", "failures"}}."""
    num_each, story_tokens = (1, QUICK_TOKENS) if setting.quick else (NUM_EACH, None)
    setting.begin(setting.runs * len(WAYS))
    for number in range(setting.runs):
        run: Run = {}
        for way, config in WAYS.items():
            setting.step(f"run {number + 1}, {way}")
            with setting.lab(config) as here:
                requests = tasks(number, num_each, story_tokens)[: QUICK_AGENTS if setting.quick else None]
                started_at = time.time()
                ended = _execute(here, requests, serial=way == SERIAL)
                run[way] = {
                    "policy": here.client.sched().policy,
                    "wait_s": [e.info.started_at - started_at + e.info.wait_ms / 1e3 for e in ended],
                    "turnaround_s": [(e.info.ended_at or 0.0) - started_at for e in ended],
                    "failures": [e.error for e in ended if e.error],
                }
        yield run


def _execute(here: Lab, requests: Sequence[RunRequest], *, serial: bool) -> list[Ended]:
    if serial:
        return [here.ended(here.client.run(request)) for request in requests]
    pids = [here.client.run(request) for request in requests]
    return [here.ended(pid) for pid in pids]


_FIGURES: Final = (
    ("mean wait", "wait_s", mean),
    ("p90 wait", "wait_s", lambda times: percentile(times, 90)),
    ("mean turnaround", "turnaround_s", mean),
    ("p90 turnaround", "turnaround_s", lambda times: percentile(times, 90)),
)


def measures(runs: Sequence[Run]) -> list[Measure]:
    found = []
    for name, key, figure in _FIGURES:
        for way in WAYS:
            if way != SERIAL:
                found.append(
                    measure(
                        f"{name}, {_label(runs, way)}",
                        [figure(run[way][key]) for run in runs],
                        [figure(run[SERIAL][key]) for run in runs],
                        unit="s",
                        peer_name=SERIAL,
                        lower_is_better=True,
                        goal=GOAL if (way, name) == ("default", "mean wait") else None,
                    )
                )
    return found + failed("agents", [error for run in runs for way in WAYS for error in run[way]["failures"]])


def _label(runs: Sequence[Run], way: str) -> str:
    return f"default ({runs[0][way]['policy']})" if way == "default" else way


def charts(runs: Sequence[Run]) -> list[Chart]:
    labels = tuple(_label(runs, way) for way in WAYS)
    series = tuple(
        Series(name, labels, tuple(measure("", [figure(r[way][key]) for r in runs], unit="").ours for way in WAYS))
        for name, key, figure in _FIGURES
    )
    return [Chart("Math, Narrating and Rec agents, twelve at once", "bars", "", "seconds", series)]
