"""The calculator tool: arithmetic, exact as far as numbers allow, bounded in size, and nothing but arithmetic.

Numbers are Fractions for as long as every step is exact (so 0.1 + 0.2 is 0.3); roots and other transcendental functions
give floats.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final

from aios_kernel.errors import ToolFailed
from aios_kernel.protocol import ToolSpec

SPEC: Final = ToolSpec(
    "calculator",
    "Compute an arithmetic expression exactly.",
    {
        "type": "object",
        "properties": {"expression": {"type": "string", "description": "for example 12*7 or sqrt(2)*(3-1)"}},
        "required": ["expression"],
        "additionalProperties": False,
    },
)

Number = Fraction | float

MAX_CHARS: Final = 1_000
MAX_BITS: Final = 16_384  # of any numerator or denominator: some 5,000 digits
SHOWN_DIGITS: Final = 15  # of a number that has no finite decimal form; floats carry no more

_NAMES: Final[dict[str, Number]] = {"pi": math.pi, "e": math.e, "tau": math.tau}
# What people and models write instead of the operators.
_SPELLINGS: Final = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "^": "**"})


def run(arguments: dict[str, Any]) -> str:
    """The value of `expression` as text. Raises ToolFailed with one line that says what is wrong."""
    expression = str(arguments["expression"])
    try:
        return show(evaluate(expression))
    except ToolFailed:
        raise
    except ZeroDivisionError as error:
        raise _failed(expression, "division by zero") from error
    except (ArithmeticError, ValueError) as error:
        raise _failed(expression, str(error)) from error
    except RecursionError as error:
        raise _failed(expression, "too deeply nested") from error


def evaluate(expression: str) -> Number:
    """Value of an arithmetic expression.

    Raises:
        ToolFailed: it is not arithmetic, or too large.
        ArithmeticError, ValueError: it has no value.
    """
    if len(expression) > MAX_CHARS:
        raise _failed(expression[:40] + "…", f"longer than {MAX_CHARS} characters")
    source = expression.translate(_SPELLINGS).strip().removesuffix("=").rstrip()
    try:
        tree = ast.parse(source, mode="eval")
    except (SyntaxError, ValueError, MemoryError) as error:
        raise _failed(expression, "not an arithmetic expression") from error
    return _Evaluator(expression, source).value(tree.body)


def show(number: Number) -> str:
    """Whole numbers and finite decimals exactly, anything else to 15 digits."""
    if isinstance(number, float):
        if not math.isfinite(number):
            raise ValueError("the result is not a finite number")
        return _trim(f"{number:.{SHOWN_DIGITS}g}")
    if number.denominator == 1:
        return _digits(number.numerator)
    places = _decimal_places(number.denominator)
    if places is None or places > 50:
        return _trim(f"{float(number):.{SHOWN_DIGITS}g}")
    scaled = _digits(abs(number.numerator) * 10**places // number.denominator).rjust(places + 1, "0")
    return ("-" if number < 0 else "") + _trim(f"{scaled[:-places]}.{scaled[-places:]}")


class _Evaluator:
    def __init__(self, expression: str, source: str) -> None:
        self._expression = expression
        self._source = source

    def value(self, node: ast.expr) -> Number:
        match node:
            case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
                return self._literal(node)
            case ast.Name(id=name) if name.lower() in _NAMES:
                return _NAMES[name.lower()]
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op, operand=operand):
                inner = self.value(operand)
                return -inner if isinstance(op, ast.USub) else inner
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return self._bounded(_OPERATORS[type(op)](self.value(left), self.value(right)))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name.lower() in _FUNCTIONS:
                return self._call(name.lower(), [self.value(arg) for arg in args])
        raise _failed(self._expression, f"{self._segment(node)!r} is not arithmetic")

    def _literal(self, node: ast.Constant) -> Number:
        text = self._segment(node).replace("_", "")
        mantissa, _, exponent = text.lower().partition("e")
        if text.isdigit() or (mantissa.replace(".", "", 1).isdigit() and len(exponent) <= 4):
            return self._bounded(Fraction(text))  # the decimal as written, not its nearest float
        assert isinstance(node.value, int | float)
        return self._bounded(Fraction(node.value))  # 0x10 and the like

    def _call(self, name: str, args: list[Number]) -> Number:
        function, low, high = _FUNCTIONS[name]
        if not low <= len(args) <= high:
            count = str(low) if low == high else f"{low} to {high}"
            raise _failed(self._expression, f"{name} takes {count} argument{'' if count == '1' else 's'}")
        return self._bounded(function(*args))

    def _bounded(self, number: Number) -> Number:
        if isinstance(number, Fraction) and max(abs(number.numerator), number.denominator).bit_length() > MAX_BITS:
            raise _failed(self._expression, "the result is too large")
        return number

    def _segment(self, node: ast.expr) -> str:
        return ast.get_source_segment(self._source, node) or "?"


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        bits = max(abs(base.numerator), base.denominator).bit_length() - 1  # a power of 1 or 0 stays small
        if abs(exponent) * bits > MAX_BITS:
            raise ValueError("the result is too large")
        return base**exponent.numerator
    result: float | complex = float(base) ** float(exponent)
    if isinstance(result, complex):
        raise ValueError("the result is not a real number")
    return result


def _sqrt(number: Number) -> Number:
    if number < 0:
        raise ValueError("square root of a negative number")
    if isinstance(number, Fraction):
        top, bottom = math.isqrt(number.numerator), math.isqrt(number.denominator)
        if (top * top, bottom * bottom) == (number.numerator, number.denominator):
            return Fraction(top, bottom)
    return math.sqrt(number)


def _factorial(number: Number) -> Number:
    if number < 0 or number != int(number):
        raise ValueError("factorial of a number that is not whole")
    if number > 1_000:
        raise ValueError("the result is too large")
    return Fraction(math.factorial(int(number)))


def _round(number: Number, digits: Number = Fraction(0)) -> Number:
    """Half away from zero, as people are taught."""
    if not -50 <= digits <= 50:
        raise ValueError("round takes -50 to 50 digits")
    scale = Fraction(10) ** int(digits)
    scaled = abs(Fraction(number)) * scale
    return Fraction(math.floor(scaled + Fraction(1, 2)), 1) / scale * (-1 if number < 0 else 1)


def _whole(function: Callable[[Number], int]) -> Callable[[Number], Number]:
    return lambda number: Fraction(function(number))


def _real(function: Callable[..., float]) -> Callable[..., Number]:
    return lambda *numbers: function(*map(float, numbers))


_OPERATORS: Final[dict[type[ast.operator], Callable[[Any, Any], Number]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda a, b: Fraction(a // b),
    ast.Mod: operator.mod,
    ast.Pow: _power,
}

# name -> (function, least and most arguments)
_FUNCTIONS: Final[dict[str, tuple[Callable[..., Number], int, int]]] = {
    "sqrt": (_sqrt, 1, 1),
    "abs": (abs, 1, 1),
    "round": (_round, 1, 2),
    "floor": (_whole(math.floor), 1, 1),
    "ceil": (_whole(math.ceil), 1, 1),
    "factorial": (_factorial, 1, 1),
    "min": (min, 1, 100),
    "max": (max, 1, 100),
    "sum": (lambda *numbers: sum(numbers, Fraction(0)), 1, 100),
    "pow": (_power, 2, 2),
    "exp": (_real(math.exp), 1, 1),
    "log": (_real(math.log), 1, 2),
    "ln": (_real(math.log), 1, 1),
    "log2": (_real(math.log2), 1, 1),
    "log10": (_real(math.log10), 1, 1),
    "sin": (_real(math.sin), 1, 1),
    "cos": (_real(math.cos), 1, 1),
    "tan": (_real(math.tan), 1, 1),
    "asin": (_real(math.asin), 1, 1),
    "acos": (_real(math.acos), 1, 1),
    "atan": (_real(math.atan), 1, 1),
}


def _decimal_places(denominator: int) -> int | None:
    """Digits after the point that 1/denominator needs; None: its decimals never end."""
    twos = (denominator & -denominator).bit_length() - 1
    rest, fives = denominator >> twos, 0
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    return max(twos, fives) if rest == 1 else None


def _digits(number: int) -> str:
    """str() of a whole number of any size: Python refuses beyond 4,300 digits, our own bound is a little higher."""
    if number < 0:
        return "-" + _digits(-number)
    half = 10**4_000
    return str(number) if number < half else _digits(number // half) + str(number % half).rjust(4_000, "0")


def _trim(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def _failed(expression: str, why: str) -> ToolFailed:
    return ToolFailed(f"calculator: {expression}: {why}", expression=expression)
