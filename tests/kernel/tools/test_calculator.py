from __future__ import annotations

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_kernel.errors import ToolFailed
from aios_kernel.tools import calculator


def calculate(expression: str) -> str:
    return calculator.run({"expression": expression})


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("12*7", "84"),
        ("12 × 7 =", "84"),
        ("0.1+0.2", "0.3"),
        ("1/3", "0.333333333333333"),
        ("-7//2", "-4"),
        ("7 % 3", "1"),
        ("2^10", "1024"),
        ("2**-2", "0.25"),
        ("-0.05*3", "-0.15"),
        ("1e3", "1000"),
        ("1_000*2", "2000"),
        ("0x10", "16"),
        ("(1+2)*(3-4)", "-3"),
        ("sqrt(16)", "4"),
        ("sqrt(2.25)", "1.5"),
        ("round(2.5)", "3"),
        ("round(-1234.567, 1)", "-1234.6"),
        ("round(pi, 3)", "3.142"),
        ("max(1, 5/2, 2)", "2.5"),
        ("factorial(20)", "2432902008176640000"),
        ("floor(-1/2)", "-1"),
        ("log10(1000)", "3"),
        ("abs(-3)", "3"),
        ("10**60", "1" + "0" * 60),
    ],
)
def test_values(expression: str, value: str) -> None:
    assert value == calculate(expression)


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("10**100000", "too large"),
        ("99999**9999", "too large"),
        ("2**2**2**2**2**2", "too large"),
        ("factorial(10**6)", "too large"),
        ("1e999999", "infinity"),
        ("exp(10000)", "range"),
        ("1/0", "division by zero"),
        ("5 % 0", "division by zero"),
        ("sqrt(-1)", "negative"),
        ("(-8)**0.5", "not a real number"),
        ("", "not an arithmetic expression"),
        ("two plus two", "not an arithmetic expression"),
        ("__import__('os')", "not arithmetic"),
        ("(1).real", "not arithmetic"),
        ("[1]*9", "not arithmetic"),
        ("'a'*9", "not arithmetic"),
        ("True", "not arithmetic"),
        ("1 if 2 else 3", "not arithmetic"),
        ("sqrt()", "takes 1 argument"),
        ("log(1,2,3)", "takes 1 to 2 arguments"),
        ("1+" * 600 + "1", "longer than"),
        ("(" * 300 + "1" + ")" * 300, "not an arithmetic expression"),
    ],
)
def test_what_is_refused_is_refused_in_one_line(expression: str, why: str) -> None:
    with pytest.raises(ToolFailed) as caught:
        calculate(expression)
    assert why in caught.value.message.lower()
    assert "\n" not in caught.value.message


@given(st.integers(-(10**30), 10**30), st.integers(-(10**30), 10**30))
def test_whole_numbers_are_exact(a: int, b: int) -> None:
    assert str(a + b) == calculate(f"({a}) + ({b})")
    assert str(a * b) == calculate(f"({a}) * ({b})")


@given(st.decimals(-(10**9), 10**9, places=6))
def test_decimals_come_back_as_written(number: object) -> None:
    assert Fraction(str(number)) == Fraction(calculate(f"{number}"))


@given(st.text(alphabet="0123456789+-*/%().e ,sqrtabmx_^", max_size=30))
def test_any_text_is_a_value_or_a_clear_refusal(text: str) -> None:
    with contextlib.suppress(ToolFailed):  # anything else is a bug
        assert calculate(text)
