from __future__ import annotations

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_kernel.errors import ToolFailed
from aios_kernel.tools.convert import UNITS, run


def convert(value: float, source: str, target: str) -> str:
    return run({"value": value, "from": source, "to": target})


@pytest.mark.parametrize(
    ("value", "source", "target", "result"),
    [
        (1, "mile", "km", "1.609344 km"),
        (0.1, "km", "m", "100 m"),
        (100, "degC", "degF", "212 degF"),
        (-40, "F", "C", "-40 C"),
        (0, "K", "celsius", "-273.15 celsius"),
        (1, "GiB", "MB", "1073.741824 MB"),
        (90, "km/h", "m/s", "25 m/s"),
        (1, "lb", "g", "453.59237 g"),
        (2.5, "nautical mile", "m", "4630 m"),
        (1, "gallon", "l", "3.785411784 l"),
        (3, "KILOGRAMS", "g", "3000 g"),
        (1, "day", "s", "86400 s"),
        (1e300, "km", "m", "1" + "0" * 303 + " m"),
    ],
)
def test_values(value: float, source: str, target: str, result: str) -> None:
    assert convert(value, source, target) == result


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        ("km", "kg", "km is a unit of length, kg of mass"),
        ("killometre", "m", "did you mean kilometre"),
        ("mpa", "Pa", "no unit 'mpa'"),  # mega or milli: it does not guess
        ("x" * 10_000, "m", "no unit"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(source: str, target: str, says: str) -> None:
    with pytest.raises(ToolFailed, match=says) as caught:
        convert(1, source, target)
    assert len(caught.value.message) < 200


@given(st.decimals(-(10**6), 10**6, places=3), st.sampled_from(sorted(UNITS)), st.sampled_from(sorted(UNITS)))
def test_there_and_back_is_where_it_began(value: object, source: str, target: str) -> None:
    if UNITS[source].kind == UNITS[target].kind:
        there = Fraction(convert(float(str(value)), source, target).split()[0])
        back = Fraction(convert(float(there), target, source).split()[0])
        assert abs(back - Fraction(str(value))) <= abs(Fraction(str(value))) / 10**6 + Fraction(1, 10**6)


@given(st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=12), st.text(max_size=12))
def test_any_units_are_a_value_or_a_clear_refusal(value: float, source: str, target: str) -> None:
    with contextlib.suppress(ToolFailed):
        assert convert(value, source, target)
