"""Examples of what a schema describes."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import AwareDatetime, BaseModel, Field, HttpUrl

from saga_service.definitions.schema.example import example_of
from saga_service.definitions.schema.outputs import output_schema

TEXT, NULL, BOOLEAN = {"type": "string"}, {"type": "null"}, {"type": "boolean"}
PROPERTIES: dict[str, tuple[dict[str, Any], Any]] = {
    "a text": (TEXT, "some text"),
    "a short text": ({**TEXT, "maxLength": 3}, "som"),
    "a long text": ({**TEXT, "minLength": 12}, "some textxxx"),
    "a whole number": ({"type": "integer"}, 1),
    "a whole number above": ({"type": "integer", "exclusiveMinimum": 7}, 8),
    "a whole number below": ({"type": "integer", "maximum": -7}, -7),
    "a multiple": ({"type": "integer", "minimum": 8, "multipleOf": 5}, 10),
    "a number between": ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
    "one of several values": ({"enum": ["x", "y"]}, "x"),
    "its own example": ({**TEXT, "examples": ["R-1"]}, "R-1"),
    "its own default": ({**TEXT, "default": "R-2"}, "R-2"),
    "items": ({"type": "array", "minItems": 2, "items": BOOLEAN}, [True, True]),
    "places": ({"type": "array", "minItems": 1, "prefixItems": [NULL]}, [None]),
    "an object within": ({"type": "object", "required": ["n"], "properties": {"n": {"const": 4}}}, {"n": 4}),
    "a choice": ({"anyOf": [{"type": "integer"}, NULL]}, 1),
    "parts that all hold": ({"allOf": [{"type": "integer"}, {"minimum": 3}]}, 3),
    "anything": ({}, "some text"),
}


def object_of(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": ["a"], "properties": {"a": schema, "b": TEXT}}


@pytest.mark.parametrize(("schema", "example"), PROPERTIES.values(), ids=PROPERTIES)
def test_an_example_has_what_is_required_and_fits(schema: dict[str, Any], example: object) -> None:
    whole = object_of(schema)
    assert example_of(whole) == {"a": example}
    assert output_schema(whole).read(example_of(whole)) == example_of(whole)


class Colour(Enum):
    RED = "red"


class Line(BaseModel):
    sku: str
    count: Annotated[int, Field(ge=1, le=99)]


class Everything(BaseModel):
    id: UUID
    at: datetime
    aware: AwareDatetime
    link: HttpUrl
    price: Decimal
    ratio: Annotated[float, Field(gt=0, lt=1)]
    colour: Colour
    kind: Literal["a", "b"]
    lines: Annotated[list[Line], Field(min_length=1)]
    note: str | None
    either: int | str
    tags: dict[str, str]
    pair: tuple[int, str]


def test_an_example_of_a_model_is_read_by_the_model() -> None:
    schema = Everything.model_json_schema()
    example = example_of(schema)
    assert output_schema(schema).read(example) == example
    assert Everything.model_validate(example).lines == [Line(sku="some text", count=1)]


def test_a_schema_that_refers_to_itself_has_an_end() -> None:
    schema = {"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#"}}}
    assert "next" in example_of(schema)
