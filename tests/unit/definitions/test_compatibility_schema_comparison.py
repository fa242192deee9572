"""A difference that is called certain is one: no value of the sent type is read by the model."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest
from pydantic import AnyUrl, BaseModel, ByteSize, Json, RootModel, SecretStr, TypeAdapter, ValidationError, create_model

from saga_service.definitions.compatibility.schema_comparison import Difference, Part, differences
from saga_service.worker import Worker
from saga_service.worker.description import describe


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Inner(BaseModel):
    size: int


class Names(RootModel[list[str]]):
    pass


VALUES: dict[str, list[Any]] = {
    "null": [None],
    "boolean": [True, False],
    "integer": [0, 1, 2, 1_700_000_000, -5],
    "number": [0.0, 1.0, 1.5, 2.0, 1.7e9],
    "string": ["", "1", "1.5", "true", "red", "2020-02-02", "2020-02-02T02:02:02Z", "02:02:02", "P1D", "10.0.0.1",
               "http://a.example/", "[1]", '{"size": 1}', "12345678-1234-5678-1234-567812345678", "10MB", "size"],
    "array": [[], [1], ["a"], [[1, 2]], [["a", 1]]],
    "object": [{}, {"size": 1}, {"a": "b"}],
}  # fmt: skip
ANNOTATIONS: list[Any] = [
    *(int, float, str, bool, bytes, Decimal, datetime, date, time, timedelta, UUID, Path, IPv4Address, AnyUrl),
    *(SecretStr, ByteSize, Json, Colour, Level, Literal["red"], Literal[1, "all"], None, Any, Inner, Names),
    *(list[int], tuple[int, str], set[str], frozenset[int], dict[str, int], int | None, str | int, list[Inner] | bool),
]


def taken_by(annotation: Any) -> Part:
    model = create_model("Model", field=(annotation, ...))

    async def handle(command: BaseModel) -> None: ...

    handle.__annotations__["command"] = model
    worker = Worker("shop")
    worker.handler("shop.do")(handle)
    [described] = describe(worker).handlers
    assert described.takes is not None
    return Part(described.takes, described.takes)


def found(sent: dict[str, Any], taken: Part) -> list[Difference]:
    schema = {"type": "object", "required": ["field"], "properties": {"field": sent}, "additionalProperties": False}
    return differences(Part(schema, schema), taken)


def is_read(annotation: Any, value: Any) -> bool:
    try:
        TypeAdapter(annotation).validate_json(TypeAdapter(Any).dump_json(value))
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("annotation", ANNOTATIONS, ids=str)
@pytest.mark.parametrize("kind", VALUES)
def test_what_is_called_certain_is_never_read(annotation: Any, kind: str) -> None:
    certain = [each for each in found({"type": kind}, taken_by(annotation)) if each.is_certain]
    read = [value for value in VALUES[kind] if is_read(annotation, value)]
    assert not (certain and read)


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [(int, "array"), (str, "integer"), (str, "null"), (bool, "object"), (Inner, "string"), (list[int], "string"),
     (datetime, "boolean"), (UUID, "integer"), (Colour, "integer"), (int | None, "array"), (dict[str, int], "array")],
)  # fmt: skip
def test_what_is_never_read_is_called_certain(annotation: Any, kind: str) -> None:
    assert not any(is_read(annotation, value) for value in VALUES[kind])
    assert any(each.is_certain for each in found({"type": kind}, taken_by(annotation)))


def test_a_schema_that_says_nothing_differs_from_none() -> None:
    for annotation in ANNOTATIONS:
        assert found({}, taken_by(annotation)) == []
    for kind in VALUES:
        assert found({"type": kind}, taken_by(Any)) == []


def test_a_difference_deep_inside_is_told_with_the_way_to_it() -> None:
    inner = {"type": "object", "required": ["size"], "properties": {"size": {"type": "array"}}}
    [difference] = found(inner, taken_by(Inner))
    assert (difference.where, difference.text, difference.is_certain) == ("'field.size'", "is array, not integer", True)


def test_an_array_may_be_empty_so_its_items_are_never_certain() -> None:
    [difference] = found({"type": "array", "items": {"type": "object"}}, taken_by(list[int]))
    assert (difference.where, difference.is_certain) == ("'field[0]'", False)


def test_a_schema_that_refers_to_itself_has_an_end() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["next"]}
    schema = {"type": "object", "properties": {"field": {"$ref": "#/$defs/node"}}, "$defs": {"node": node}}
    assert differences(Part(schema, schema), Part(schema, schema)) == []
