"""A producer's data by the saga's schema: completed, coerced, or refused with every field that is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from functools import partial
from typing import Any, Literal
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, field_validator

from saga_service.definitions import DefinedSaga, Saga, Step, check_saga
from saga_service.wire.json import NESTING_MAX
from saga_service.wire.saga_spec import InvalidInput, SagaSpec


def reading(schema: Any, key: str | None = None) -> DefinedSaga:
    return check_saga(Saga("order", input=schema, key=key, steps=[Step("charge", action="payment.charge")]))


def schema_of(**properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def refusal(spec: SagaSpec, data: dict[str, Any]) -> str:
    with pytest.raises(InvalidInput) as raised:
        spec.read_input(data)
    return str(raised.value)


def test_a_saga_spec_is_what_the_wire_asks_for() -> None:
    spec: SagaSpec = reading(None)
    assert spec.definition.name == "order"


FLAT: list[tuple[object, str, object]] = [
    ({"type": "integer"}, "2", 2),
    ({"type": "integer"}, "-7", -7),
    ({"type": "number"}, "2.5", 2.5),
    ({"type": "number"}, "2", 2.0),
    ({"type": "boolean"}, "true", True),
    ({"type": "boolean"}, "0", False),
    ({"type": "null"}, "null", None),
    ({"type": "null"}, "", None),
    ({"type": "array", "items": {"type": "integer"}}, "[1, 2]", [1, 2]),
    ({"type": "object"}, ' {"a": {"b": 1}}', {"a": {"b": 1}}),
    ({"type": "string"}, "2", "2"),
    ({"type": "string"}, "null", "null"),
    ({"type": "string"}, "", ""),
    ({"type": "string"}, "[1]", "[1]"),
    ({}, "2", "2"),
    ({"type": ["integer", "null"]}, "", None),
    ({"type": ["integer", "null"]}, "3", 3),
    ({"type": ["boolean", "integer"]}, "1", 1),
    ({"type": ["boolean", "integer"]}, "yes", True),
    ({"type": ["number", "integer"]}, "3.5", 3.5),
    ({"type": ["string", "integer"]}, "3", "3"),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "3", 3),
    ({"oneOf": [{"type": "array"}, {"type": "object"}]}, "{}", {}),
    ({"allOf": [{"type": "integer"}, {"minimum": 1}]}, "3", 3),
    ({"$ref": "#/$defs/count"}, "3", 3),
    ({"enum": [1, 2]}, "2", 2),
    ({"enum": ["auto", 1]}, "1", 1),
    ({"enum": ["auto", 1]}, "auto", "auto"),
    ({"enum": ["1", 1]}, "1", "1"),
    ({"enum": [True, None]}, "null", None),
    ({"const": 5}, "5", 5),
    ({"const": "5"}, "5", "5"),
]


@pytest.mark.parametrize(("schema", "text", "value"), FLAT)
def test_a_flat_field_becomes_what_its_schema_says(schema: object, text: str, value: object) -> None:
    spec = reading({**schema_of(field=schema), "$defs": {"count": {"type": "integer"}}})
    read = spec.read_fields({"field": text})
    assert read == {"field": value}
    assert type(read["field"]) is type(value)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "integer"}, "two"),
        ({"type": "integer"}, ""),
        ({"type": "integer"}, "2.5"),
        ({"type": "integer"}, "9" * 30),
        ({"type": "number"}, "nan"),
        ({"type": "number"}, "inf"),
        ({"type": "number"}, "1e999"),
        ({"type": "boolean"}, "maybe"),
        ({"type": "array"}, "[1,"),
        ({"type": "array"}, "{}"),
        ({"type": "array"}, "[" * 100_000),
        ({"type": "object"}, "null"),
        ({"enum": ["auto", 1]}, "2"),
        ({"enum": ["a", "b"]}, "c"),
    ],
)
def test_a_flat_field_that_does_not_fit_is_named(schema: object, text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^field: ") as raised:
        reading(schema_of(field=schema)).read_fields({"field": text})
    assert len(str(raised.value)) < 300


class Amounts(BaseModel):
    integer: int = 0
    number: float = 0.0
    money: Decimal | None = Field(default=None, alias="eur")


BY_SCHEMA = reading({"properties": {kind: {"type": kind} for kind in ("integer", "number")}})
BY_MODEL = reading(Amounts)
NOT_AS_JSON_WRITES_IT = ["1_000", "+5", " 5", "5 ", "5\n", "007", "-07", "inf", "-Infinity", "nan", "1_0.5", ".5", "5."]


@pytest.mark.parametrize(
    "text", [*NOT_AS_JSON_WRITES_IT, "\N{ARABIC-INDIC DIGIT FIVE}", "\N{FULLWIDTH DIGIT FIVE}", "0x10"]
)
@pytest.mark.parametrize("field", ["integer", "number"])
@pytest.mark.parametrize("spec", [BY_SCHEMA, BY_MODEL], ids=["schema", "model"])
def test_a_text_is_a_number_only_where_json_would_write_it_so(spec: SagaSpec, field: str, text: str) -> None:
    for read in (spec.read_fields, spec.read_input):
        with pytest.raises(InvalidInput, match=rf"^{field}: ") as raised:
            read({field: text})
        assert list(raised.value.fields) == [field]


@pytest.mark.parametrize("text", NOT_AS_JSON_WRITES_IT)
def test_a_models_decimal_is_read_as_json_writes_it(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^eur: should be a number as JSON writes it"):
        BY_MODEL.read_fields({"eur": text})
    assert BY_MODEL.read_fields({"eur": "1.10"})["eur"] == "1.10"


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("integer", "18446744073709551616"),
        ("number", "3.14159265358979323846"),
        ("number", "1e400"),
        ("number", "1e-400"),
    ],
)
@pytest.mark.parametrize("spec", [BY_SCHEMA, BY_MODEL], ids=["schema", "model"])
def test_a_number_that_would_lose_digits_in_its_field_is_refused(spec: SagaSpec, field: str, text: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^{field}: .*would lose digits"):
        spec.read_fields({field: text})


def test_a_whole_number_that_no_double_holds_is_kept_by_a_schema_and_refused_to_a_models_float() -> None:
    assert BY_SCHEMA.read_input({"number": 2**53 + 1}) == {"number": 2**53 + 1}
    assert BY_SCHEMA.read_fields({"number": "9007199254740993"}) == {"number": 2**53 + 1}
    assert BY_MODEL.read_input({"number": 2**53})["number"] == 2.0**53
    with pytest.raises(InvalidInput, match=r"^number: .*would lose digits as a double"):
        BY_MODEL.read_input({"number": 2**53 + 1})


class Priced(BaseModel):
    amount: float = 0.0


class Basket(BaseModel):
    first: Priced | None = None
    counts: list[int] = []
    rates: dict[str, float] = {}
    either: int | list[float] = 0
    note: dict[str, str | int | float] = {}
    price: list[float | str] = []


OF_BASKETS = reading(Basket)
AMOUNT_IN: dict[str, Callable[[Any], dict[str, Any]]] = {
    "first.amount": lambda amount: {"first": {"amount": amount}},
    "counts[1]": lambda amount: {"counts": [1, amount]},
    "rates.eur": lambda amount: {"rates": {"eur": amount}},
    "either[0]": lambda amount: {"either": [amount]},
}


@pytest.mark.parametrize("text", NOT_AS_JSON_WRITES_IT)
@pytest.mark.parametrize("place", AMOUNT_IN)
def test_a_text_inside_a_model_is_a_number_only_where_json_would_write_it_so(place: str, text: str) -> None:
    data = AMOUNT_IN[place](text)
    flat = {name: orjson.dumps(value).decode() for name, value in data.items()}
    for refused in (partial(OF_BASKETS.read_input, data), partial(OF_BASKETS.read_fields, flat)):
        with pytest.raises(InvalidInput, match=rf"^{re.escape(place)}: should be a number as JSON writes it") as raised:
            refused()
        assert raised.value.fields == list(data)


@pytest.mark.parametrize("number", [2**53 + 1, "9007199254740993", "3.14159265358979323846", "1e400"])
@pytest.mark.parametrize("place", ["first.amount", "rates.eur", "either[0]"])
def test_a_number_that_would_lose_digits_inside_a_model_is_refused(place: str, number: int | str) -> None:
    with pytest.raises(InvalidInput, match=rf"^{re.escape(place)}: .* would lose digits as a double"):
        OF_BASKETS.read_input(AMOUNT_IN[place](number))


def test_texts_inside_a_model_are_numbers_as_json_writes_them() -> None:
    data = {"first": {"amount": "1.5"}, "counts": ["2"], "rates": {"eur": "1e3"}, "either": ["7"], "note": {"a": "007"}}
    data |= {"price": ["007"]}
    kept = {
        "first": {"amount": 1.5},
        "counts": [2],
        "rates": {"eur": 1000.0},
        "either": [7.0],
        "note": {"a": "007"},
        "price": ["007"],
    }
    assert OF_BASKETS.read_input(data) == kept


def test_a_flat_field_that_the_schema_does_not_name_stays_text() -> None:
    assert reading(schema_of(count={"type": "integer"})).read_fields({"count": "1", "more": "2"}) == {
        "count": 1,
        "more": "2",
    }


@pytest.mark.parametrize(
    "text",
    ['["\\u0000"]', "[" * (NESTING_MAX + 1) + "]" * (NESTING_MAX + 1), "[18446744073709551616]", '[{"a":1,"a":2}]'],
)
def test_json_inside_a_flat_field_keeps_to_the_limits_of_all_json(text: str) -> None:
    with pytest.raises(
        InvalidInput, match=r"^field: (holds a N|is nested|holds a number that would lose|holds an obj)"
    ):
        reading(schema_of(field={"type": "array"})).read_fields({"field": text})


def test_composed_properties_are_coerced_unless_one_allows_text() -> None:
    schema = {
        "allOf": [{"$ref": "#/$defs/base"}],
        "anyOf": [{"properties": {"either": {"type": "integer"}}}, {"properties": {"either": {"type": "string"}}}],
        "$defs": {"base": {"properties": {"count": {"type": "integer"}}}},
    }
    assert reading(schema).read_fields({"count": "1", "either": "2"}) == {"count": 1, "either": "2"}


def test_what_is_left_out_is_filled_in_from_the_schema() -> None:
    schema = {"properties": {"currency": {"type": "string", "default": "EUR"}, "tags": {"default": []}}}
    assert reading(schema).read_input({"tags": ["a"]}) == {"currency": "EUR", "tags": ["a"]}


def test_every_field_that_is_wrong_is_named_at_once() -> None:
    schema = schema_of(
        count={"type": "integer", "minimum": 1},
        area={"type": "string"},
        items={"type": "array", "items": schema_of(sku={"type": "string"})},
    )
    assert refusal(reading(schema), {"count": 0, "items": [{"sku": 1}, {}]}).split("; ") == [
        "area: is missing",
        "count: 0 is less than the minimum of 1",
        'items[0].sku: 1 is not of type "string"',
        "items[1].sku: is missing",
    ]


def test_a_refusal_stays_short_whatever_was_sent() -> None:
    schema = {"additionalProperties": {"type": "integer"}}
    told = refusal(reading(schema), {f"field{number}": "x" * 100_000 for number in range(50)})
    assert told.endswith("; and 40 more")
    assert len(told) < 3_000


def test_without_a_schema_any_object_is_an_input() -> None:
    assert reading(None).read_input({"anything": [1, {"a": None}]}) == {"anything": [1, {"a": None}]}


def test_the_producers_data_is_left_as_it_is() -> None:
    data = {"count": "2"}
    reading({"properties": {"count": {"type": "integer"}, "more": {"default": 1}}}).read_input(data)
    assert data == {"count": "2"}


class Priority(IntEnum):
    LOW = 1
    HIGH = 2


class Line(BaseModel):
    sku: str
    quantity: int = 1


class Order(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    id: UUID
    at: datetime
    total: Decimal
    paid: bool
    lines: list[Line]
    priority: Priority = Priority.LOW
    kind: Literal["gift", 1] = "gift"
    note: str | None = None
    discount: int | None = Field(default=None, alias="discountPercent")


ORDER_FIELDS = {
    "id": "0191d3a0-0000-7000-8000-00000000000A",
    "at": "2026-01-02T03:04:05Z",
    "total": "12.50",
    "paid": "yes",
    "lines": '[{"sku": "a"}, {"sku": "b", "quantity": "2"}]',
    "priority": "2",
    "kind": "1",
    "discountPercent": "5",
    "unknown": "x",
}
ORDER_STORED = {
    "id": "0191d3a0-0000-7000-8000-00000000000a",
    "at": "2026-01-02T03:04:05Z",
    "total": "12.50",
    "paid": True,
    "lines": [{"sku": "a", "quantity": 1}, {"sku": "b", "quantity": 2}],
    "priority": 2,
    "kind": 1,
    "note": None,
    "discountPercent": 5,
}


def test_a_model_reads_flat_fields_and_its_json_is_what_is_stored() -> None:
    assert reading(Order).read_fields(ORDER_FIELDS) == ORDER_STORED


def test_what_a_model_stores_it_reads_again() -> None:
    assert reading(Order).read_input(ORDER_STORED) == ORDER_STORED


def test_a_model_names_every_field_that_is_wrong() -> None:
    told = refusal(reading(Order), {**ORDER_STORED, "paid": "maybe", "lines": [{"quantity": 0.5}], "total": None})
    assert [problem.split(": ")[0] for problem in told.split("; ")] == [
        "total",
        "paid",
        "lines[0].sku",
        "lines[0].quantity",
    ]
    assert "lines[0].sku: is missing" in told


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)

    count: int


def test_a_strict_model_refuses_text_in_json_and_still_reads_flat_fields() -> None:
    assert reading(Strict).read_fields({"count": "2"}) == {"count": 2}
    assert refusal(reading(Strict), {"count": "2"}) == "count: should be a valid integer, but is '2'"


class Odd(BaseModel):
    ratio: float = 1.0
    count: int = 1
    text: str = ""
    anything: Any = None

    @field_validator("text")
    @classmethod
    def _fails_in_a_way_of_its_own(cls, text: str) -> str:
        return {"": ""}[text]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"ratio": "nan"}, "ratio: should be a number as JSON writes it, but is 'nan'"),
        ({"ratio": float("nan")}, "cannot be stored as JSON: a number is not finite"),
        ({"count": 2**70}, "cannot be stored as JSON: Integer exceeds 64-bit range"),
        ({"text": "x"}, "the model Odd failed: KeyError: 'x'"),
        ({"anything": "\ud800"}, "cannot be stored as JSON: str is not valid UTF-8"),
    ],
)
def test_what_a_model_lets_through_and_json_cannot_hold_is_refused(data: dict[str, Any], text: str) -> None:
    assert refusal(reading(Odd), data).startswith(text)


def test_a_null_is_no_reason_to_refuse() -> None:
    assert reading(Odd).read_input({"anything": [None, 1.5]})["anything"] == [None, 1.5]


class Anything(BaseModel):
    model_config = ConfigDict(extra="allow")


@pytest.mark.parametrize("schema", [None, Anything])
def test_the_name_of_earlier_results_is_not_taken_from_a_producer(schema: Any) -> None:
    assert refusal(reading(schema), {"outputs": {}}).startswith("outputs: is reserved for the results of earlier steps")


AS_MODEL = reading(Odd)
AS_SCHEMA = reading({"properties": {"ratio": {"type": "number"}, "count": {"type": "integer"}}})
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["ratio", "count", "anything", "more"]), json_values))
def test_whatever_is_sent_is_either_stored_as_json_or_refused(data: dict[str, Any]) -> None:
    for spec in (AS_MODEL, AS_SCHEMA):
        try:
            stored = spec.read_input(data)
        except InvalidInput:
            continue
        assert orjson.loads(orjson.dumps(stored)) == stored


FLAT_NUMBERS = reading({"properties": {kind: {"type": kind} for kind in ("integer", "number", "boolean")}})


@given(st.integers(-(2**63), 2**64 - 1))
def test_the_text_of_a_whole_number_reads_as_that_number(number: int) -> None:
    assert FLAT_NUMBERS.read_fields({"integer": str(number)}) == {"integer": number}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_number_reads_as_that_number(number: float) -> None:
    assert FLAT_NUMBERS.read_fields({"number": str(number)}) == {"number": number}


@given(st.text())
def test_whatever_text_comes_for_a_number_is_read_or_refused(text: str) -> None:
    for kind in ("integer", "number", "boolean"):
        try:
            read = FLAT_NUMBERS.read_fields({kind: text})
        except InvalidInput:
            continue
        assert isinstance(read[kind], int | float)


def test_the_business_key_is_the_text_of_the_named_property() -> None:
    schema = {"properties": {"order_id": {"type": ["string", "integer"]}}}
    for sent, key in (("A-7", "A-7"), (7, "7")):
        data = {"order_id": sent}
        assert reading(schema, "order_id").business_key(data, data) == key
        assert reading(schema).business_key(data, data) is None


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({}, "order_id: is missing or empty, and it is the saga's key"),
        ({"order_id": None}, "order_id: is missing or empty, and it is the saga's key"),
        ({"order_id": ""}, "order_id: is missing or empty, and it is the saga's key"),
        ({"order_id": True}, "order_id: must be text or a whole number of 64 bits, since it is the saga's key"),
        ({"order_id": 1.5}, "order_id: must be text or a whole number of 64 bits, since it is the saga's key"),
        ({"order_id": ["a"]}, "order_id: must be text or a whole number of 64 bits, since it is the saga's key"),
        ({"order_id": "a" * 501}, "order_id: has 501 characters, and a key may have 500"),
    ],
)
def test_an_input_without_a_usable_key_is_refused(data: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        reading({"properties": {"order_id": {}}}, "order_id").business_key(data, data)
    assert str(raised.value) == text


BACKTRACKING = {"type": "string", "pattern": "^((?!foo).)*$"}
"""A pattern with a look-around, which the library can only match by trying and stepping back."""


def test_a_pattern_that_backtracks_too_much_refuses_the_text() -> None:
    spec = reading(schema_of(note=BACKTRACKING))
    assert spec.read_input({"note": "a" * 1_000}) == {"note": "a" * 1_000}
    told = refusal(spec, {"note": "a" * 100_000})
    assert told == "note: Error executing regex: Max limit for backtracking count exceeded"


def test_a_pattern_without_look_arounds_matches_a_text_of_any_length() -> None:
    spec = reading(schema_of(note={"type": "string", "pattern": "^(a+)+$"}))
    long = "a" * 1_000_000
    assert spec.read_input({"note": long}) == {"note": long}
    assert refusal(spec, {"note": f"{long}!"}).startswith('note: "aaa')


def test_a_schema_that_holds_itself_is_asked_once_of_each_part() -> None:
    node = {"type": "object", "properties": {"inner": {"$ref": "#/$defs/node"}}}
    one_of = {"oneOf": [node, {**node, "required": ["never"]}]}
    spec = reading({"properties": {"tree": {"$ref": "#/$defs/node"}}, "$defs": {"node": one_of}})
    deep: dict[str, Any] = {}
    for _ in range(NESTING_MAX - 2):
        deep = {"inner": deep}
    assert spec.read_input({"tree": deep}) == {"tree": deep}


def test_numbers_deep_in_an_input_are_kept_in_their_declared_types() -> None:
    """Or an expression over them, which the check calls right, would have no value."""
    line = schema_of(count={"type": "integer"}, price={"type": "number"})
    spec = reading(schema_of(lines={"type": "array", "items": line}))
    kept = spec.read_input({"lines": [{"count": 2.0, "price": 3}]})["lines"][0]
    assert repr(kept) == repr({"count": 2, "price": 3.0})
