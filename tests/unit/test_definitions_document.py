"""What Postgres keeps of a definition drives a saga as the definition itself does, under a version that says all."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import orjson
import pytest
from pydantic import BaseModel, Field

from saga_service.core.definition import RetryPolicy
from saga_service.definitions import (
    Retry,
    Saga,
    Step,
    Trigger,
    UnreadableDocument,
    check_saga,
    definition_from_document,
)
from saga_service.definitions.schema import comparable

SCHEMA = {"type": "object", "properties": {"order_id": {"type": "string"}, "amount": {"type": "number"}}}
CHARGE = Step(
    "charge",
    action="payment.charge",
    compensation="payment.refund",
    retry=Retry(attempts=4, first_delay="1s", factor=1.5, max_delay="1m", never=["declined", "closed"]),
    timeout="30s",
    compensation_retry=Retry(attempts=20),
    compensation_timeout="45s",
)
ORDER = Saga("order", input=SCHEMA, key="order_id", steps=[CHARGE, Step("ship", action="shipping.ship")])


def version_of(saga: Saga) -> str:
    return check_saga(saga).version


def test_a_definition_comes_back_from_its_document_as_it_was() -> None:
    blueprint = check_saga(ORDER)
    stored = orjson.loads(orjson.dumps(blueprint.document))
    assert definition_from_document(stored) == blueprint.definition


def test_what_an_author_leaves_out_has_its_documented_default() -> None:
    ship = check_saga(ORDER).definition.steps[1]
    assert ship.compensation is None
    assert ship.timeout_ms == ship.compensation_timeout_ms == 60_000
    assert ship.retry == RetryPolicy(3, 200, 2.0, 30_000, frozenset())
    assert ship.compensation_retry == RetryPolicy(10, 1_000, 2.0, 300_000, frozenset())


def test_a_policy_keeps_the_defaults_of_its_place_for_what_it_leaves_out() -> None:
    charge = check_saga(ORDER).definition.steps[0]
    assert charge.retry == RetryPolicy(4, 1_000, 1.5, 60_000, frozenset({"declined", "closed"}))
    assert charge.compensation_retry == RetryPolicy(20, 1_000, 2.0, 300_000, frozenset())
    assert (charge.timeout_ms, charge.compensation_timeout_ms) == (30_000, 45_000)


def test_a_version_is_twelve_hexadecimal_digits_and_never_moves_by_itself() -> None:
    assert version_of(ORDER) == version_of(ORDER) == "27479e276ad2"


def with_step(**changes: Any) -> Saga:
    return replace(ORDER, steps=[replace(CHARGE, **changes), *ORDER.steps[1:]])


STEERING: list[Saga] = [
    replace(ORDER, name="order2"),
    replace(ORDER, key=None),
    replace(ORDER, input={**SCHEMA, "required": ["order_id"]}),
    replace(ORDER, steps=list(reversed(ORDER.steps))),
    replace(ORDER, steps=ORDER.steps[:1]),
    with_step(name="charge2"),
    with_step(action="payment.charge2"),
    with_step(compensation=None),
    with_step(timeout="31s"),
    with_step(compensation_timeout="46s"),
    with_step(retry=Retry(attempts=5)),
    with_step(retry=replace(CHARGE.retry or Retry(), factor=1.6)),
    with_step(retry=replace(CHARGE.retry or Retry(), never=["declined"])),
    with_step(compensation_retry=Retry(attempts=21)),
]


def test_each_change_of_what_steers_a_saga_is_a_version_of_its_own() -> None:
    versions = [version_of(saga) for saga in (ORDER, *STEERING)]
    assert len(set(versions)) == len(versions)


@pytest.mark.parametrize(
    "saga",
    [
        replace(ORDER, triggers=[Trigger(stream="orders")]),
        replace(ORDER, input={**SCHEMA, "title": "Order", "description": "x", "additionalProperties": True}),
        replace(ORDER, input={**SCHEMA, "required": []}),
        with_step(timeout=30),
        with_step(retry=replace(CHARGE.retry or Retry(), never=["closed", "declined", "closed"])),
        with_step(compensation_retry=Retry(attempts=20, factor=2, first_delay=1, max_delay="300s")),
    ],
)
def test_what_does_not_steer_a_saga_leaves_its_version(saga: Saga) -> None:
    assert version_of(saga) == version_of(ORDER)


def without(*path: str | int) -> Callable[[dict[str, Any]], None]:
    def change(document: Any) -> None:
        for part in path[:-1]:
            document = document[part]
        del document[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (without("version"), "the stored definition is damaged: KeyError: 'version'"),
        (without("steps", 0, "retry", "attempts_max"), "the stored definition is damaged: KeyError: 'attempts_max'"),
        (lambda document: document.update(steps=5), "the stored definition is damaged: TypeError: "),
        (
            lambda document: document.update(format=2),
            "the definition has document format 2, and this release reads 1; ",
        ),
        (without("format"), "the definition has document format None, and this release reads 1; run a release that is"),
    ],
)
def test_a_document_that_cannot_be_read_says_why(change: Callable[[dict[str, Any]], None], text: str) -> None:
    document = deepcopy(dict(check_saga(ORDER).document))
    change(document)
    with pytest.raises(UnreadableDocument) as raised:
        definition_from_document(document)
    assert str(raised.value).startswith(text)


# ------------------------------------------------------------------------------------- a schema that can be compared


class Inner(BaseModel):
    """Read by people only."""

    title: str
    weight: float = Field(gt=0)


class Node(BaseModel):
    children: list[Node] = []


class Outer(BaseModel):
    inner: Inner = Field(description="also for people")
    more: list[Inner] = Field(default=[], title="More")
    tree: Node | None = None


def test_the_schema_of_a_model_is_that_of_a_person() -> None:
    inner = {
        "type": "object",
        "properties": {"title": {"type": "string"}, "weight": {"type": "number", "exclusiveMinimum": 0}},
        "required": ["title", "weight"],
    }
    by_hand = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["inner"],
        "properties": {
            "more": {"type": "array", "items": inner, "default": []},
            "inner": {"$ref": "#/$defs/inner"},
            "tree": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}], "default": None},
        },
        "$defs": {
            "inner": inner,
            "Node": {
                "type": "object",
                "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/Node"}, "default": []}},
            },
        },
    }
    assert comparable(Outer.model_json_schema()) == comparable(by_hand)


def test_a_schema_that_refers_to_itself_keeps_its_references() -> None:
    plain = comparable(Node.model_json_schema())
    assert plain == comparable(plain)
    assert plain["$ref"] == "#/$defs/Node"
    assert plain["$defs"]["Node"]["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}


def test_a_property_may_be_called_like_a_word_of_the_schema() -> None:
    schema = {"properties": {"title": {"title": "x", "enum": ["title"]}, "required": {"type": ["null", "integer"]}}}
    assert comparable(schema) == {
        "properties": {"required": {"type": ["integer", "null"]}, "title": {"enum": ["title"]}}
    }
