"""`@tool` makes of a typed function a tool that a model can call: its JSON Schema comes from the type hints."""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Callable
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from aios_kernel.protocol import ToolSpec

_SCALARS: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


class Tool:
    """A function of the agent's own that the model may call; still callable as the function it was."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.spec = _spec_of(function)

    @property
    def name(self) -> str:
        return self.spec.name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    async def run(self, arguments: dict[str, Any]) -> Any:
        """Call the function, awaiting it if it is asynchronous. Raises whatever it raises, TypeError on wrong names."""
        result = self.function(**arguments)
        return await result if inspect.isawaitable(result) else result


def tool(function: Callable[..., Any]) -> Tool:
    """Decorator: the docstring's first paragraph describes the tool, the type hints give its parameters.

    Raises TypeError for a parameter without a hint, or with one that JSON cannot express.
    """
    return Tool(function)


def result_text(result: Any) -> str:
    """A tool's result as the model reads it: text as it is, anything else as JSON."""
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)


def _spec_of(function: Callable[..., Any]) -> ToolSpec:
    hints = get_type_hints(function)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"tool {function.__name__}: parameter {name} cannot be passed by name")
        if name not in hints:
            raise TypeError(f"tool {function.__name__}: parameter {name} has no type hint")
        properties[name] = schema_of(hints[name], f"tool {function.__name__}: parameter {name}")
        if parameter.default is parameter.empty:
            required.append(name)
    description = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
    parameters = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return ToolSpec(function.__name__, description, parameters)


def schema_of(hint: Any, where: str = "type") -> dict[str, Any]:
    """The JSON Schema of a type hint: scalars, Literal, Enum, list, dict[str, T] and unions of them.

    Raises TypeError, beginning with `where`, for any other.
    """
    if hint is Any:
        return {}
    if hint in _SCALARS:
        return {"type": _SCALARS[hint]}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"enum": [member.value for member in hint]}
    origin, args = get_origin(hint) or hint, get_args(hint)
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema_of(arg, where) for arg in args]}
    if origin is list:
        return {"type": "array", "items": schema_of(args[0], where) if args else {}}
    if origin is dict and (not args or args[0] is str):
        return {"type": "object", "additionalProperties": schema_of(args[1], where) if args else True}
    raise TypeError(f"{where} has the type {hint}, which JSON cannot express")
