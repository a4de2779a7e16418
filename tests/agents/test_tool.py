"""@tool: type hints become JSON Schema."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Any, Literal

import pytest

from aios_agents.tool import result_text, schema_of, tool


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@tool
def paint(room: str, colour: Colour, coats: int = 2, notes: list[str] | None = None) -> str:
    """Paint a room
    in a colour.

    This paragraph is for programmers.
    """
    return f"{room} {colour} {coats} {notes}"


def test_schema_from_hints() -> None:
    assert (paint.name, paint.spec.description) == ("paint", "Paint a room in a colour.")
    assert paint.spec.parameters == {
        "type": "object",
        "properties": {
            "room": {"type": "string"},
            "colour": {"enum": ["red", "blue"]},
            "coats": {"type": "integer"},
            "notes": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
        },
        "required": ["room", "colour"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (list, {"type": "array", "items": {}}),
        (Any, {}),
    ],
)
def test_schema_of_a_hint(hint: Any, schema: dict[str, Any]) -> None:
    assert schema_of(hint) == schema


def test_what_json_cannot_express_is_refused() -> None:
    def untyped(x) -> None: ...  # type: ignore[no-untyped-def]
    def odd(x: complex) -> None: ...
    def rest(*x: int) -> None: ...

    with pytest.raises(TypeError, match="tool untyped: parameter x has no type hint"):
        tool(untyped)
    with pytest.raises(TypeError, match="tool odd: parameter x has the type <class 'complex'>"):
        tool(odd)
    with pytest.raises(TypeError, match="tool rest: parameter x cannot be passed by name"):
        tool(rest)


def test_synchronous_and_asynchronous_functions_run() -> None:
    @tool
    async def later(n: int) -> int:
        """Wait."""
        await asyncio.sleep(0)
        return n + 1

    assert asyncio.run(later.run({"n": 1})) == 2
    assert asyncio.run(paint.run({"room": "hall", "colour": "red"})) == "hall red 2 None"


def test_results_as_the_model_reads_them() -> None:
    assert [result_text(value) for value in ("plain", {"ä": 1}, None)] == ["plain", '{"ä": 1}', "null"]
