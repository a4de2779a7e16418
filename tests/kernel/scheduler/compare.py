"""The policies compared on four loads, with a CPU's costs. `python tests/kernel/scheduler/compare.py` prints the table.

agents: 24 programs of four turns at once over 4 slots, 130 tokens each. big: 320 tokens and longer prompts, with
pauses between turns. huge: 12 of six turns, 1,050 tokens. mixed: six long generations, a short request every 1.5 s.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from statistics import fmean

from simulator import CPU, Simulator, Turn

from aios_kernel.scheduler.policies import POLICIES

SHORT = 100  # pids from here on are of short requests


def agents(world: Simulator, dice: random.Random) -> None:
    for pid in range(1, 25):
        world.program(pid, [Turn(dice.randint(30, 80), dice.randint(20, 45)) for _ in range(4)])


def big(world: Simulator, dice: random.Random) -> None:
    for pid in range(1, 25):
        turns = [Turn(dice.randint(100, 400), dice.randint(40, 120), dice.uniform(0, 0.6)) for _ in range(4)]
        world.program(pid, turns)


def huge(world: Simulator, dice: random.Random) -> None:
    for pid in range(1, 13):
        turns = [Turn(dice.randint(200, 800), dice.randint(100, 250), dice.uniform(0, 0.6)) for _ in range(6)]
        world.program(pid, turns)


def mixed(world: Simulator, dice: random.Random) -> None:
    for pid in range(1, 7):
        world.program(pid, [Turn(dice.randint(50, 400), dice.randint(600, 1200))])
    for pid in range(SHORT, SHORT + 40):
        at = 1 + 1.5 * (pid - SHORT) + dice.random()
        world.program(pid, [Turn(dice.randint(30, 80), dice.randint(10, 30))], at=at)


LOADS = {"agents": agents, "big": big, "huge": huge, "mixed": mixed}


@dataclass(frozen=True, slots=True)
class Outcome:
    completion_s: float  # mean, of programs
    makespan_s: float
    first_token_s: float  # of short requests, the 99th percentile; 0 without any
    swaps: float  # contexts brought in, for 1,000 tokens produced


def play(load: str, policy: str, *, quantum: int = 32, slots: int = 4, seeds: int = 3) -> Outcome:
    completions, makespans, firsts = [], [], []
    swaps = tokens = 0
    for seed in range(seeds):
        world = Simulator(policy, slots=slots, quantum=quantum, costs=CPU)
        LOADS[load](world, random.Random(seed))
        world.drain(100_000)
        completions += [proc.done_at - proc.started_at for proc in world.procs.values()]
        makespans.append(world.now)
        firsts += [call.first_at - call.asked_at for pid, call in world.ended if pid >= SHORT and call.first_at]
        swaps, tokens = swaps + world.swaps, tokens + sum(world.service.values())
    slowest = sorted(firsts)[int(0.99 * len(firsts))] if firsts else 0.0
    return Outcome(fmean(completions), fmean(makespans), slowest, 1000 * swaps / tokens)


def table() -> str:
    """Mean time until a program ends (and until all have), swaps for 1,000 tokens; mixed: also the 99th percentile of
    the time until a short request's first token."""
    rows = ["| policy | agents | big | huge | mixed |", "| --- | --- | --- | --- | --- |"]
    for policy in sorted(POLICIES):
        cells = []
        for load in LOADS:
            one = play(load, policy)
            first = f"first token {one.first_token_s:.1f} s, " if one.first_token_s else ""
            cells.append(f"{one.completion_s:.0f} of {one.makespan_s:.0f} s, {first}{one.swaps:.0f} swaps")
        rows.append(f"| `{policy}` | {' | '.join(cells)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
