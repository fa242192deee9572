"""Expressions are tried when they are read: on inputs and outputs such as the definition allows, as far as that is
known. What may be right is accepted; what fails for some saga that may come is told, with what to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from saga_service.definitions import DefinitionErrors, Saga, Step, check_saga, load_definitions
from saga_service.definitions.problems import Problem

INPUT: dict[str, Any] = {
    "type": "object",
    "required": ["n", "amount", "maybe", "flag", "level", "text"],
    "properties": {
        "n": {"type": "integer"},
        "amount": {"type": "number"},
        "maybe": {"type": ["integer", "null"]},
        "flag": {"type": "boolean"},
        "level": {"enum": [1, "all"]},
        "text": {"type": "string"},
        "note": {"type": "string"},
        "with-dash": {"type": "string"},
        "colour": {"type": "string", "default": "red"},
        "anything": {},
        "customer": {"type": "object", "properties": {"name": {"type": "string"}, "since": {"type": "string"}}},
        "items": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string"}}}},
    },
}
QUOTE: dict[str, Any] = {
    "required": ["price", "count", "ok", "by"],
    "properties": {
        "price": {"type": "number"},
        "count": {"type": "integer"},
        "ok": {"type": "boolean"},
        "by": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "note": {"type": "string"},
        "place": {"type": "object", "required": ["town"], "properties": {"town": {"type": "string"}}},
        "tree": {"$ref": "#/$defs/tree"},
        "free": {},
    },
    "$defs": {
        "tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}, "size": {"type": "integer"}}}
    },
}
NO_MIXING = (
    "CEL does not mix whole numbers with numbers that have a point, nor either with text; "
    "write double(...), int(...) or string(...), or 1.0 in place of 1"
)


def saga_with(text: str, *, when: str | None = None, as_condition: bool = False, schema: Any = INPUT) -> Saga:
    """The step `me` waits for: `quote`, whose output is known, `free`, whose output is not, `plan-route`, likewise; a
    step that is left out by the input, and one by what `free` returns; and a signal with a default."""
    words: dict[str, Any] = {"when": text} if as_condition else {"when": when, "input": {"x": text}}
    return Saga("order", input=schema, steps=[
        Step("quote", action="a.quote", output=QUOTE),
        Step("free", action="a.free"),
        Step("plan-route", action="a.plan", when="input.flag"),
        Step("by_input", action="a.b", when="input.flag", output=QUOTE),
        Step("by_free", action="a.b", when="outputs.free.ok"),
        Step("approval", signal="approved", default={"approved": False, "n": 1}),
        Step("me", action="a.me", **words),
    ])  # fmt: skip


def told(text: str, **how: Any) -> list[str]:
    with pytest.raises(DefinitionErrors) as raised:
        check_saga(saga_with(text, **how))
    place = "steps[6].when" if how.get("as_condition") else "steps[6].input.x"
    assert {problem.path for problem in raised.value.problems} == {place}
    return [problem.text for problem in raised.value.problems]


def is_right(text: str, **how: Any) -> bool:
    return bool(check_saga(saga_with(text, **how)).version)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "input.n * 1.5 > 2.0 && outputs.free.ok",
            f"'input.n * 1.5 > 2.0': the types do not fit; {NO_MIXING}; tried with input.n = 1",
        ),
        (
            "outputs.free.ok && input.n * 1.5 > 2.0",
            f"'input.n * 1.5 > 2.0': the types do not fit; {NO_MIXING}; tried with input.n = 1",
        ),
        (
            "outputs.free.ok ? input.n + 1 : input.n + 'x'",
            f"'input.n + 'x'': the types do not fit; {NO_MIXING}; tried with input.n = 1",
        ),
        (
            "outputs.free.items.map(i, i + input.n * 1.5)",
            f"'input.n * 1.5': the types do not fit; {NO_MIXING}; tried with input.n = 1",
        ),
        (
            "[outputs.free.x, {'a': input.maybe + 1}]",
            f"'{{'a': input.maybe + 1}}': there is no null + int; {NO_MIXING}; tried with input.maybe = null",
        ),
        (
            "outputs.free.x + (input.level + 1)",
            f"""'(input.level + 1)': there is no string + int; {NO_MIXING}; tried with input.level = "all\"""",
        ),
        (
            "outputs.free.x > 1 || size(input.n) > 1",
            "'size(input.n) > 1': there is no function 'size' for values of these types; tried with input.n = 1",
        ),
        (
            "input.flag ? outputs.free.x : input.maybe + 1",
            f"'input.maybe + 1': there is no null + int; {NO_MIXING}; tried with input.maybe = null",
        ),
        ("outputs.free.x + 1 / 0", "'1 / 0': divides by zero"),
        (
            "input.n * 1.5 + double(outputs.free.x) + 1.0 + 2.0",
            f"'input.n * 1.5': the types do not fit; {NO_MIXING}; tried with input.n = 1",
        ),
    ],
)
def test_a_part_that_speaks_of_the_input_alone_is_tried_by_itself(text: str, problem: str) -> None:
    assert told(text) == [problem]


@pytest.mark.parametrize(
    "text",
    [
        "outputs.free.ok && input.maybe + 1 > 2",
        "outputs.free.has_it ? input.maybe + 1 : 0",
        "outputs.free.is_one && input.level + 1 > 1",
        "input.maybe != null && input.maybe + 1 > outputs.free.x",
        "input.maybe == null ? outputs.free.x : outputs.free.x + input.maybe + 1",
        "input.maybe == null || input.maybe + 1 > outputs.free.x",
        "type(input.level) == int ? outputs.free.x + input.level * 2 : input.level + outputs.free.y",
        "type(outputs.free.x) == int ? outputs.free.x : int(outputs.free.x)",
        "size(bytes(input.text)) + outputs.free.x",
        "timestamp(outputs.free.at) - duration('1h') > timestamp(input.text)",
        "outputs.free.items.map(i, i * 2)",
        "outputs.free.items.filter(i, i.n > input.n).map(i, i.n)",
        "outputs.free.x + 1 / input.n",
        "input.anything * 2 + outputs.free.x",
        "outputs.free.x[input.text]",
        "(" * 45 + "outputs.free.x" + ")" * 45,
        "outputs.free.x" + " + 1" * 400,
        " && ".join(["outputs.free.x > 1"] * 90),
    ],
)
def test_what_may_be_right_is_right(text: str) -> None:
    schema = {**INPUT, "required": [*INPUT["required"], "anything"]}
    assert is_right(text, schema=schema)


def test_a_condition_is_one_in_each_of_its_parts() -> None:
    assert told("input.n && outputs.free.ok", as_condition=True) == [
        "must give true or false, but 'input.n' gives 1; tried with input.n = 1"
    ]
    assert told("outputs.free.ok ? input.text : true", as_condition=True) == [
        """must give true or false, but 'input.text' gives "some text"; tried with input.text = "some text\""""
    ]
    assert is_right("outputs.free.ok ? input.flag : outputs.free.other", as_condition=True)


@pytest.mark.parametrize(
    ("when", "text"),
    [
        ("input.maybe != null", "input.maybe + 1"),
        ("has(input.note)", "input.note"),
        ("has(input.note) && outputs.free.ok", "input.note + 'x'"),
        ("outputs.free.has_note", "input.note"),
        ("input.flag", "outputs.by_input.count"),
        ("has(outputs.by_free)", "outputs.by_free.x"),
        ("outputs.free.ok", "outputs.by_free.x"),
        ("outputs.approval.approved", "outputs.approval.name"),
    ],
)
def test_what_a_step_is_sent_is_tried_where_its_condition_may_be_true(when: str, text: str) -> None:
    assert is_right(text, when=when)


@pytest.mark.parametrize("when", ["input.n > 0", "!has(input.note)"])
def test_a_condition_that_does_not_help_is_seen_through(when: str) -> None:
    [problem] = told("input.note", when=when)
    assert problem.startswith("refers to 'input.note', and 'note' may be missing")


MISSING_IN_INPUT = "may be missing: it is not among 'required', and has no default; ask first:"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "input.note",
            f"refers to 'input.note', and 'note' {MISSING_IN_INPUT} has(input.note) ? input.note : …",
        ),
        (
            "input.note + outputs.free.x",
            f"refers to 'input.note', and 'note' {MISSING_IN_INPUT} has(input.note) ? input.note : …",
        ),
        (
            "input.anything.of.any.kind",
            f"refers to 'input.anything', and 'anything' {MISSING_IN_INPUT} has(input.anything) ? input.anything : …",
        ),
        (
            'input["with-dash"]',
            """refers to 'input["with-dash"]', and 'with-dash' """
            f"""{MISSING_IN_INPUT} "with-dash" in input ? input["with-dash"] : …""",
        ),
        (
            "has(input.customer) ? input.customer.name : ''",
            f"refers to 'input.customer.name', and 'name' {MISSING_IN_INPUT} "
            "has(input.customer.name) ? input.customer.name : …",
        ),
        (
            "has(input.customer.name) ? input.customer.name : ''",
            f"refers to 'input.customer', and 'customer' {MISSING_IN_INPUT} has(input.customer) ? input.customer : …",
        ),
        (
            "has(input.items) ? input.items.map(i, i.sku) : []",
            "'has(input.items) ? input.items.map(i, i.sku) : []': there is no 'sku'; "
            "ask has(...) first where it may be missing; tried with input.items = [{}]",
        ),
        (
            "outputs.quote.note",
            "refers to 'outputs.quote.note', and 'note' may be missing: it is not among 'required'; "
            "ask first: has(outputs.quote.note) ? outputs.quote.note : …",
        ),
        (
            "outputs.by_input.ok",
            "refers to 'outputs.by_input', and 'by_input' has no output where its 'when' is false; "
            "ask first: has(outputs.by_input) ? outputs.by_input : …",
        ),
        (
            "outputs.by_free.x",
            "refers to 'outputs.by_free', and 'by_free' has no output where its 'when' is false; "
            "ask first: has(outputs.by_free) ? outputs.by_free : …",
        ),
        (
            'outputs["plan-route"].hops',
            """refers to 'outputs["plan-route"]', and 'plan-route' has no output where its 'when' is false; """
            """ask first: "plan-route" in outputs ? outputs["plan-route"] : …""",
        ),
        (
            "outputs.approval.by",
            "refers to 'outputs.approval.by', and the 'default' of 'approval' has no 'by'; "
            "ask first: has(outputs.approval.by) ? outputs.approval.by : …",
        ),
    ],
)
def test_what_may_be_missing_is_asked_for_first(text: str, problem: str) -> None:
    assert told(text) == [problem]


def test_a_condition_is_told_what_to_write_before_it() -> None:
    assert told("input.note == 'x'", as_condition=True) == [
        f"refers to 'input.note', and 'note' {MISSING_IN_INPUT} has(input.note) && …"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "has(input.note) ? input.note : ''",
        "has(input.note) && input.note == 'x'",
        "input.note == 'x' && has(input.note)",
        "!has(input.note) || input.note == outputs.free.x",
        '"with-dash" in input ? input["with-dash"] : ""',
        "input.colour",
        "has(input.customer) && has(input.customer.name) ? input.customer.name : ''",
        "has(input.items) ? input.items.map(i, has(i.sku) ? i.sku : '') : []",
        "has(outputs.by_input) ? outputs.by_input.count : 0",
        "has(outputs.by_free) ? outputs.by_free.x : 0",
        "input.flag ? outputs.by_input.count : 0",
        "outputs.free.ok ? outputs.by_free.x : 0",
        "input.flag && outputs.by_free.x",
        '"plan-route" in outputs ? outputs["plan-route"].hops : 0',
        "outputs.approval.approved",
        "outputs.approval.approved ? outputs.approval.by : ''",
        "has(outputs.approval.by) ? outputs.approval.by : ''",
        "outputs.approval.n + 1",
        "outputs.free.note",
        "outputs.quote.free.x + 1",
    ],
)
def test_what_is_asked_for_first_is_right(text: str) -> None:
    schema = {**QUOTE, "required": [*QUOTE["required"], "free"]}
    saga = saga_with(text)
    steps = [Step("quote", action="a.quote", output=schema), *saga.steps[1:]]
    assert check_saga(Saga("order", input=INPUT, steps=steps)).version


def test_a_model_is_stored_with_all_of_its_fields() -> None:
    class Item(BaseModel):
        price: float = 0.0
        tags: list[str] = Field(default_factory=list)

    class Order(BaseModel):
        n: int = 1
        note: str | None = None
        flag: bool = True
        items: list[Item] = Field(default_factory=list)

    assert is_right("input.n + 1", schema=Order)
    assert is_right("input.items.map(i, i.price * 2.0)", schema=Order)
    assert is_right("input.items.map(i, size(i.tags))", schema=Order)
    [problem] = told("input.note + 'x'", schema=Order)
    assert "there is no null + string" in problem or "the types do not fit" in problem


@pytest.mark.parametrize(
    "words",
    [
        {"anyOf": [{"required": ["note"]}, {"required": ["colour"]}]},
        {"if": {"properties": {"n": {"const": 1}}}, "then": {"required": ["note"]}},
        {"dependentRequired": {"n": ["note"]}},
        {"minProperties": 5},
        {"allOf": [{"required": ["note"]}]},
    ],
)
def test_where_other_words_may_ask_for_a_property_it_counts_as_there(words: dict[str, Any]) -> None:
    assert is_right("input.note", schema={**INPUT, **words})


def test_of_alternatives_each_is_tried_by_itself() -> None:
    either = {
        "oneOf": [
            {
                "type": "object",
                "required": ["kind", "v"],
                "properties": {"kind": {"const": "n"}, "v": {"type": "integer"}},
            },
            {
                "type": "object",
                "required": ["kind", "v"],
                "properties": {"kind": {"const": "t"}, "v": {"type": "string"}},
            },
        ]
    }
    schema = {**INPUT, "properties": {**INPUT["properties"], "e": either}, "required": [*INPUT["required"], "e"]}
    assert is_right("input.e.kind == 'n' ? input.e.v + 1 : size(input.e.v)", schema=schema)
    [problem] = told("input.e.v + 1", schema=schema)
    assert "there is no string + int" in problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "outputs.quote.prise",
            "refers to 'outputs.quote.prise', and 'outputs.quote' has no 'prise'; did you mean 'price'?",
        ),
        (
            "has(outputs.quote.place) ? outputs.quote.place.twon : ''",
            "refers to 'outputs.quote.place.twon', and 'outputs.quote.place' has no 'twon'; did you mean 'town'?",
        ),
        (
            "outputs.quote.count * 1.5",
            f"'outputs.quote.count * 1.5': the types do not fit; {NO_MIXING}; tried with outputs.quote.count = 1",
        ),
        (
            "outputs.quote.price + 1",
            f"'outputs.quote.price + 1': there is no float + int; {NO_MIXING}; tried with outputs.quote.price = 1.5",
        ),
        (
            "outputs.quote.by + 'x'",
            f"'outputs.quote.by + 'x'': there is no null + string; {NO_MIXING}; tried with outputs.quote.by = null",
        ),
        (
            "has(outputs.quote.tree) && has(outputs.quote.tree.size) ? outputs.quote.tree.size + 'x' : ''",
            "",
        ),
        (
            "has(outputs.quote.place) ? outputs.quote.place.map(k, k) : []",
            "makes a list of the keys of 'outputs.quote.place', which have no order: "
            "the same saga would not always have the same list; name the keys one by one",
        ),
    ],
)
def test_an_output_is_known_as_an_input_is(text: str, problem: str) -> None:
    [found] = told(text)
    assert found == problem or (not problem and "the types do not fit" in found)


def test_an_output_of_a_model_is_known_as_it_is_kept() -> None:
    """With its defaults, and with its numbers in the declared types."""

    class Quoted(BaseModel):
        price: float
        note: str = ""

    def order(text: str) -> Saga:
        return Saga("order", steps=[Step("quote", action="a.b", output=Quoted), Step("me", action="a.b", when=text)])

    assert check_saga(order("outputs.quote.price * 2.0 > 1.0")).version
    assert check_saga(order("outputs.quote.note == 'x'")).version
    with pytest.raises(DefinitionErrors, match=r"'outputs\.quote\.price \+ 1 > 0'"):
        check_saga(order("outputs.quote.price + 1 > 0"))


CHILD = """
name: shipment
steps:
  - {name: pack, action: a.pack, output: {required: [boxes], properties: {boxes: {type: integer}}}}
  - {name: rest, sleep: 1h}
  - {name: insure, action: a.insure, when: input.dear}
  - {name: collect, action: a.collect}
  - {name: inner, saga: leaf}
---
name: leaf
steps: [{name: grow, action: a.grow, output: {required: [cm], properties: {cm: {type: integer}}}}]
---
"""


def problems_of_parent(directory: Path, text: str) -> list[Problem]:
    parent = (
        "name: order\ninput: {required: [dear], properties: {dear: {type: boolean}}}\nsteps:\n"
        f'  - {{name: ship, saga: shipment}}\n  - {{name: me, action: a.me, input: {{x: "{text}"}}}}\n'
    )
    (directory / "a.yaml").write_text(CHILD + parent)
    try:
        load_definitions(["a.yaml"])
    except DefinitionErrors as errors:
        return list(errors.problems)
    return []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "outputs.ship.pakc.boxes",
            "refers to 'outputs.ship.pakc', and 'outputs.ship' has no 'pakc'; did you mean 'pack'?",
        ),
        (
            "outputs.ship.rest",
            "refers to 'outputs.ship.rest', and 'outputs.ship' has no 'rest'; "
            "its properties: pack, insure, collect, inner",
        ),
        (
            "outputs.ship.pack.boxs",
            "refers to 'outputs.ship.pack.boxs', and 'outputs.ship.pack' has no 'boxs'; did you mean 'boxes'?",
        ),
        (
            "outputs.ship.pack.boxes * 1.5",
            f"'outputs.ship.pack.boxes * 1.5': the types do not fit; {NO_MIXING}; "
            "tried with outputs.ship.pack.boxes = 1",
        ),
        (
            "outputs.ship.inner.grwo",
            "refers to 'outputs.ship.inner.grwo', and 'outputs.ship.inner' has no 'grwo'; did you mean 'grow'?",
        ),
        (
            "outputs.ship.insure.policy",
            "refers to 'outputs.ship.insure', and the step 'insure' of the saga 'shipment' has no output where its "
            "'when' is false; ask first: has(outputs.ship.insure) ? outputs.ship.insure : …",
        ),
    ],
)
def test_a_child_returns_what_its_steps_return_by_their_names(directory: Path, text: str, problem: str) -> None:
    [found] = problems_of_parent(directory, text)
    assert (found.place, found.path, found.text) == ("a.yaml:17", "steps[1].input.x", problem)


@pytest.mark.parametrize(
    "text",
    [
        "outputs.ship.pack.boxes + 1",
        "outputs.ship.collect.anything.at.all",
        "outputs.ship.inner.grow.cm * 2",
        "has(outputs.ship.insure) ? outputs.ship.insure.policy : ''",
        "input.dear ? outputs.ship.insure.policy : ''",
    ],
)
def test_what_a_child_may_return_is_right(directory: Path, text: str) -> None:
    assert problems_of_parent(directory, text) == []


def test_a_saga_that_is_its_own_descendant_comes_to_an_end(directory: Path) -> None:
    (directory / "a.yaml").write_text(
        "name: one\nsteps: [{name: a, saga: one}, {name: b, action: c.d, when: outputs.a.a.a.a.b.ok}]\n"
    )
    with pytest.raises(DefinitionErrors, match="starts itself over again: one -> one"):
        load_definitions(["a.yaml"])
