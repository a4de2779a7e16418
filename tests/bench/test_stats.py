from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import floats, lists

from aios_shell.bench.stats import percentile, r_squared, slope

numbers = floats(-1e6, 1e6)


@given(lists(numbers, min_size=1, max_size=50), floats(0, 100))
def test_percentiles_are_those_of_numpy(values: list[float], q: float) -> None:
    assert float(np.percentile(values, q)) == pytest.approx(percentile(values, q), abs=1e-6)


def test_percentiles_of_known_values() -> None:
    values = [15.0, 20.0, 35.0, 40.0, 50.0]
    assert percentile(values, 50) == 35.0
    assert percentile(values, 90) == 46.0
    assert pytest.approx(percentile(values, 99)) == 49.6
    assert percentile([7.0], 99) == 7.0


def test_a_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        percentile([], 50)


def test_r_squared_is_one_on_a_line_and_less_off_it() -> None:
    assert pytest.approx(r_squared([1, 2, 4], [3.0, 5.0, 9.0])) == 1.0
    assert pytest.approx(slope([1, 2, 4], [3.0, 5.0, 9.0])) == (2.0, 1.0)
    assert 0.995 < r_squared([250, 500, 1000, 2000], [30, 62, 118, 240]) < 1
    assert r_squared([250, 500, 1000, 2000], [10, 40, 160, 640]) < 0.99  # quadratic


def test_a_level_line_explains_everything() -> None:
    assert r_squared([1, 2, 3], [5.0, 5.0, 5.0]) == 1.0
