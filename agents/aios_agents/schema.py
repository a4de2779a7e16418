"""Short ways to write the JSON Schemas that agents ask the model for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Schema = dict[str, Any]


def object_of(**properties: Schema) -> Schema:
    """An object of exactly these properties; the model writes them in this order."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def text_of(max_chars: int, min_chars: int = 1) -> Schema:
    return {"type": "string", "minLength": min_chars, "maxLength": max_chars}


def list_of(item: Schema, least: int, most: int) -> Schema:
    return {"type": "array", "items": item, "minItems": least, "maxItems": most}


def one_of(values: Sequence[Any]) -> Schema:
    return {"enum": list(values)}
