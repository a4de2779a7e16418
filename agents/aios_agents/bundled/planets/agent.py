"""Questions about the planets, by ReAct: the model looks up figures and, where it has to, computes with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, Literal

from aios_agents import tool
from aios_agents.patterns import ReAct

# Source: NASA Planetary Fact Sheet; moons as of 2025.
PLANETS: Final = json.loads(Path(__file__).with_name("planets.json").read_text(encoding="utf-8"))
SENTENCES: Final = {
    "moons": "{planet} has {value} moons.",
    "diameter": "{planet} is {value} km wide.",
    "day": "A day on {planet} takes {value} hours.",
    "year": "A year on {planet} takes {value} days.",
    "distance": "{planet} is {value} million km from the sun.",
}

Planet = Literal["Mercury", "Venus", "Earth", "Mars", "Jupiter", "Saturn", "Uranus", "Neptune"]
Figure = Literal["moons", "diameter", "day", "year", "distance"]


@tool
def look_up(planet: Planet, figure: Figure) -> str:
    """A figure of a planet."""
    return SENTENCES[figure].format(planet=planet, value=PLANETS[planet][figure])


def _look_up(planet: Planet, figure: Figure) -> list[dict[str, Any] | str]:
    """The step and what it gives."""
    arguments = {"planet": planet, "figure": figure}
    step = {"thought": f"I need the {figure} of {planet}.", "tool": "look_up", "arguments": arguments}
    return [step, look_up(planet, figure)]


def _compute(expression: str, value: str) -> list[dict[str, Any] | str]:
    return [{"thought": "I divide them.", "tool": "calculator", "arguments": {"expression": expression}}, value]


def _answer(text: str) -> dict[str, Any]:
    return {"thought": "I know it now.", "answer": text}


def _tell(planet: Planet, figure: Figure) -> list[dict[str, Any] | str]:
    return [*_look_up(planet, figure), _answer(look_up(planet, figure))]


class Planets(ReAct):
    """Single lookups are what the embedded model is sure of; larger ones compare as the first example does."""

    tools = (look_up, "calculator")
    examples = (
        (
            "How many times wider is Neptune than Mercury?",
            [
                *_look_up("Neptune", "diameter"),
                *_look_up("Mercury", "diameter"),
                *_compute("49528 / 4879", "10.15"),
                _answer("Neptune is 10.15 times wider than Mercury."),
            ],
        ),
        ("How many moons does Uranus have?", _tell("Uranus", "moons")),
        ("How far is Venus from the sun?", _tell("Venus", "distance")),
        ("How wide is Mercury?", _tell("Mercury", "diameter")),
        ("How long is a day on Venus?", _tell("Venus", "day")),
        ("How long is a year on Uranus?", _tell("Uranus", "year")),
    )
