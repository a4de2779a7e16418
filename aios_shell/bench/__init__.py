"""What `aios bench` runs. Each benchmark compares with a peer in the same run and gives the ratio first."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from typing import Final

from aios_kernel.errors import BadRequest

# name -> (what it measures, the function that runs it)
BENCHMARKS: Final[dict[str, tuple[str, str]]] = {
    "overhead": ("kernel against the bare core: one chat call, 8 agents, a busy core", "aios_shell.bench.overhead:run"),
}


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure beside its peer's, medians of `runs` taken in turn."""

    name: str
    ratio: float  # ours / peer; for a `difference`, ours - peer
    ours: float
    peer: float
    unit: str
    peer_name: str
    goal: str
    met: bool
    runs: int


Progress = Callable[[str], None]


def compare(
    name: str,
    ours: Iterable[float],
    peers: Iterable[float],
    *,
    unit: str,
    peer_name: str,
    at_least: float | None = None,
    at_most_more: float | None = None,
) -> Measure:
    """Medians against each other: a ratio that should be `at_least`, or a difference that should be `at_most_more`."""
    own, other = list(ours), list(peers)
    mine, theirs = median(own), median(other)
    if at_most_more is not None:
        gap = mine - theirs
        goal = f"at most {at_most_more:g} {unit} more"
        return Measure(name, gap, mine, theirs, unit, peer_name, goal, gap <= at_most_more, len(own))
    assert at_least is not None
    ratio = mine / theirs
    return Measure(name, ratio, mine, theirs, unit, peer_name, f"at least {at_least:g}x", ratio >= at_least, len(own))


def run(name: str, *, runs: int, progress: Progress) -> list[Measure]:
    """Run one benchmark in a kernel of its own. Raises BadRequest for a name there is not."""
    if name not in BENCHMARKS:
        raise BadRequest(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    module, function = BENCHMARKS[name][1].split(":")
    benchmark: Callable[[int, Progress], list[Measure]] = getattr(importlib.import_module(module), function)
    return benchmark(runs, progress)
