"""What Postgres keeps of a definition drives a saga as the definition itself does, under a version that says all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import orjson
import pytest
from pydantic import BaseModel, Field

from saga_service.core.definition import Definition, StepDefinition, Variables
from saga_service.core.retry import RetryPolicy
from saga_service.core.vocabulary import Kind, OnError, OnUnknown, Task, UndoOrder
from saga_service.definitions import (
    Retry,
    Saga,
    Step,
    Trigger,
    check_saga,
    definition_from_document,
    definition_to_document,
)
from saga_service.definitions.expressions.cel import condition, input_mapping
from saga_service.definitions.schema.json_schema import comparable
from saga_service.definitions.schema.outputs import output_schema
from saga_service.wire.saga_spec import UnreadableDocument

SCHEMA = {
    "type": "object",
    "required": ["order_id", "amount"],
    "properties": {"order_id": {"type": "string"}, "amount": {"type": "number"}},
}
CHARGE = Step(
    "charge",
    action="payment.charge",
    compensation="payment.refund",
    when="input.amount > 100.0",
    input={"amount": "input.amount", "channel": "'web'", "more": [1, {"urgent": True}]},
    retry=Retry(attempts=4, first_delay="1s", factor=1.5, max_delay="1m", budget="10m", never=["declined", "closed"]),
    timeout="30s",
    heartbeat="10s",
    on_unknown="probe",
    probe="payment.find",
    compensation_retry=Retry(attempts=20, jitter=False),
    compensation_timeout="45s",
)
WAIT = Step("approval", signal="order.approved", after=["charge", "ship"], default={"approved": False})
ORDER = Saga(
    "order", input=SCHEMA, key="order_id", steps=[CHARGE, Step("ship", action="shipping.ship"), WAIT], deadline="2h"
)


def version_of(saga: Saga) -> str:
    return check_saga(saga).version


def test_a_definition_comes_back_from_its_document_as_it_was() -> None:
    spec = check_saga(ORDER)
    stored = orjson.loads(orjson.dumps(spec.document))
    assert definition_from_document(stored) == spec.definition


def test_what_an_author_leaves_out_has_its_documented_default() -> None:
    ship = check_saga(ORDER).definition.steps[1]
    assert ship.compensation is None
    assert ship.timeout_ms == ship.compensation_timeout_ms == 60_000
    assert ship.retry == RetryPolicy(3, 200, 2.0, 30_000, frozenset(), jitter=True)
    assert ship.compensation_retry == RetryPolicy(10, 1_000, 2.0, 300_000, frozenset(), jitter=True)
    assert (ship.task, ship.kind, ship.on_unknown) == (Task.COMMAND, Kind.COMPENSATABLE, OnUnknown.RETRY)
    assert [ship.after, ship.when, ship.input, ship.heartbeat_ms, ship.probe, ship.default] == [None] * 6
    definition = check_saga(replace(ORDER, deadline=None)).definition
    assert (definition.deadline_ms, definition.undo) == (None, UndoOrder.REVERSE)


def only_step(**words: Any) -> StepDefinition:
    [step] = check_saga(Saga("order", steps=[Step("a", **words)])).definition.steps
    return step


def test_a_pivot_and_a_retriable_step_have_defaults_of_their_own() -> None:
    assert only_step(action="a.b", kind="pivot").on_unknown is OnUnknown.HOLD
    retriable = only_step(action="a.b", kind="retriable")
    assert retriable.on_unknown is OnUnknown.RETRY
    assert retriable.retry == RetryPolicy(1_000, 200, 2.0, 300_000, jitter=True)
    assert only_step(action="a.b", kind="retriable", retry=Retry(attempts=5)).retry.delay_max_ms == 300_000


def test_a_child_saga_is_tried_once_and_waited_for_a_week() -> None:
    child = only_step(saga="shipment")
    week_ms = 7 * 86_400_000
    assert (child.task, child.action, child.on_unknown) == (Task.CHILD, "shipment", OnUnknown.HOLD)
    assert (child.timeout_ms, child.compensation_timeout_ms) == (week_ms, week_ms)
    assert child.retry.attempts_max == 1
    assert only_step(saga="shipment", kind="retriable").retry.attempts_max == 1_000


def test_a_sleep_and_a_signal_are_their_words_and_no_more() -> None:
    sleep = only_step(sleep="24h")
    assert (sleep.task, sleep.action, sleep.timeout_ms) == (Task.SLEEP, "", 86_400_000)
    signal = only_step(signal="order.approved", default={"approved": False})
    assert (signal.task, signal.action, signal.timeout_ms) == (Task.SIGNAL, "order.approved", 7 * 86_400_000)
    assert signal.default == {"approved": False}
    assert only_step(signal="order.approved", timeout="3d").timeout_ms == 3 * 86_400_000


def test_a_policy_keeps_the_defaults_of_its_place_for_what_it_leaves_out() -> None:
    charge = check_saga(ORDER).definition.steps[0]
    assert charge.retry == RetryPolicy(
        4, 1_000, 1.5, 60_000, frozenset({"declined", "closed"}), jitter=True, budget_ms=600_000
    )
    assert charge.compensation_retry == RetryPolicy(20, 1_000, 2.0, 300_000, frozenset(), jitter=False)
    assert (charge.timeout_ms, charge.compensation_timeout_ms) == (30_000, 45_000)


def test_a_version_is_twelve_hexadecimal_digits_and_never_moves_by_itself() -> None:
    assert version_of(ORDER) == version_of(ORDER) == "1fa1a1cfadea"


def with_step(**changes: Any) -> Saga:
    return replace(ORDER, steps=[replace(CHARGE, **changes), *ORDER.steps[1:]])


def with_wait(**changes: Any) -> Saga:
    return replace(ORDER, steps=[*ORDER.steps[:2], replace(WAIT, **changes)])


INPUT: dict[str, Any] = {"amount": "input.amount", "channel": "'web'", "more": [1, {"urgent": True}]}
STEERING: list[Saga] = [
    replace(ORDER, name="order2"),
    replace(ORDER, key=None),
    replace(ORDER, input={**SCHEMA, "required": ["amount"]}),
    replace(ORDER, steps=[ORDER.steps[1], CHARGE, WAIT]),
    replace(ORDER, steps=ORDER.steps[:2]),
    replace(ORDER, deadline="3h"),
    replace(ORDER, deadline=None),
    replace(ORDER, undo="parallel"),
    replace(ORDER, steps=[replace(CHARGE, name="charge2"), ORDER.steps[1], replace(WAIT, after=["charge2", "ship"])]),
    with_step(action="payment.charge2"),
    with_step(compensation=None),
    with_step(on_error="failed"),
    with_step(timeout="31s"),
    with_step(compensation_timeout="46s"),
    with_step(retry=Retry(attempts=5)),
    with_step(retry=replace(CHARGE.retry or Retry(), factor=1.6)),
    with_step(retry=replace(CHARGE.retry or Retry(), never=["declined"])),
    with_step(retry=replace(CHARGE.retry or Retry(), jitter=False)),
    with_step(retry=replace(CHARGE.retry or Retry(), budget="11m")),
    with_step(compensation_retry=Retry(attempts=21)),
    with_step(compensation_retry=Retry(attempts=20)),
    with_step(when="input.amount > 100.5"),
    with_step(when=None),
    with_step(input={**INPUT, "amount": "input.amount * 2.0"}),
    with_step(input={**INPUT, "more": [1, {"urgent": False}]}),
    with_step(input={**INPUT, "more": [True, {"urgent": True}]}),
    with_step(input=None),
    with_step(kind="retriable"),
    with_step(heartbeat="11s"),
    with_step(on_unknown=None, probe=None),
    with_step(on_unknown="hold", probe=None),
    with_step(probe="payment.find2"),
    with_step(output={}),
    with_step(output={"properties": {"place": {"type": "string"}}}),
    with_step(output={"properties": {"place": {"type": "string"}}, "required": ["place"]}),
    with_wait(after=["ship"]),
    with_wait(after=["charge"]),
    with_wait(after=[]),
    with_wait(default=None),
    with_wait(default={"approved": True}),
    with_wait(signal="order.approved2"),
    with_wait(timeout="8d"),
    with_wait(signal=None, default=None, saga="order-approved"),
    with_wait(signal=None, default=None, sleep="1h"),
]


def test_each_change_of_what_steers_a_saga_is_a_version_of_its_own() -> None:
    versions = [version_of(saga) for saga in (ORDER, *STEERING)]
    assert len(set(versions)) == len(versions)


@pytest.mark.parametrize(
    "saga",
    [
        replace(ORDER, triggers=[Trigger(stream="orders")]),
        replace(ORDER, input={**SCHEMA, "title": "Order", "description": "x", "additionalProperties": True}),
        replace(ORDER, input={**SCHEMA, "required": ["amount", "order_id"]}),
        with_step(timeout=30),
        with_step(retry=replace(CHARGE.retry or Retry(), never=["closed", "declined", "closed"])),
        with_step(compensation_retry=Retry(attempts=20, factor=2, first_delay=1, max_delay="300s", jitter=False)),
        with_step(retry=replace(CHARGE.retry or Retry(), jitter=True)),
        with_step(when=" input.amount > 100.0\n", kind="compensatable"),
        with_step(input={"channel": "'web'", "amount": "input.amount ", "more": [1.0, {"urgent": True}]}),
        with_step(after=[]),
        with_wait(after=("ship", "charge")),
        with_wait(timeout="168h"),
        replace(ORDER, undo="reverse", deadline=7200),
        replace(ORDER, steps=[CHARGE, replace(ORDER.steps[1], after="charge"), WAIT]),
        replace(ORDER, steps=[CHARGE, replace(ORDER.steps[1], after=["charge"], on_unknown="retry"), WAIT]),
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
            "the definition has document format 2, and this release reads 1; run a release that is at least",
        ),
        (without("format"), "the definition has document format None, and this release reads 1; "),
        (lambda document: document.update(format=[]), "the definition has document format [], and this release reads"),
        (
            lambda document: document.update(undo="up"),
            "the stored definition is damaged: ValueError: 'up' is not a val",
        ),
        (
            lambda document: document["steps"][0].update(when="input.("),
            "the stored definition is damaged: InvalidExpression: column 7: ",
        ),
        (
            lambda document: document["steps"][2].update(after=["nobody"]),
            "the stored definition is damaged: KeyError: 'nobody'",
        ),
        (
            lambda document: document["steps"][0].update(input=["input.a"]),
            "the stored definition is damaged: AttributeError: ",
        ),
    ],
)
def test_a_document_that_cannot_be_read_says_why(change: Callable[[dict[str, Any]], None], text: str) -> None:
    document = deepcopy(dict(check_saga(ORDER).document))
    change(document)
    with pytest.raises(UnreadableDocument) as raised:
        definition_from_document(document)
    assert str(raised.value).startswith(text)


@dataclass(frozen=True)
class Foreign:
    def evaluate(self, variables: Variables) -> bool:
        return not variables

    def read(self, output: Mapping[str, Any]) -> Mapping[str, Any]:
        return output


def test_only_what_was_read_here_can_be_stored() -> None:
    for step, text in (
        (
            StepDefinition(name="a", action="b.c", when=Foreign()),
            "only a condition in CEL can be stored, and this is Fo",
        ),
        (
            StepDefinition(name="a", action="b.c", input=Foreign()),
            "only a mapping in CEL can be stored, and this is For",
        ),
        (StepDefinition(name="a", action="b.c", output=Foreign()), "only a JSON Schema can be stored, and this is For"),
    ):
        with pytest.raises(TypeError, match=text):
            definition_to_document("order", (step,), {}, None)


STORED: dict[str, Any] = {
    "format": 1,
    "saga": "order",
    "key": "order_id",
    "input": {"type": "object"},
    "deadline_ms": None,
    "undo": "reverse",
    "steps": [
        {
            "name": "charge",
            "task": "command",
            "action": "payment.charge",
            "compensation": "payment.refund",
            "after": None,
            "when": "input.amount > 100.0",
            "input": {"amount": "input.amount"},
            "kind": "compensatable",
            "retry": {
                "attempts_max": 4,
                "delay_first_ms": 1000,
                "delay_factor": 1.5,
                "delay_max_ms": 60000,
                "never_retry": ["closed"],
                "jitter": True,
                "budget_ms": 600000,
            },
            "timeout_ms": 30000,
            "heartbeat_ms": 10000,
            "on_unknown": "probe",
            "on_error": "unknown",
            "probe": "payment.find",
            "compensation_retry": {
                "attempts_max": 20,
                "delay_first_ms": 1000,
                "delay_factor": 2,
                "delay_max_ms": 300000,
                "never_retry": [],
                "jitter": False,
                "budget_ms": None,
            },
            "compensation_timeout_ms": 45000,
            "default": None,
            "output": {"type": "object"},
        }
    ],
    "version": "0123456789ab",
}
"""A document as it lies in Postgres. Every later release has to drive its sagas: change the format, never this."""


def test_a_stored_document_drives_its_sagas_as_it_did_when_it_was_stored() -> None:
    assert definition_from_document(STORED) == Definition(
        "order",
        "0123456789ab",
        (
            StepDefinition(
                name="charge",
                action="payment.charge",
                compensation="payment.refund",
                when=condition("input.amount > 100.0"),
                input=input_mapping({"amount": "input.amount"}),
                retry=RetryPolicy(4, 1_000, 1.5, 60_000, frozenset({"closed"}), jitter=True, budget_ms=600_000),
                timeout_ms=30_000,
                heartbeat_ms=10_000,
                on_unknown=OnUnknown.PROBE,
                on_error=OnError.UNKNOWN,
                probe="payment.find",
                compensation_retry=RetryPolicy(20, 1_000, 2.0, 300_000, jitter=False),
                compensation_timeout_ms=45_000,
                output=output_schema({"type": "object"}),
            ),
        ),
    )


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


def test_an_unforeseen_exception_is_unknown_where_there_is_something_to_undo_and_where_it_is_written() -> None:
    assert only_step(action="a.b", compensation="a.c").on_error is OnError.UNKNOWN
    assert only_step(action="a.b").on_error is OnError.FAILED
    assert only_step(action="a.b", compensation="a.c", on_error="failed").on_error is OnError.FAILED
    assert only_step(action="a.b", kind="pivot", on_error="unknown").on_error is OnError.UNKNOWN
