"""One program floods: an agent with 24 children, then an agent with 24 generations at once. Beside it three others,
the victims, ask one question each, over four slots, under the policy `fair`.

Four programs contend, so a victim's fair share is a fourth of the machine: four times what it takes alone. The figure
is the slowest victim's time against that. The policy `rr`, which counts processes and not programs, is measured in
turn, to show what the flood does to whoever is not protected.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final

from aios_shell.bench import Setting
from aios_shell.bench.lab import Lab, rows_of, until
from aios_shell.bench.measure import Chart, Goal, Measure, Run, Series, measure
from aios_shell.bench.trace import Writer

SLOTS: Final = 4
NUM_VICTIMS: Final = 3
NUM_PROGRAMS: Final = NUM_VICTIMS + 1
FLOOD, QUICK_FLOOD = 24, 6
TOKENS: Final = 96
FLOOD_TOKENS: Final = 1500  # each: the flood lasts longer than the victims
UNDER_WAY_S: Final = 60.0
POLICIES: Final = ("fair", "rr")
FLOODS: Final = ("children", "generations")
GOAL: Final = Goal(1.2, "at most")


def runs(setting: Setting) -> Generator[Run, None, None]:
    """Yields {"alone_s", policy: {flood: seconds of each victim}}."""
    tokens, size = (8, QUICK_FLOOD) if setting.quick else (TOKENS, FLOOD)
    floods: dict[str, dict[str, Any]] = {
        "children": {"children": size},
        "generations": {"calls": size, "at_once": True},
    }
    setting.begin(setting.runs * (1 + len(POLICIES) * len(FLOODS)))
    with setting.lab({"model": {"slots": SLOTS}}) as here:
        for number in range(setting.runs):
            writer = Writer(f"fair {number}")
            setting.step(f"run {number + 1}, alone")
            (alone,) = here.probe(prompt=writer.story(), max_tokens=tokens)
            run: Run = {"alone_s": alone["wall_ms"] / 1e3}
            for policy in POLICIES if number % 2 == 0 else POLICIES[::-1]:
                here.client.set_sched(policy)
                run[policy] = {}
                for flood, how in floods.items():
                    setting.step(f"run {number + 1}, policy {policy}, a flood of {flood}")
                    run[policy][flood] = _beside_flood(here, writer, tokens, how)
            yield run


def _beside_flood(here: Lab, writer: Writer, tokens: int, how: dict[str, Any]) -> list[float]:
    """Run the victims while a flood is under way, and end the flood. Returns: what each took, in seconds."""
    flooder = here.start(prompt=writer.story(), max_tokens=FLOOD_TOKENS, **how)
    try:
        num_lines = SLOTS if "children" in how else 1  # a process's generations wait for each other in one line
        until(lambda: len(here.client.queue()) >= num_lines, UNDER_WAY_S, "there is no flood")
        ended = here.probes([{"prompt": writer.story(), "max_tokens": tokens} for _ in range(NUM_VICTIMS)])
        return [row["wall_ms"] / 1e3 for row in rows_of(ended)]
    finally:
        here.kill(flooder)


def measures(runs: Sequence[Run]) -> list[Measure]:
    shares = [run["alone_s"] * NUM_PROGRAMS for run in runs]
    found = []
    for policy in POLICIES:
        for flood in FLOODS:
            found.append(
                measure(
                    f"slowest victim of a flood of {flood}, policy {policy}",
                    [max(run[policy][flood]) for run in runs],
                    shares,
                    unit="s",
                    peer_name="fair share",
                    goal=GOAL if policy == POLICIES[0] else None,
                )
            )
    return found


def charts(runs: Sequence[Run]) -> list[Chart]:
    names = tuple(f"flood of {flood}" for flood in FLOODS)
    rows = {row.name: row.ours for row in measures(runs)}
    series = [
        Series(policy, names, tuple(rows[f"slowest victim of a flood of {f}, policy {policy}"] for f in FLOODS))
        for policy in POLICIES
    ]
    share = measure("", [run["alone_s"] * NUM_PROGRAMS for run in runs], unit="s").ours
    series.append(Series("fair share", names, tuple(share for _ in names)))
    return [Chart("The slowest victim of a flood", "bars", "", "seconds", tuple(series))]
