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
    return step_of(OUTPUT if schema is None else schema).misfit(output)


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
    assert stored.steps[0].misfit({"place": "Oslo", "stars": 0}) == "stars must fit 'minimum': 1"


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


class Counted(BaseModel):
    n: int
    price: float
    note: str = "none"
    lines: list[dict[str, int]] = []


def test_an_output_is_kept_with_its_defaults_and_its_numbers_in_the_declared_types() -> None:
    kept = step_of(Counted).read_output({"n": 5.0, "price": 3, "lines": [{"a": 1}], "more": 1.0})
    assert kept == {"n": 5, "price": 3.0, "note": "none", "lines": [{"a": 1}], "more": 1.0}
    assert [type(kept[name]) for name in ("n", "price")] == [int, float]


def test_a_text_in_the_place_of_a_number_does_not_fit() -> None:
    assert misfit({"n": "5", "price": 3}, Counted.model_json_schema()) == "n must be integer"


def test_an_output_that_is_complete_is_kept_as_it_is() -> None:
    whole = {"place": "Oslo", "stars": 3}
    assert step_of(OUTPUT).read_output(whole) is whole
    assert step_of(None).read_output(whole) is whole


def test_an_expression_that_the_check_calls_right_has_a_value_for_any_spelling_of_a_number() -> None:
    described = {"required": ["n"], "properties": {"n": {"type": "integer"}}}
    steps = [
        Step("count", action="a.count", output=described),
        Step("next", action="a.b", when="outputs.count.n + 1 > 5"),
    ]
    definition = check_saga(Saga("order", steps=steps)).definition
    output = definition.steps[0].read_output({"n": 5.0})
    assert definition.steps[1].when is not None
    assert definition.steps[1].when.evaluate({"input": {}, "outputs": {"count": output}}) is True


def test_a_default_that_does_not_fit_is_told_with_its_place() -> None:
    path, text = problem({"properties": {"n": {"type": "integer", "default": "many"}}})
    assert (path, text) == ("steps[0].output.properties.n.default", "does not fit its own property: n must be integer")


def waiting(**keywords: Any) -> Saga:
    """An approval whose data is described, and a step that reads it."""
    described = {
        "required": ["approved_by"],
        "properties": {"approved_by": {"type": "string"}, "n": {"type": "integer"}},
    }
    return Saga(
        "trip",
        steps=[
            Step("approval", signal="approved", output=described, **keywords),
            Step("book", action="hotels.book", when="outputs.approval.approved_by != ''"),
        ],
    )


def test_the_data_of_a_signal_is_described_by_the_word_output() -> None:
    spec = check_saga(waiting())
    step = definition_from_document(spec.document).steps[0]
    assert step.read_output({"approved_by": "Ann", "n": 5.0}) == {"approved_by": "Ann", "n": 5}
    assert step.misfit({"by": "Ann"}) == "approved_by is missing"


def test_a_signal_is_described_in_yaml_as_it_is_in_python(directory: Path) -> None:
    (directory / "trip.yaml").write_text("""
name: trip
steps:
  - name: approval
    signal: approved
    output: {required: [approved_by], properties: {approved_by: {type: string}, n: {type: integer}}}
  - {name: book, action: hotels.book, when: outputs.approval.approved_by != ''}
""")
    assert load_definitions(["trip.yaml"]).documents() == [check_saga(waiting()).document]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("outputs.approval.by == 'Ann'", "and 'outputs.approval' has no 'by'; its properties: approved_by, n"),
        ("outputs.approval.approved_by + 1 > 2", "there is no string + int"),
        ("outputs.approval.n > 2", "'n' may be missing: it is not among 'required'"),
    ],
)
def test_expressions_know_the_data_of_a_signal(text: str, told: str) -> None:
    saga = waiting()
    with pytest.raises(DefinitionErrors) as raised:
        check_saga(Saga("trip", steps=[saga.steps[0], Step("book", action="hotels.book", when=text)]))
    assert told in str(raised.value)


def test_a_default_of_a_signal_fits_what_is_declared() -> None:
    assert check_saga(waiting(default={"approved_by": "nobody"})).version
    with pytest.raises(
        DefinitionErrors, match="step 'approval', default: does not fit 'output': approved_by is missing"
    ):
        check_saga(waiting(default={"by": "nobody"}))
