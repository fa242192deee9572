"""Each value of a saga that is wrong is told by itself: its path, what is wrong, and what to write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel, RootModel

from saga_service.core.definition import StepDefinition
from saga_service.definitions import Defaults, DefinitionErrors, Retry, Saga, Step, Trigger, check_saga
from saga_service.definitions.document import definition_from_document
from saga_service.definitions.model import STEPS_MAX

RIGHT_STEP = Step("charge", action="payment.charge")


def problems_of_saga(saga: Saga) -> list[tuple[str, str]]:
    with pytest.raises(DefinitionErrors) as raised:
        check_saga(saga)
    assert all("\n" not in problem.text for problem in raised.value.problems), "a problem is one line"
    return [(problem.path, problem.text) for problem in raised.value.problems]


BAD_STEP_VALUES: list[tuple[dict[str, object], str, str]] = [
    ({"name": "a:b"}, "name", "but is 'a:b'; write 'a-b'"),
    ({"name": "9lives"}, "name", "but is '9lives'; write 'lives'"),
    ({"name": "reserveStock"}, "name", "but is 'reserveStock'; write 'reserve-stock'"),
    ({"name": ""}, "name", "begins with a letter, but is ''"),
    ({"name": 5}, "name", "begins with a letter, but is 5"),
    ({"name": "a" * 101}, "name", "must have at most 100 characters, but has 101"),
    ({"action": "payment.charge.card"}, "action", "but is 'payment.charge.card'"),
    ({"action": "Payment.charge"}, "action", "but is 'Payment.charge'"),
    ({"action": "payment:x.charge"}, "action", "but is 'payment:x.charge'"),
    ({"action": None}, "action", "but is empty"),
    ({"action": ["payment.charge"]}, "action", "but is a list"),
    ({"compensation": False}, "compensation", "but is false"),
    ({"timeout": 0}, "timeout", "must be more than nothing; write how long one attempt may take, such as '30s'"),
    ({"timeout": "2y"}, "timeout", "must be a duration, but is '2y'"),
    ({"timeout": None}, "timeout", "must be a duration, but is empty"),
    ({"compensation_timeout": "400d"}, "compensation_timeout", "must be from 0 to 365d, but is '400d'"),
    (
        {"retry": 3},
        "retry",
        "must be a mapping with the keys attempts, first_delay, factor, max_delay, jitter, budget, never, but is 3",
    ),
    ({"retry": {"attempts": True}}, "retry.attempts", "must be a whole number from 1 to 1000, but is true"),
    ({"retry": {"attempts": 1001}}, "retry.attempts", "but is 1001"),
    ({"retry": {"attempts": 2.5}}, "retry.attempts", "but is 2.5"),
    ({"retry": {"attempts": "3"}}, "retry.attempts", "but is '3'"),
    ({"retry": {"factor": float("nan")}}, "retry.factor", "must be a number from 1 to 100, but is nan"),
    ({"retry": {"factor": 101}}, "retry.factor", "but is 101"),
    ({"retry": {"first_delay": "1m"}}, "retry", "'first_delay' (1m) is above 'max_delay' (30s); write 'max_delay' as"),
    (
        {"retry": {"never": "sold_out"}},
        "retry.never",
        "must be a list of error codes, each a text, but is 'sold_out'; ",
    ),
    ({"retry": {"never": [404]}}, "retry.never", "must be a list of error codes, each a text, but is a list; write ['"),
    ({"retry": {"max_attempts": 3}}, "retry.max_attempts", "is not a known key; here it is 'attempts'"),
    ({"compensation_retry": {"jitter": 1}}, "compensation_retry.jitter", "must be true or false, but is 1"),
    (
        {"retry": {"spread": 1}},
        "retry.spread",
        "is not a known key; known here: attempts, first_delay, factor, max_delay, jitter, budget, never",
    ),
    (
        {"retry": {"budget": 0}},
        "retry.budget",
        "must be more than nothing; write how long there may be new attempts, such as '10m'",
    ),
    ({"retry": {"budget": None}}, "retry.budget", "must be a duration, but is empty"),
    (
        {"timeout": "1m", "heartbeat": 0},
        "heartbeat",
        "must be more than nothing; write how long a worker may be silent",
    ),
    (
        {"kind": "pivotal"},
        "kind",
        "must be one of compensatable, pivot, retriable, but is 'pivotal'; did you mean 'pivot'?",
    ),
    ({"kind": None}, "kind", "must be one of compensatable, pivot, retriable, but is empty"),
    ({"kind": ["pivot"]}, "kind", "must be one of compensatable, pivot, retriable, but is a list"),
    ({"on_unknown": "ask"}, "on_unknown", "must be one of retry, probe, compensate, hold, but is 'ask'"),
    ({"on_unknown": {}}, "on_unknown", "must be one of retry, probe, compensate, hold, but is a mapping"),
    (
        {"after": None},
        "after",
        "must be the name of a step or a list of names, but is empty; write [] to begin at once",
    ),
    ({"after": [5]}, "after", "must be the name of a step or a list of names, but is a list"),
    ({"when": True}, "when", "must be a CEL expression, such as 'input.amount > 100.0', but is true"),
    ({"when": None}, "when", "must be a CEL expression, such as 'input.amount > 100.0', but is empty"),
    ({"input": "input.amount"}, "input", "must be a mapping, such as {amount: input.amount}, but is 'input.amount'"),
    ({"input": None}, "input", "must be a mapping, such as {amount: input.amount}, but is empty"),
    ({"compensate": "payment.refund"}, "compensate", "is not a known key; here it is 'compensation'"),
    ({"depends_on": "x"}, "depends_on", "is not a known key; here it is 'after'"),
    ({"zzz": "x"}, "zzz", "is not a known key; known here: name, action, sleep, signal, saga, compensation, after, "),
    ({"retry": {"never": ["*"]}}, "retry.never", "has no patterns, and '*' is in no code; write 'attempts: 1' for no "),
    ({"retry": {"never": ["a", "card_*"]}}, "retry.never", "has no patterns, and '*' is in no code; write 'attempts: "),
    ({"timeout": 0}, "timeout", "must be more than nothing; write how long one attempt may take, such as '30s'"),
    ({"description": 5}, "description", "must be text for people, but is 5"),
]


@pytest.mark.parametrize(("values", "path", "text"), BAD_STEP_VALUES)
def test_a_wrong_value_of_a_step_is_told_by_itself(values: dict[str, Any], path: str, text: str) -> None:
    written: Any = {"name": "charge", "action": "payment.charge", **values}
    [(told_path, told_text)] = problems_of_saga(Saga("order", steps=[written]))
    assert told_path == f"steps[0].{path}"
    assert text in told_text


BAD_SAGA_VALUES: list[tuple[dict[str, object], str, str]] = [
    ({"name": "order:1"}, "name", "but is 'order:1'; write 'order-1'"),
    ({"steps": "charge"}, "steps", "must be a list, but is 'charge'"),
    (
        {"steps": ["charge"]},
        "steps[0]",
        "must be a mapping with the keys name, action, sleep, signal, saga, compensation, after, ",
    ),
    ({"steps": RIGHT_STEP}, "steps", "must be a list, but is a mapping"),
    (
        {"steps": [Step(f"s{position}", action="a.b") for position in range(STEPS_MAX + 1)]},
        "steps",
        f"must have at most {STEPS_MAX} entries, but has {STEPS_MAX + 1}",
    ),
    ({"deadline": 0}, "deadline", "must be more than nothing; write how long the saga may take, such as '2h'"),
    ({"deadline": "soon"}, "deadline", "must be a duration, but is 'soon'"),
    ({"undo": "backwards"}, "undo", "must be one of reverse, parallel, but is 'backwards'"),
    ({"triggers": {"stream": "a"}}, "triggers", "must be a list, but is a mapping"),
    ({"triggers": ["a"]}, "triggers[0]", "must be a mapping with the keys event_type, stream, group, but is 'a'"),
    ({"triggers": [Trigger()]}, "triggers[0]", "must have either 'event_type' or 'stream', and not both"),
    ({"triggers": [Trigger(stream="a", event_type="b")]}, "triggers[0]", "must have either 'event_type' or 'stream', "),
    ({"triggers": [Trigger(event_type="a", group="g")]}, "triggers[0]", "'group' belongs to a 'stream'; the common"),
    ({"triggers": [Trigger(stream=" ")]}, "triggers[0].stream", "must be text, but is ' '"),
    ({"triggers": [{"topic": "a"}]}, "triggers[0].topic", "is not a known key; here it is 'stream'"),
    (
        {"triggers": [Trigger(event_type="order")]},
        "triggers[0].event_type",
        "is 'order', which starts this saga already; leave this trigger out",
    ),
    (
        {"triggers": [Trigger(stream="a"), Trigger(stream="a", group="g")]},
        "triggers[1].stream",
        "is 'a', which starts this saga already; leave this trigger out",
    ),
    ({"key": 5}, "key", "must be text, but is 5"),
    (
        {"key": "orderid"},
        "key",
        "must be a property of the input, but is 'orderid'; did you mean 'order_id'?",
    ),
    ({"key": "zip"}, "key", "must be a property of the input, but is 'zip'; the input's properties: amount, order_id"),
    ({"key": "amount"}, "key", "must be a property with text or a whole number, but 'amount' is number"),
]


@pytest.mark.parametrize(("values", "path", "text"), BAD_SAGA_VALUES)
def test_a_wrong_value_of_a_saga_is_told_by_itself(values: dict[str, Any], path: str, text: str) -> None:
    schema = {"properties": {"order_id": {"type": "string"}, "amount": {"type": "number"}}}
    right: dict[str, Any] = {"name": "order", "steps": [RIGHT_STEP], "input": schema}
    [(told_path, told_text)] = problems_of_saga(Saga(**{**right, **values}))
    assert told_path == path
    assert text in told_text


class Listing(RootModel[list[str]]):
    pass


class Opaque(BaseModel):
    call: Callable[[], None]


class Reserved(BaseModel):
    outputs: str


BAD_INPUTS: list[tuple[object, str, str]] = [
    ("Order", "input", "must be a JSON Schema or a pydantic model class, but is 'Order'"),
    (date, "input", "must be a JSON Schema or a pydantic model class, but is <class 'datetime.date'>"),
    (Listing, "input", "must be a model with named fields, but Listing is none"),
    (Opaque, "input", "the model Opaque cannot be described as a JSON Schema: "),
    (Reserved, "input.properties.outputs", "is reserved for the results of earlier steps; give the property another"),
    ({"properties": {"outputs": {}}}, "input.properties.outputs", "is reserved for the results of earlier steps; "),
    ({"type": "array"}, "input.type", "must be 'object', since an input has named properties, but is 'array'"),
    ({"properties": {"a": {"type": "list"}}}, "input.properties.a.type", "is no type of JSON Schema: 'list'; known: "),
    ({"properties": {"a": {"minimum": "1"}}}, "input.properties.a.minimum", 'is not of type "number"'),
    ({"required": "a"}, "input.required", 'is not of type "array"'),
    ({"properties": {"a": {"pattern": "("}}}, "input", "is a JSON Schema that cannot be used: "),
    ({"properties": {"a": {"$ref": "#/$defs/None"}}}, "input", "Pointer '/$defs/None' does not exist"),
    ({"properties": {"a": {"$ref": "http://example.com/a"}}}, "input", "Retrieval is disabled"),
    (
        {"$schema": "http://example.com/draft"},
        "input.$schema",
        "Retrieval is disabled, cannot fetch http://example.com/",
    ),
    ({"$schema": 5}, "input.$schema", "names no draft of JSON Schema that is known here: "),
    (
        {"properties": {"a": {"type": "integer", "default": "x"}}},
        "input.properties.a.default",
        'does not fit its own property: "x" is not of type "integer"',
    ),
    ({"properties": {"a": {"default": object()}}}, "input", "must be plain JSON: "),
    ({5: "a"}, "input", "must be plain JSON: "),
]


@pytest.mark.parametrize(("schema", "path", "text"), BAD_INPUTS)
def test_a_wrong_input_schema_is_told_with_the_path_in_it(schema: Any, path: str, text: str) -> None:
    [(told_path, told_text)] = problems_of_saga(Saga("order", input=schema, steps=[RIGHT_STEP]))
    assert told_path == path
    assert text in told_text


def test_a_retry_of_a_compensation_is_held_against_its_own_longer_waits() -> None:
    minute = Retry(first_delay="1m")
    right = Step("charge", action="a.b", compensation="a.c", compensation_retry=minute)
    assert check_saga(Saga("order", steps=[right])).definition.steps[0].compensation_retry.delay_first_ms == 60_000
    wrong = Step("charge", action="a.b", compensation="a.c", compensation_retry=Retry(first_delay="6m"))
    [(path, text)] = problems_of_saga(Saga("order", steps=[wrong]))
    assert path == "steps[0].compensation_retry"
    assert text == "'first_delay' (6m) is above 'max_delay' (5m); write 'max_delay' as well"


def test_an_input_may_be_any_mapping() -> None:
    class Frozen(Mapping[str, Any]):
        def __getitem__(self, name: str) -> Any:
            return {"type": "object"}[name]

        def __iter__(self) -> Any:
            return iter(("type",))

        def __len__(self) -> int:
            return 1

    assert check_saga(Saga("order", input=Frozen(), steps=[RIGHT_STEP])).input.schema == {"type": "object"}


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (Step("a", signal="go", timeout="0s"), "how long the signal is waited for, such as '7d'"),
        (Step("a", saga="child", timeout="0s"), "how long the child saga may take, such as '7d'"),
    ],
)
def test_a_wait_without_length_is_told_in_words_of_its_own(step: Step, told: str) -> None:
    with pytest.raises(DefinitionErrors) as raised:
        check_saga(Saga("order", steps=[step]))
    assert [each.text for each in raised.value.problems] == [f"must be more than nothing; write {told}"]


def step_of(saga: Saga, name: str = "a") -> StepDefinition:
    definition = check_saga(saga).definition
    return definition.steps[definition.positions[name]]


def test_commands_have_the_sagas_own_defaults_where_they_say_nothing() -> None:
    defaults = Defaults(
        retry=Retry(attempts=7, max_delay="10s"),
        timeout="5s",
        compensation_retry=Retry(attempts=20),
        compensation_timeout="9s",
    )
    steps = [
        Step("a", action="b.c", compensation="b.d"),
        Step("own", action="b.c", compensation="b.d", timeout="1s", retry=Retry(attempts=2)),
        Step("plain", action="b.c"),
        Step("wait", signal="go"),
        Step("child", saga="child"),
        Step("late", action="b.c", kind="retriable"),
    ]
    saga = Saga("order", steps=steps, defaults=defaults)
    a, own, wait, late = (step_of(saga, name) for name in ("a", "own", "wait", "late"))
    assert (a.retry.attempts_max, a.retry.delay_max_ms, a.retry.delay_first_ms, a.timeout_ms) == (7, 10_000, 200, 5_000)
    assert (a.compensation_retry.attempts_max, a.compensation_retry.delay_first_ms) == (20, 1_000)
    assert a.compensation_timeout_ms == 9_000
    assert (own.retry.attempts_max, own.retry.delay_max_ms, own.timeout_ms) == (2, 10_000, 1_000)
    assert (wait.timeout_ms, step_of(saga, "child").retry.attempts_max) == (7 * 86_400_000, 1)
    assert (late.retry.attempts_max, late.retry.delay_max_ms, late.timeout_ms) == (1_000, 10_000, 5_000)
    assert step_of(saga, "plain").compensation_timeout_ms == 60_000


def test_defaults_that_are_wrong_are_told_once_and_where_they_stand() -> None:
    steps = [Step("a", action="b.c"), Step("b", action="b.c")]
    with pytest.raises(DefinitionErrors) as raised:
        check_saga(Saga("order", steps=steps, defaults=Defaults(retry=Retry(attempts=0), timeout="soon")))
    assert [each.path for each in raised.value.problems] == ["defaults.retry.attempts", "defaults.timeout"]


def test_a_default_is_held_against_what_a_step_says() -> None:
    saga = Saga("order", steps=[Step("a", action="b.c", heartbeat="10s")], defaults=Defaults(timeout="5s"))
    with pytest.raises(DefinitionErrors, match="is 10s, and must be less than the timeout of 5s"):
        check_saga(saga)


def test_a_description_is_kept_and_changes_no_version() -> None:
    plain = check_saga(Saga("order", steps=[Step("a", action="b.c")]))
    told = check_saga(
        Saga(
            "order", steps=[Step("a", action="b.c", description="Takes the money.")], description="An order,\nat last."
        )
    )
    assert told.version == plain.version
    assert told.document["descriptions"] == {"saga": "An order,\nat last.", "steps": {"a": "Takes the money."}}
    assert "descriptions" not in plain.document
    assert definition_from_document(told.document) == told.definition
