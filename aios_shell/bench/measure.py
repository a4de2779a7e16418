"""What a benchmark finds out: figures, each beside a peer's and against a goal, and the charts of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

Run = dict[str, Any]  # the raw figures of one complete run, as they stand in the JSON


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on a measure's ratio (x), on ours - peer (more), or on ours alone."""

    bound: float
    sense: Literal["at least", "at most"]
    on: Literal["ratio", "excess", "value"] = "ratio"

    def text(self, unit: str) -> str:
        words = {"ratio": "x", "excess": f" {unit} more", "value": f" {unit}".rstrip()}
        return f"{self.sense} {self.bound:g}{words[self.on]}"

    def met(self, ours: float, peer: float | None, ratio: float | None) -> bool | None:
        """None: there is no peer to judge by."""
        if self.on == "value":
            figure = ours
        elif peer is None or ratio is None:
            return None
        else:
            figure = ratio if self.on == "ratio" else ours - peer
        return figure >= self.bound if self.sense == "at least" else figure <= self.bound


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure: the median of its runs, and the same of the peer where there is one."""

    name: str
    ratio: float | None  # how many times better ours is; where the goal is a bound from above, ours / peer
    ours: float
    peer: float | None
    unit: str
    peer_name: str
    goal: str  # "": none, the figure is there to be looked at
    met: bool | None  # None: no goal, or none that this run could judge
    runs: int


def measure(
    name: str,
    ours: Iterable[float],
    peers: Iterable[float] = (),
    *,
    unit: str,
    peer_name: str = "",
    lower_is_better: bool = False,
    goal: Goal | None = None,
    judged: bool = True,
) -> Measure:
    """Medians against each other. Raises StatisticsError without a figure of ours.

    Args:
        lower_is_better: the ratio is the peer's / ours, instead of ours / the peer's.
        judged: this run can tell whether the goal is met.
    """
    own, others = list(ours), list(peers)
    mine, theirs = median(own), median(others) if others else None
    ratio = None
    if theirs is not None:
        above, below = (theirs, mine) if lower_is_better else (mine, theirs)
        ratio = above / below if below else float("inf")
    text = goal.text(unit) if goal else ""
    met = goal.met(mine, theirs, ratio) if goal and judged else None
    return Measure(name, ratio, mine, theirs, unit, peer_name, text, met, len(own))


def failed(what: str, failures: Sequence[str]) -> list[Measure]:
    """A row that says how many failed, and why the first one did, when any did."""
    if not failures:
        return []
    goal, count = Goal(0, "at most", "value"), [float(len(failures))]
    return [measure(f"{what} that failed", count, unit="", peer_name=f"first: {failures[0]}", goal=goal)]


@dataclass(frozen=True, slots=True)
class Series:
    """One line, cloud or set of bars. `x` are the bars' names in a bar chart, else numbers."""

    name: str
    x: tuple[Any, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture of a benchmark's figures, as data: `plot` draws it."""

    title: str
    kind: Literal["bars", "lines", "points"]
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log_x: bool = False
    log_y: bool = False


def distribution(name: str, values: Iterable[float]) -> Series:
    """The cumulative distribution of `values`: which share of them (%) is at most x."""
    ranked = sorted(values)
    return Series(name, tuple(ranked), tuple(100 * (i + 1) / len(ranked) for i in range(len(ranked))))
