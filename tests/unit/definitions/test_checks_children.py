"""What a child saga is sent fits its input, where both are read together: in YAML and in Python alike."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import orjson
import pytest

from saga_service.definitions import DefinitionErrors, load_definitions

SHIPMENT: dict[str, Any] = {
    "type": "object",
    "required": ["order_id", "boxes"],
    "properties": {
        "order_id": {"type": "string"},
        "boxes": {"type": "integer"},
        "weight": {"type": "number"},
        "express": {"type": "boolean", "default": False},
        "speed": {"enum": ["slow", "fast"]},
        "to": {"type": "object", "required": ["town"], "properties": {"town": {"type": "string"}}},
        "labels": {"type": "array", "items": {"type": "string"}},
    },
    "additionalProperties": False,
}
ORDER: dict[str, Any] = {
    "type": "object",
    "required": ["order_id", "count", "amount", "maybe", "flag", "town"],
    "properties": {
        "order_id": {"type": "string"},
        "count": {"type": "integer"},
        "amount": {"type": "number"},
        "maybe": {"type": ["integer", "null"]},
        "flag": {"type": "boolean"},
        "town": {"type": "string"},
        "note": {"type": "string"},
    },
}
FITTING = {"order_id": "input.order_id", "boxes": "input.count"}


def problems(
    directory: Path,
    mapping: dict[str, Any] | None,
    *,
    own: Any = ORDER,
    child: Any = SHIPMENT,
    key: str | None = None,
    when: str | None = None,
) -> list[tuple[str, str, str]]:
    """Problems of a saga whose second step is the child."""
    ship: dict[str, Any] = {"name": "ship", "saga": "shipment"}
    ship |= {} if mapping is None else {"input": mapping}
    ship |= {} if when is None else {"when": when}
    check = {"name": "check", "action": "a.check"}
    sagas = [
        {"name": "order", "input": own, "steps": [check, ship]},
        {"name": "shipment", "input": child, "steps": [check], **({} if key is None else {"key": key})},
    ]
    (directory / "a.yaml").write_text("\n---\n".join(orjson.dumps(saga).decode() for saga in sagas))
    try:
        load_definitions(["a.yaml"])
    except DefinitionErrors as errors:
        return [(problem.place, problem.path, problem.text) for problem in errors.problems]
    return []


@pytest.mark.parametrize(
    ("changes", "path", "text"),
    [
        ({"boxes": None}, "", "lacks 'boxes', without which saga 'shipment' does not begin; write it"),
        ({"expres": True}, ".expres", "is nothing that saga 'shipment' takes; did you mean 'express'?"),
        (
            {"colour": "'red'"},
            ".colour",
            "is nothing that saga 'shipment' takes; "
            "its input's properties: boxes, express, labels, order_id, speed, to, weight",
        ),
        (
            {"boxes": "input.amount"},
            ".boxes",
            "gives 1.5, and saga 'shipment' takes integer there; write int(...); tried with input.amount = 1.5",
        ),
        (
            {"order_id": "input.count"},
            ".order_id",
            "gives 1, and saga 'shipment' takes string there; write string(...); tried with input.count = 1",
        ),
        (
            {"boxes": "input.maybe"},
            ".boxes",
            "gives null, and saga 'shipment' takes integer there; tried with input.maybe = null",
        ),
        (
            {"weight": "input.town"},
            ".weight",
            """gives "some text", and saga 'shipment' takes number there; write double(...); """
            """tried with input.town = "some text\"""",
        ),
        ({"boxes": "'two'"}, ".boxes", """gives "two", and saga 'shipment' takes integer there; write int(...)"""),
        ({"boxes": [1]}, ".boxes", "gives [1], and saga 'shipment' takes integer there; write int(...)"),
        ({"speed": "'medium'"}, ".speed", """gives "medium", which saga 'shipment' does not take there"""),
        ({"to": {"twon": "'Oslo'"}}, ".to", """gives {"twon":"Oslo"}, which saga 'shipment' does not take there"""),
        (
            {"to": {"town": "input.count"}},
            ".to",
            """gives {"town":1}, and saga 'shipment' takes object there; tried with input.count = 1""",
        ),
        (
            {"labels": ["'a'", "input.flag"]},
            ".labels",
            """gives ["a",true], and saga 'shipment' takes array there; tried with input.flag = true""",
        ),
    ],
)
def test_a_mapping_that_does_not_fit_is_told(directory: Path, changes: dict[str, Any], path: str, text: str) -> None:
    mapping = {name: part for name, part in {**FITTING, **changes}.items() if part is not None}
    assert problems(directory, mapping) == [("a.yaml:1", f"steps[1].input{path}", text)]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"boxes": "outputs.check.boxes"},
        {"boxes": "int(input.amount)"},
        {"boxes": "input.flag"},
        {"weight": "input.count"},
        {"weight": 2, "express": True},
        {"express": "input.flag"},
        {"boxes": "'2'"},
        {"boxes": 2.0},
        {"speed": "input.town"},
        {"to": {"town": "input.town"}},
        {"to": {"town": "outputs.check.town"}},
        {"labels": ["input.town", "outputs.check.label"]},
        {"labels": []},
        {"boxes": "input.maybe == null ? 0 : input.maybe"},
    ],
)
def test_a_mapping_that_may_fit_is_right(directory: Path, changes: dict[str, Any]) -> None:
    assert problems(directory, {**FITTING, **changes}) == []


def test_a_mapping_is_tried_where_the_step_may_come_to_be_done(directory: Path) -> None:
    mapping = {**FITTING, "boxes": "input.maybe"}
    assert problems(directory, mapping, when="input.maybe != null") == []
    assert problems(directory, mapping, when="outputs.check.has_boxes") == []
    assert problems(directory, mapping, when="input.maybe == null") != []
    assert problems(directory, {**FITTING, "boxes": "'two'"}, when="outputs.check.ok") != []


def test_a_child_without_its_key_does_not_begin(directory: Path) -> None:
    child = {"properties": {"order_id": {"type": "string"}, "no": {"type": "string", "default": "1"}}}
    lacking = "lacks 'order_id', without which saga 'shipment' does not begin; write it"
    assert problems(directory, {"a": 1}, child=child, key="order_id") == [("a.yaml:1", "steps[1].input", lacking)]
    assert problems(directory, {"a": 1}, child=child, key="no") == []


def test_what_the_child_fills_in_may_be_lacking(directory: Path) -> None:
    child = {"required": ["a"], "properties": {"a": {"type": "integer", "default": 1}}}
    assert problems(directory, {"b": 1}, child=child) == []


def test_without_a_mapping_the_saga_s_own_input_fits(directory: Path) -> None:
    open_child = {"required": ["order_id"], "properties": {"order_id": {"type": "string"}}}
    assert problems(directory, None, child=open_child) == []
    assert problems(directory, None, child={"required": ["elsewhere"]}) == []
    assert problems(directory, None, own=None) == []


@pytest.mark.parametrize(
    ("own", "child", "text"),
    [
        (
            {**ORDER, "additionalProperties": False},
            {"required": ["address"], "properties": {"address": {}}},
            "does not begin without 'address', which that has not",
        ),
        (ORDER, {"required": ["note"]}, "does not begin without 'note', which may be missing there"),
        (
            {"required": ["a"], "properties": {"a": {}}},
            {"properties": {}, "additionalProperties": False},
            "does not take 'a', which that has",
        ),
        (
            ORDER,
            {"properties": {"order_id": {"type": "integer"}}},
            "does not take its 'order_id', which gives \"some text\", and saga 'shipment' takes integer there; "
            'write int(...); tried with input.order_id = "some text"',
        ),
    ],
)
def test_an_own_input_that_does_not_fit_is_told(directory: Path, own: Any, child: Any, text: str) -> None:
    told = f"is missing: the saga's own input is sent, and saga 'shipment' {text}; write a mapping"
    assert problems(directory, None, own=own, child=child) == [("a.yaml:1", "steps[1].input", told)]


def in_python(directory: Path, module: str, models: str, mapping: str) -> list[str]:
    (directory / f"{module}.py").write_text(
        "from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator\n"
        "from saga_service import Saga, Step\n"
        + dedent(models)
        + "order = Saga('order', input=Order, steps=[\n"
        + f"    Step('ship', saga='shipment'{mapping})])\n"
        + "shipment = Saga('shipment', input=Shipment, steps=[Step('pack', action='a.pack')])\n"
    )
    try:
        load_definitions([module])
    except DefinitionErrors as errors:
        return [f"{problem.path}: {problem.text}" for problem in errors.problems]
    return []


PLAIN = """
class Order(BaseModel):
    order_id: str
    count: int
class Shipment(BaseModel):
    model_config = ConfigDict(extra="forbid")
    order_id: str
    boxes: int
    weight: float = 1.0
"""


def test_models_are_asked_as_schemas_are(directory: Path, module: str) -> None:
    assert in_python(directory, module, PLAIN, ", input={'order_id': 'input.count', 'weigth': 2}") == [
        "steps[0].input: lacks 'boxes', without which saga 'shipment' does not begin; write it",
        "steps[0].input.order_id: gives 1, and saga 'shipment' takes string there; write string(...); "
        "tried with input.count = 1",
        "steps[0].input.weigth: is nothing that saga 'shipment' takes; did you mean 'weight'?",
    ]


def test_a_model_has_no_more_than_its_fields_to_send(directory: Path, module: str) -> None:
    told = "steps[0].input: is missing: the saga's own input is sent, and saga 'shipment'"
    assert in_python(directory, module, PLAIN, "") == [
        f"{told} does not begin without 'boxes', which that has not; write a mapping",
        f"{told} does not take 'count', which that has; write a mapping",
    ]


@pytest.mark.parametrize(
    ("shipment", "mapping"),
    [
        ("model_config = ConfigDict(populate_by_name=True, extra='forbid')\n    no: str = Field(alias='number')", "no"),
        (
            "model_config = ConfigDict(extra='forbid')\n    no: str = Field(validation_alias=AliasChoices('a', 'b'))",
            "b",
        ),
        (
            "model_config = ConfigDict(extra='forbid')\n    no: str\n"
            "    @model_validator(mode='before')\n    @classmethod\n"
            "    def read(cls, data: dict[str, str]) -> dict[str, str]:\n        return {'no': data['x']}",
            "x",
        ),
        ("no: str", "no"),
    ],
)
def test_a_model_may_have_other_ways_to_its_fields(directory: Path, module: str, shipment: str, mapping: str) -> None:
    models = f"\nclass Order(BaseModel):\n    n: str\nclass Shipment(BaseModel):\n    {shipment}\n"
    assert in_python(directory, module, models, f", input={{'{mapping}': 'input.n'}}") == []


def test_a_child_that_is_wrong_itself_is_not_asked(directory: Path) -> None:
    [(_, path, _)] = problems(directory, FITTING, child={"type": "array"})
    assert path == "input.type"
