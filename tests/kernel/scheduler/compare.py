"""The policies compared on three loads, with a CPU's costs. `python tests/kernel/scheduler/compare.py` prints the table.

agents: 24 programs of four turns at once over 4 slots. big: the same with three times as much to do, and pauses.
mixed: six long generations, and a short request every 1.5 s.
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


def mixed(world: Simulator, dice: random.Random) -> None:
    for pid in range(1, 7):
        world.program(pid, [Turn(dice.randint(50, 400), dice.randint(600, 1200))])
    for pid in range(SHORT, SHORT + 40):
        at = 1 + 1.5 * (pid - SHORT) + dice.random()
        world.program(pid, [Turn(dice.randint(30, 80), dice.randint(10, 30))], at=at)


LOADS = {"agents": agents, "big": big, "mixed": mixed}


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
    rows = ["| policy | agents: mean of makespan, swaps | big: the same | mixed: mean, first token p99, swaps |"]
    rows.append("| --- | --- | --- | --- |")
    for policy in sorted(POLICIES):
        a, b, m = (play(load, policy) for load in LOADS)
        rows.append(
            f"| `{policy}` | {a.completion_s:.1f} of {a.makespan_s:.0f} s, {a.swaps:.0f} "
            f"| {b.completion_s:.0f} of {b.makespan_s:.0f} s, {b.swaps:.0f} "
            f"| {m.completion_s:.1f} s, {m.first_token_s:.1f} s, {m.swaps:.0f} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
