"""Checking a tool's arguments against its JSON Schema, in time that neither the schema nor the arguments can stretch.

The schema of an MCP server is another's work, and arguments are a model's. Together they can make a validator run for
ever: a `pattern` that backtracks, references that multiply or refer to themselves. A schema that could is checked by
its shape alone: names, required ones, and the types of the values. The server has to check its arguments anyway.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any, Final

import msgspec

from aios_kernel.errors import BadRequest, ToolFailed
from aios_kernel.protocol import ToolSpec
from aios_kernel.tools.tool import short

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

MAX_SCHEMA_BYTES: Final = 64 << 10
MAX_ARGUMENT_BYTES: Final = 1 << 20
MAX_ARGUMENT_NODES: Final = 5_000  # values in arguments, at any depth: checking one takes 20 µs
MAX_ERRORS: Final = 50  # that are compared for the one to tell
# A schema is laid against arguments in at most so much time: nodes of it, times nodes and bytes of theirs. Beyond, an
# untrusted one is checked by its shape.
MAX_WORK: Final = 100_000
MAX_BYTES_WORK: Final = 16 << 20
MAX_NODES: Final = 2_000  # of a schema, each reference counted as what it stands for
MAX_DEPTH: Final = 32

# Keywords whose cost is not in proportion to schema and arguments, or whose meaning depends on other documents.
_UNBOUNDED: Final = frozenset({"pattern", "patternProperties", "uniqueItems", "$dynamicRef", "$recursiveRef", "$id"})
_MAPS: Final = ("properties", "$defs", "definitions", "dependentSchemas")  # names to schemas
_DEFINITIONS: Final = frozenset({"$defs", "definitions"})
# Their values are data, whatever they look like.
_DATA: Final = frozenset(
    {"enum", "const", "default", "examples", "example", "required", "type", "title", "description"}
)


class BadSchema(ValueError):
    """Not a JSON Schema of type object, or far too large; the message says so in one line."""


class Checker:
    """Checks arguments of one tool. Making one may take milliseconds: off the event loop for what is another's."""

    def __init__(self, spec: ToolSpec, *, trusted: bool = False) -> None:
        """Raises BadSchema."""
        import jsonschema  # costs 150 ms, so only the first call pays it
        from referencing import Registry

        self._name = spec.name
        schema = spec.parameters
        try:
            size = _size(schema)
        except RecursionError as error:
            raise BadSchema("its schema is nested too deeply") from error
        if size > MAX_SCHEMA_BYTES:
            raise BadSchema(f"its schema is longer than {MAX_SCHEMA_BYTES >> 10} kB")
        if schema.get("type", "object") != "object":
            raise BadSchema(f"its schema is of type {short(str(schema['type']), 40)}, not object")
        self._nodes = num_nodes(schema)
        self._trusted = trusted
        self.complete: Final = self._nodes is not None
        try:
            jsonschema.Draft202012Validator.check_schema(schema)
        except (jsonschema.SchemaError, RecursionError) as error:
            raise BadSchema(f"its schema is none: {short(getattr(error, 'message', str(error)))}") from error
        by_shape = jsonschema.Draft202012Validator(shape(schema), registry=Registry())
        self._by_shape: Draft202012Validator = by_shape
        whole = jsonschema.Draft202012Validator({"type": "object", **schema}, registry=Registry())
        self._whole: Draft202012Validator = whole if self.complete else by_shape

    def check(self, arguments: dict[str, Any]) -> None:
        """Raises ToolFailed that names the argument, BadRequest for arguments beyond any honest size."""
        from jsonschema.exceptions import best_match

        if (size := _size(arguments)) > MAX_ARGUMENT_BYTES:
            raise BadRequest(f"tool {self._name}: arguments of {size} bytes: at most {MAX_ARGUMENT_BYTES} are taken")
        num = _num_values(arguments)
        if num > MAX_ARGUMENT_NODES:
            raise BadRequest(f"tool {self._name}: more than {MAX_ARGUMENT_NODES} values in its arguments")
        try:
            errors = self._validator(num, size).iter_errors(arguments)
            error = best_match(itertools.islice(errors, MAX_ERRORS))
        except RecursionError as problem:
            raise ToolFailed(f"tool {self._name}: arguments are nested too deeply", name=self._name) from problem
        if error is not None:
            where = ".".join(str(part) for part in error.absolute_path) or "arguments"
            message = f"tool {self._name}: {short(where, 100)}: {short(error.message)}"
            raise ToolFailed(message, name=self._name, argument=short(where, 100))

    def _validator(self, num: int, size: int) -> Draft202012Validator:
        """For arguments of `num` values and `size` bytes: of an untrusted schema no more than there is time for."""
        nodes = self._nodes or 0
        small = nodes * num <= MAX_WORK and nodes * size <= MAX_BYTES_WORK
        return self._whole if self._trusted or small else self._by_shape


def num_nodes(schema: dict[str, Any]) -> int | None:
    """How many schemas it is made of; None: checking against it may take more than in proportion to that."""
    left = [MAX_NODES]
    return MAX_NODES - left[0] if _walk(schema, schema, (), left) and left[0] >= 0 else None


def shape(schema: dict[str, Any]) -> dict[str, Any]:
    """What every schema of an object says at its top, and nothing else of it."""
    properties = schema.get("properties")
    named = properties if isinstance(properties, dict) else {}
    rules: dict[str, Any] = {
        "type": "object",
        "properties": {name: {"type": each["type"]} if _has_type(each) else {} for name, each in named.items()},
    }
    if isinstance(schema.get("required"), list):
        rules["required"] = schema["required"]
    if schema.get("additionalProperties") is False:
        rules["additionalProperties"] = False
    return rules


def _walk(node: Any, root: dict[str, Any], refs: tuple[str, ...], left: list[int], depth: int = 0) -> bool:
    """False where `node` cannot be bounded. refs: those that were followed to it. left: nodes that are still fine."""
    left[0] -= 1
    if left[0] < 0 or depth > MAX_DEPTH:
        return False
    if isinstance(node, list):
        return all(_walk(each, root, refs, left, depth + 1) for each in node)
    if not isinstance(node, dict):
        return True
    if not _UNBOUNDED.isdisjoint(node):
        return False
    if "$ref" in node and not _follow(node["$ref"], root, refs, left, depth):
        return False
    for key, value in node.items():
        if key in _DEFINITIONS or key in _DATA or key == "$ref":  # a definition counts where it is referred to
            continue
        inner = list(value.values()) if key in _MAPS and isinstance(value, dict) else value
        if not _walk(inner, root, refs, left, depth + 1):
            return False
    return True


def _follow(ref: Any, root: dict[str, Any], refs: tuple[str, ...], left: list[int], depth: int) -> bool:
    """Whether what a reference stands for is bounded: a place in the same document, and not around the reference."""
    if not isinstance(ref, str) or not ref.startswith("#/") or ref in refs:
        return False
    node: Any = root
    for part in ref[2:].split("/"):
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return _walk(node, root, (*refs, ref), left, depth + 1)


def _num_values(arguments: dict[str, Any]) -> int:
    """Values in it, at any depth; counting stops beyond MAX_ARGUMENT_NODES."""
    num = 0
    pending: list[Any] = [arguments]
    while pending and num <= MAX_ARGUMENT_NODES:
        value = pending.pop()
        num += 1
        if isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
    return num


def _has_type(node: Any) -> bool:
    return isinstance(node, dict) and "type" in node


@functools.cache
def _encoder() -> msgspec.json.Encoder:
    return msgspec.json.Encoder()


def _size(value: Any) -> int:
    return len(_encoder().encode(value))
