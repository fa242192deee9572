"""What an action is said to return: read in both forms, stored, and asked of what workers answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import BaseModel, Field

from saga_service.core.definition import StepDefinition
from saga_service.definitions import (
    DefinitionErrors,
    Saga,
    Step,
    check_saga,
    definition_from_document,
    load_definitions,
)

OUTPUT: dict[str, Any] = {
    "type": "object",
    "required": ["place", "stars"],
    "properties": {
        "place": {"type": "string"},
        "stars": {"type": "integer", "minimum": 1},
        "guests": {"type": "array", "items": {"type": "object", "properties": {"age": {"type": ["integer", "null"]}}}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "room": {"type": "object", "properties": {"no": {}}, "additionalProperties": False},
        "level": {"enum": ["low", "high"]},
    },
}


def booking(output: Any) -> Saga:
    return Saga("trip", steps=[Step("book", action="hotels.book", output=output)])


def step_of(output: Any) -> StepDefinition:
    return check_saga(booking(output)).definition.steps[0]


def misfit(output: Any, schema: Any = None) -> str | None:
    shape = step_of(OUTPUT if schema is None else schema).output
    assert shape is not None
    return shape.misfit(output)


def problem(output: Any) -> tuple[str, str]:
    with pytest.raises(DefinitionErrors) as raised:
        check_saga(booking(output))
    [only] = raised.value.problems
    return only.path, only.text


def test_what_fits_is_no_misfit() -> None:
    assert misfit({"place": "Oslo", "stars": 3, "more": "is welcome", "labels": {"a": "b"}}) is None


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"place": None}, "place must be string"),
        ({"stars": "secret"}, "stars must be integer"),
        ({"stars": 0}, "stars must fit 'minimum': 1"),
        ({"guests": [{"age": 4}, {"age": "secret"}]}, "guests[1].age must be integer or null"),
        ({"labels": {"secret": 5}}, "labels.… must be string"),
        ({"room": {"secret": 5}}, "room has a property that the schema does not name"),
        ({"level": "secret"}, """level must fit 'enum': ["low","high"]"""),
    ],
)
def test_a_misfit_names_fields_and_what_is_asked_for_but_no_values(more: dict[str, Any], text: str) -> None:
    assert misfit({"place": "Oslo", "stars": 3, **more}) == text


def test_all_that_is_missing_is_told() -> None:
    assert misfit({}) == "place is missing; stars is missing"


def test_where_much_is_wrong_the_first_of_it_is_told() -> None:
    told = misfit({"place": 1, "stars": 1, "guests": [{"age": "x"}] * 9})
    assert told is not None
    assert len(told.split("; ")) == 5


def test_a_text_of_the_schema_is_told_in_short() -> None:
    schema = {"properties": {"a": {"enum": ["x" * 30, "y" * 900]}}}
    assert len(misfit({"a": "z"}, schema) or "") < 200


def test_an_output_is_an_object() -> None:
    assert misfit({"a": 1}, {"minProperties": 2}) == "it must fit 'minProperties': 2"


class Booked(BaseModel):
    place: str
    stars: int = Field(ge=1)
    note: str = ""


def test_a_model_and_a_schema_that_say_the_same_are_the_same_version() -> None:
    by_hand = {
        "required": ["place", "stars"],
        "properties": {
            "place": {"type": "string"},
            "stars": {"type": "integer", "minimum": 1.0},
            "note": {"type": "string", "default": ""},
        },
    }
    assert check_saga(booking(Booked)).document == check_saga(booking(by_hand)).document
    assert step_of(Booked) == step_of(by_hand)
    assert step_of(Booked) != step_of(OUTPUT)


def test_it_is_written_in_yaml_as_it_is_in_python(directory: Path) -> None:
    (directory / "trip.yaml").write_text(orjson.dumps({
        "name": "trip", "steps": [{"name": "book", "action": "hotels.book", "output": OUTPUT}],
    }).decode())  # fmt: skip
    assert load_definitions(["trip.yaml"]).documents() == [check_saga(booking(OUTPUT)).document]


def test_it_comes_back_from_the_document_and_is_asked_as_before() -> None:
    spec = check_saga(booking(Booked))
    stored = definition_from_document(orjson.loads(orjson.dumps(spec.document)))
    assert stored == spec.definition
    shape = stored.steps[0].output
    assert shape is not None
    assert shape.misfit({"place": "Oslo", "stars": 0}) == "stars must fit 'minimum': 1"


def test_a_step_without_an_output_schema_takes_any_output() -> None:
    spec = check_saga(booking(None))
    [step] = spec.document["steps"]
    assert step["output"] is None
    assert definition_from_document(spec.document) == spec.definition
    assert step_of(None).output is None


@pytest.mark.parametrize(
    ("output", "path", "text"),
    [
        ("Booked", "", "must be a JSON Schema or a pydantic model class, but is 'Booked'"),
        ({"type": "array"}, ".type", "must be 'object', since an output has named properties, but is 'array'"),
        (
            {"properties": {"a": {"type": "strin"}}},
            ".properties.a.type",
            "is no type of JSON Schema: 'strin'; did you mean 'string'?",
        ),
    ],
)
def test_what_is_no_schema_is_told_with_its_place(output: Any, path: str, text: str) -> None:
    assert problem(output) == (f"steps[0].output{path}", text)


def test_an_output_may_have_a_property_called_outputs() -> None:
    assert misfit({"outputs": 5}, {"properties": {"outputs": {"type": "string"}}}) == "outputs must be string"


def test_a_pattern_that_backtracks_too_much_is_a_misfit() -> None:
    schema = {"properties": {"note": {"type": "string", "pattern": "^((?!foo).)*$"}}}
    assert misfit({"note": "a" * 1_000}, schema) is None
    assert misfit({"note": "a" * 100_000}, schema) == "note must fit 'pattern': \"^((?!foo).)*$\""
