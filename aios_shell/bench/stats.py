"""The few statistics that the benchmarks report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import linear_regression, mean


def percentile(values: Iterable[float], q: float) -> float:
    """The q-th percentile (0 to 100), interpolated between neighbours: Hyndman and Fan's type 7, numpy's default.

    Raises ValueError without values.
    """
    ranked = sorted(values)
    if not ranked:
        raise ValueError("a percentile needs at least one value")
    place = (len(ranked) - 1) * q / 100
    low, high = ranked[math.floor(place)], ranked[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))


def slope(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """Slope and intercept of the least-squares line. Raises StatisticsError for fewer than two different xs."""
    line = linear_regression(xs, ys)
    return line.slope, line.intercept


def r_squared(xs: Sequence[float], ys: Sequence[float]) -> float:
    """The share of the variance of `ys` that the least-squares line over `xs` explains: 1 when they lie on it."""
    factor, offset = slope(xs, ys)
    middle = mean(ys)
    total = sum((y - middle) ** 2 for y in ys)
    rest = sum((y - factor * x - offset) ** 2 for x, y in zip(xs, ys, strict=True))
    return 1.0 - rest / total if total else 1.0
