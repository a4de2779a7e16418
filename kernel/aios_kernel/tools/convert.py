"""The convert tool: a quantity in another unit, exact where the units are defined exactly.

Factors are those of the International System of Units (BIPM, SI Brochure, 9th edition) and of NIST SP 811, appendix B.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from aios_kernel.errors import ToolFailed
from aios_kernel.protocol import ToolSpec
from aios_kernel.tools import calculator

SPEC: Final = ToolSpec(
    "convert",
    "Convert a quantity between units of length, mass, time, temperature, area, volume, speed, energy, data and more.",
    {
        "type": "object",
        "properties": {
            "value": {"type": "number"},
            "from": {"type": "string", "description": "unit, for example km, mile, kg, degF, km/h, GiB"},
            "to": {"type": "string", "description": "unit of the same kind"},
        },
        "required": ["value", "from", "to"],
        "additionalProperties": False,
    },
)


@dataclass(frozen=True, slots=True)
class Unit:
    """value in the kind's base unit = value * factor + offset."""

    kind: str
    factor: Fraction
    offset: Fraction = Fraction(0)


# kind -> names of a unit, the usual one first -> its size in the kind's base unit, as an expression of Fractions
_TABLE: Final[dict[str, dict[str, str]]] = {
    "length": {
        "m metre meter metres meters": "1",
        "km kilometre kilometer kilometres kilometers": "1000",
        "cm centimetre centimeter centimetres centimeters": "1/100",
        "mm millimetre millimeter millimetres millimeters": "1/1000",
        "um µm micrometre micrometer microns micron": "1/1000000",
        "nm nanometre nanometer nanometres nanometers": "1/1000000000",
        "in inch inches": "0.0254",
        "ft foot feet": "0.3048",
        "yd yard yards": "0.9144",
        "mi mile miles": "1609.344",
        "nmi nautical_mile nautical_miles": "1852",
        "au astronomical_unit": "149597870700",
        "ly light_year light_years": "9460730472580800",
    },
    "mass": {
        "kg kilogram kilograms": "1",
        "g gram grams": "1/1000",
        "mg milligram milligrams": "1/1000000",
        "t tonne tonnes metric_ton metric_tons": "1000",
        "lb lbs pound pounds": "0.45359237",
        "oz ounce ounces": "0.028349523125",
        "st stone": "6.35029318",
        "short_ton ton tons": "907.18474",
        "long_ton": "1016.0469088",
    },
    "time": {
        "s sec second seconds": "1",
        "ms millisecond milliseconds": "1/1000",
        "us µs microsecond microseconds": "1/1000000",
        "min minute minutes": "60",
        "h hr hour hours": "3600",
        "d day days": "86400",
        "week weeks wk": "604800",
        "month months": "2629746",
        "yr year years a": "31556952",
    },
    "area": {
        "m2 m² sqm square_metre square_meter square_metres square_meters": "1",
        "km2 km² square_kilometre square_kilometer": "1000000",
        "cm2 cm²": "1/10000",
        "ha hectare hectares": "10000",
        "acre acres": "4046.8564224",
        "ft2 ft² sqft square_foot square_feet": "0.09290304",
        "in2 in² square_inch": "0.00064516",
        "mi2 mi² square_mile square_miles": "2589988.110336",
    },
    "volume": {
        "l L litre liter litres liters": "1",
        "ml mL millilitre milliliter millilitres milliliters": "1/1000",
        "cl centilitre centiliter": "1/100",
        "m3 m³ cubic_metre cubic_meter cubic_metres cubic_meters": "1000",
        "cm3 cm³ cc": "1/1000",
        "gal gallon gallons": "3.785411784",
        "qt quart quarts": "0.946352946",
        "pt pint pints": "0.473176473",
        "cup cups": "0.2365882365",
        "floz fl_oz fluid_ounce fluid_ounces": "0.0295735295625",
        "tbsp tablespoon tablespoons": "0.01478676478125",
        "tsp teaspoon teaspoons": "0.00492892159375",
        "imp_gal imperial_gallon imperial_gallons": "4.54609",
        "imp_pt imperial_pint imperial_pints": "0.56826125",
        "ft3 ft³ cubic_foot cubic_feet": "28.316846592",
        "bbl barrel barrels": "158.987294928",
    },
    "speed": {
        "m/s mps": "1",
        "km/h kmh kph": "1000/3600",
        "mph mi/h": "0.44704",
        "kn kt knot knots": "1852/3600",
        "ft/s fps": "0.3048",
    },
    "pressure": {
        "Pa pascal pascals": "1",
        "hPa mbar millibar": "100",
        "kPa kilopascal": "1000",
        "MPa megapascal": "1000000",
        "mPa millipascal": "1/1000",
        "bar bars": "100000",
        "atm atmosphere atmospheres": "101325",
        "mmHg torr": "101325/760",
        "psi": "6894.757293168",
    },
    "energy": {
        "J joule joules": "1",
        "kJ kilojoule kilojoules": "1000",
        "MJ megajoule": "1000000",
        "Wh watt_hour": "3600",
        "kWh kilowatt_hour kilowatt_hours": "3600000",
        "cal calorie calories": "4.184",
        "kcal kilocalorie kilocalories": "4184",
        "BTU btu": "1055.05585262",
        "eV electronvolt": "1.602176634e-19",
    },
    "power": {
        "W watt watts": "1",
        "kW kilowatt kilowatts": "1000",
        "MW megawatt megawatts": "1000000",
        "hp horsepower": "745.69987158227022",
        "PS metric_horsepower": "735.49875",
    },
    "force": {"N newton newtons": "1", "kN kilonewton": "1000", "lbf pound_force": "4.4482216152605"},
    "angle": {"deg ° degree degrees": "1", "grad gon": "0.9", "turn turns revolution": "360", "arcmin": "1/60"},
    "frequency": {"Hz hertz": "1", "kHz": "1000", "MHz": "1000000", "GHz": "1000000000", "rpm": "1/60"},
    "data": {
        "B byte bytes": "1",
        "bit bits": "1/8",
        "kB kilobyte kilobytes": "1000",
        "MB megabyte megabytes": "1000000",
        "GB gigabyte gigabytes": "1000000000",
        "TB terabyte terabytes": "1000000000000",
        "PB petabyte petabytes": "1000000000000000",
        "KiB kibibyte": "1024",
        "MiB mebibyte": "1048576",
        "GiB gibibyte": "1073741824",
        "TiB tebibyte": "1099511627776",
        "kbit kilobit": "125",
        "Mbit megabit": "125000",
        "Gbit gigabit": "125000000",
    },
    "fuel consumption": {"km/l km/L": "1", "mpg": "1.609344/3.785411784"},
}

# Temperatures have offsets: kelvin = value * factor + offset.
_TEMPERATURES: Final = {
    "K kelvin": ("1", "0"),
    "degC °C C celsius": ("1", "273.15"),
    "degF °F F fahrenheit": ("5/9", "459.67*5/9"),
    "degR °R rankine": ("5/9", "0"),
}


def _number(expression: str) -> Fraction:
    """Value of factors and divisors, as the table writes them."""
    parts = re.split(r"([*/])", expression)
    value = Fraction(parts[0])
    for sign, part in zip(parts[1::2], parts[2::2], strict=True):
        value = value * Fraction(part) if sign == "*" else value / Fraction(part)
    return value


def _units() -> Iterator[tuple[str, Unit]]:
    for kind, units in _TABLE.items():
        for names, size in units.items():
            yield from ((name, Unit(kind, _number(size))) for name in names.split())
    for names, (factor, offset) in _TEMPERATURES.items():
        unit = Unit("temperature", _number(factor), _number(offset))
        yield from ((name, unit) for name in names.split())


UNITS: Final[dict[str, Unit]] = dict(_units())
_ANY_CASE: Final[dict[str, list[str]]] = {}
for _name in UNITS:
    _ANY_CASE.setdefault(_name.lower(), []).append(_name)


def run(arguments: dict[str, Any]) -> str:
    """The quantity with its unit: "1 mi" in km is "1.609344 km". Raises ToolFailed with what is wrong."""
    source, target = unit(arguments["from"]), unit(arguments["to"])
    if source.kind != target.kind:
        raise ToolFailed(f"convert: {arguments['from']} is a unit of {source.kind}, {arguments['to']} of {target.kind}")
    try:
        value = Fraction(str(arguments["value"])) * source.factor + source.offset
        return f"{calculator.show((value - target.offset) / target.factor)} {arguments['to']}"
    except (ArithmeticError, ValueError) as error:
        raise ToolFailed(f"convert: {error}") from error


def unit(name: str) -> Unit:
    """The unit of a name, in any case where that leaves one. Raises ToolFailed."""
    written = "_".join(name.split())
    if written in UNITS:
        return UNITS[written]
    near = _ANY_CASE.get(written.lower(), [])
    if len({UNITS[each] for each in near}) == 1:
        return UNITS[near[0]]
    close = near or difflib.get_close_matches(written[:40], UNITS, n=3)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    raise ToolFailed(f"convert: no unit {written[:40]!r}{hint}")
