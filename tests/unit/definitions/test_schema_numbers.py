"""The numbers of a value, in the types that its schema names at their places."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga_service.definitions.schema.json_schema import validator_of
from saga_service.definitions.schema.numbers import declared_numbers

WHOLE, DOUBLE = {"type": "integer"}, {"type": "number"}


def described(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": schema}}


def read(schema: dict[str, Any], value: Any, **more: Any) -> Any:
    [kept] = declared_numbers({**described(schema), **more}).read({"a": value}).values()
    return kept


@pytest.mark.parametrize(
    ("schema", "value", "kept"),
    [
        (WHOLE, 5.0, 5),
        (WHOLE, 5, 5),
        (DOUBLE, 5, 5.0),
        (DOUBLE, 2**53 + 1, 2**53 + 1),
        (WHOLE, 1e300, 1e300),
        (WHOLE, 5.5, 5.5),
        (WHOLE, True, True),
        (DOUBLE, True, True),
        ({"type": ["integer", "number"]}, 5.0, 5.0),
        ({}, 5.0, 5.0),
        ({"anyOf": [WHOLE, {"type": "null"}]}, 5.0, 5),
        (described(WHOLE), {"a": 5.0, "b": 5.0}, {"a": 5, "b": 5.0}),
        ({"type": "array", "items": DOUBLE}, [1, 2.5], [1.0, 2.5]),
        ({"type": "array", "items": described(WHOLE)}, [{"a": 1.0}, {}], [{"a": 1}, {}]),
        ({"anyOf": [described(WHOLE), described(DOUBLE)]}, {"a": 1}, {"a": 1}),
    ],
)
def test_a_number_is_kept_in_its_declared_type(schema: dict[str, Any], value: Any, kept: Any) -> None:
    found = read(schema, value)
    assert repr(found) == repr(kept)


def test_a_schema_that_refers_to_itself_is_followed_as_deep_as_the_value() -> None:
    node = {"type": "object", "properties": {"n": WHOLE, "inner": {"$ref": "#/$defs/node"}}}
    deep: dict[str, Any] = {"n": 1.0}
    for _ in range(50):
        deep = {"n": 1.0, "inner": deep}
    found = read({"$ref": "#/$defs/node"}, deep, **{"$defs": {"node": node}})
    assert "1.0" not in repr(found)


def test_a_schema_that_grows_as_it_is_followed_is_left_some_way_in() -> None:
    node = {"anyOf": [described({"$ref": "#/$defs/node"})] * 3}
    schema = {**described({"$ref": "#/$defs/node"}), "$defs": {"node": node}}
    assert declared_numbers(schema).read({"a": {"a": {"a": {}}}}) == {"a": {"a": {"a": {}}}}


def test_a_value_whose_numbers_are_right_is_not_copied() -> None:
    value = {"a": [{"a": 1}], "b": 1.0}
    assert declared_numbers(described({"type": "array", "items": described(WHOLE)})).read(value) is value


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(-1e6, 1e6) | st.integers(-9, 9).map(float),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner),
    max_leaves=8,
)
SCHEMAS = st.recursive(
    st.sampled_from([WHOLE, DOUBLE, {}, {"type": ["integer", "null"]}]),
    lambda inner: inner.map(described) | inner.map(lambda items: {"type": "array", "items": items}),
    max_leaves=4,
)


@given(SCHEMAS, VALUES)
def test_reading_changes_neither_the_value_nor_whether_it_fits(schema: dict[str, Any], value: Any) -> None:
    whole = described(schema)
    found = declared_numbers(whole).read({"a": value})
    assert found == {"a": value}
    assert validator_of(whole).is_valid(found) == validator_of(whole).is_valid({"a": value})
