"""Checking arguments: what a full validator says, where that takes bounded time."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios_kernel.errors import BadRequest, ToolFailed
from aios_kernel.protocol import ToolSpec
from aios_kernel.tools.schema import MAX_ARGUMENT_BYTES, MAX_ARGUMENT_NODES, BadSchema, Checker, num_nodes

SCALARS = st.sampled_from(["string", "integer", "number", "boolean", "null"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda properties, required, closed: {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": not closed,
        },
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        st.lists(st.sampled_from("abc"), max_size=2, unique=True),
        st.booleans(),
    )


SCHEMAS = st.recursive(
    st.builds(lambda kind: {"type": kind}, SCALARS) | st.builds(lambda v: {"enum": v}, st.lists(VALUES, min_size=1)),
    lambda inner: (
        st.builds(lambda items: {"type": "array", "items": items, "maxItems": 2}, inner)
        | st.builds(lambda each: {"anyOf": each}, st.lists(inner, min_size=1, max_size=3))
        | objects(inner)
    ),
    max_leaves=6,
)


def checker(schema: dict[str, Any]) -> Checker:
    return Checker(ToolSpec("probe", "", schema))


@given(objects(SCHEMAS), st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3))
@settings(deadline=None)
def test_a_bounded_schema_is_checked_in_full(schema: dict[str, Any], arguments: dict[str, Any]) -> None:
    check = checker(schema)
    assert check.complete
    if jsonschema.Draft202012Validator(schema).is_valid(arguments):
        check.check(arguments)
    else:
        with pytest.raises(ToolFailed) as caught:
            check.check(arguments)
        assert "\n" not in caught.value.message
        assert len(caught.value.message) < 500


def bomb(levels: int) -> dict[str, Any]:
    """References that multiply: 2 ** levels checks of one value."""
    defs: dict[str, Any] = {
        f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]} for n in range(levels)
    }
    defs[f"d{levels}"] = {"type": "string"}
    return {"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": defs, "required": ["a"]}


TREE = {"type": "object", "properties": {"a": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}}}
BACKTRACKING = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}, "required": ["a"]}
REMOTE = {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/schema.json"}}}


@pytest.mark.parametrize("schema", [bomb(40), TREE, BACKTRACKING, REMOTE, {"type": "object", "$ref": "#/nowhere"}])
def test_a_schema_that_could_run_for_ever_is_checked_by_its_shape(schema: dict[str, Any]) -> None:
    began = time.perf_counter()
    check = checker(schema)
    assert not check.complete
    nested: dict[str, Any] = {"a": 1}
    for _ in range(60):
        nested = {"a": nested}
    for value in ("a" * 5_000 + "!", nested):
        with contextlib.suppress(ToolFailed):
            check.check({"a": value})
    assert time.perf_counter() - began < 5


def test_a_shape_says_names_and_types() -> None:
    check = checker({**BACKTRACKING, "additionalProperties": False})
    check.check({"a": "b"})
    for wrong in ({}, {"a": 1}, {"a": "b", "c": 1}):
        with pytest.raises(ToolFailed):
            check.check(wrong)


@given(
    st.recursive(VALUES, lambda inner: st.dictionaries(st.sampled_from(["$ref", "allOf", "properties", "type"]), inner))
)
@settings(deadline=None)
def test_any_json_is_a_schema_or_is_refused(value: Any) -> None:
    schema = value if isinstance(value, dict) else {"properties": value}
    assert num_nodes(schema) is None or 0 < num_nodes(schema) <= 2_000
    try:
        check = checker(schema)
    except BadSchema:
        return
    with contextlib.suppress(ToolFailed):
        check.check({"a": 1})


@pytest.mark.parametrize(
    "schema",
    [{"type": "array"}, {"type": 3}, {"properties": 3}, {"required": "a"}, {"description": "x" * 70_000}],
)
def test_what_is_no_schema_of_arguments_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(BadSchema) as caught:
        checker(schema)
    assert "\n" not in str(caught.value)


def test_arguments_are_bounded_in_size() -> None:
    with pytest.raises(BadRequest, match="at most"):
        checker({"type": "object"}).check({"a": "x" * MAX_ARGUMENT_BYTES})


TEXTS = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}}


def test_many_values_in_arguments_are_refused_at_once() -> None:
    check = checker(TEXTS)
    check.check({"a": ["x"] * 1_000})
    for value in ([0] * 300_000, [["x"]] * MAX_ARGUMENT_NODES, {str(n): 0 for n in range(MAX_ARGUMENT_NODES)}):
        with pytest.raises(BadRequest, match="more than 5000 values"):
            check.check({"a": value})


def test_a_long_list_of_wrong_values_is_told_by_its_first() -> None:
    check = checker(TEXTS)
    with pytest.raises(ToolFailed, match="0 is not of type 'string'"):
        check.check({"a": [0] * 4_000})


def test_a_large_schema_meets_large_arguments_by_its_shape() -> None:
    many = {"anyOf": [{"type": "string", "maxLength": n} for n in range(190)]}
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": many}}}
    with pytest.raises(ToolFailed, match="not valid under any"):
        checker(schema).check({"a": ["x" * 700]})
    checker(schema).check({"a": ["x" * 200] * 4_000})  # in whole it would take a minute
    with pytest.raises(ToolFailed, match="not of type 'array'"):
        checker(schema).check({"a": "x" * 900_000})


def test_a_schema_nested_beyond_all_measure_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(5_000):
        schema = {"properties": {"a": schema}}
    with pytest.raises(BadSchema, match="nested too deeply"):
        checker(schema)
