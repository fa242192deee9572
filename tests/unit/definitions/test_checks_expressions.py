"""Checks of expressions and mappings: each one broken, with the path and the whole text of its problem."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from saga_service.definitions import Step
from tests.support.checked_sagas import SCHEMA, command, problems_of, right

NO_MIXING = (
    "CEL does not mix whole numbers with numbers that have a point, nor either with text; "
    "write double(...), int(...) or string(...), or 1.0 in place of 1"
)
ORDER_OF_KEYS = "which have no order: the same saga would not always have the same list; name the keys one by one"
PROPERTIES = ", ".join(sorted(SCHEMA["properties"]))

WRONG_INPUTS: list[tuple[str, str]] = [
    (
        "web shop",
        "is no CEL expression: column 5: 'shop' follows 'web' with no operator between them: 'web shop'; "
        """did you mean the constant "'web shop'"?""",
    ),
    ("1 +", "is no CEL expression: ends too early: something is missing after '+': '1 +'"),
    (
        "web",
        "'web' is no variable; an expression refers to 'input' and 'outputs'; "
        """did you mean the constant "'web'"?""",
    ),
    ("amount", "'amount' is no variable; an expression refers to 'input' and 'outputs'; did you mean 'input.amount'?"),
    ("check", "'check' is no variable; an expression refers to 'input' and 'outputs'; did you mean 'outputs.check'?"),
    (
        "plan_b.x",
        "'plan_b' is no variable; an expression refers to 'input' and 'outputs'; "
        """did you mean the constant "'plan_b.x'"?""",
    ),
    (
        "inputs.amount > 1",
        "'inputs' is no variable; an expression refers to 'input' and 'outputs'; did you mean 'input'?",
    ),
    ("input.amuont", "refers to 'input.amuont', and 'input' has no 'amuont'; did you mean 'amount'?"),
    ("has(input.amuont)", "refers to 'input.amuont', and 'input' has no 'amuont'; did you mean 'amount'?"),
    ("input.zzz", f"refers to 'input.zzz', and 'input' has no 'zzz'; its properties: {PROPERTIES}"),
    (
        "input.customer.nme",
        "refers to 'input.customer.nme', and 'input.customer' has no 'nme'; did you mean 'name'?",
    ),
    (
        "input.robot-count",
        """subtracts 'count' from 'input.robot'; a name with '-' is written input["robot-count"]""",
    ),
    (
        "outputs.plan-route.hops",
        """subtracts 'route' from 'outputs.plan'; a name with '-' is written outputs["plan-route"]""",
    ),
    ("outputs", "refers to 'outputs' as a whole; name a step that this one waits for, such as 'outputs.check'"),
    (
        "outputs[input.name]",
        "refers to 'outputs' as a whole; name a step that this one waits for, such as 'outputs.check'",
    ),
    ("outputs.chekc.ok", "refers to 'outputs.chekc', and there is no step 'chekc'; did you mean 'check'?"),
    (
        "outputs.zzz",
        "refers to 'outputs.zzz', and there is no step 'zzz'; this step waits for: check, plan-route, nap",
    ),
    ("outputs.me", "refers to 'outputs.me', and that is this step itself; name a step that it waits for"),
    ("outputs.beside", "refers to 'outputs.beside', and this step does not wait for 'beside'; name it at 'after'"),
    ("outputs.later", "refers to 'outputs.later', and this step does not wait for 'later'; name it at 'after'"),
    ("outputs.nap", "refers to 'outputs.nap', and 'nap' is a sleep, which has no output"),
    ("lower(input.name)", "calls the function 'lower', which does not exist; there are: "),
    ("input.name.startswith('a')", "calls the function 'startswith', which does not exist; did you mean 'startsWith'?"),
    ("input.items.map(input, 1)", "calls an entry 'input', which is a variable already; give it another name"),
    ("input.customer.map(key, key)", f"makes a list of the keys of 'input.customer', {ORDER_OF_KEYS}"),
    ("input.labels.filter(key, true)", f"makes a list of the keys of 'input.labels', {ORDER_OF_KEYS}"),
    ("outputs.check.map(key, key)", f"makes a list of the keys of 'outputs.check', {ORDER_OF_KEYS}"),
    (
        "input.amount * 2",
        f"'input.amount * 2': there is no float * int; {NO_MIXING}; tried with input.amount = 1.5",
    ),
    ("input.count + 1.5", f"'input.count + 1.5': the types do not fit; {NO_MIXING}; tried with input.count = 1"),
    (
        "input.maybe + 1",
        f"'input.maybe + 1': there is no null + int; {NO_MIXING}; tried with input.maybe = null",
    ),
    (
        "input.level + 1",
        f"""'input.level + 1': there is no string + int; {NO_MIXING}; tried with input.level = "all\"""",
    ),
    (
        "input.items.map(item, item.price * 2)",
        f"'input.items.map(item, item.price * 2)': there is no float * int; {NO_MIXING}; "
        """tried with input.items = [{"price":1.5,"sku":"some text"}]""",
    ),
    (
        "input.flag ? '1' : 1 - '1'",
        f"'input.flag ? '1' : 1 - '1'': the types do not fit; {NO_MIXING}; tried with input.flag = false",
    ),
    (
        "input.items.map(item, item.prise)",
        "'input.items.map(item, item.prise)': there is no 'prise'; ask has(...) first where it may be missing; "
        """tried with input.items = [{"price":1.5,"sku":"some text"}]""",
    ),
    (
        "size(input.count)",
        "'size(input.count)': there is no function 'size' for values of these types; tried with input.count = 1",
    ),
    ("1 + 'a'", f"'1 + 'a'': the types do not fit; {NO_MIXING}"),
    ("1 / 0", "'1 / 0': divides by zero"),
    ("b'a'", "'b'a'': the value is bytes, which JSON has no place for; write string(...)"),
]


def with_mapping(mapping: Any) -> list[Step]:
    return [
        command("check"),
        command("plan-route"),
        command("beside", after=["check"]),
        Step("nap", sleep="1h", after="plan-route"),
        command("me", input=mapping),
        command("later"),
    ]


@pytest.mark.parametrize(("text", "problem"), WRONG_INPUTS)
def test_an_expression_that_speaks_of_what_is_not_there_is_told(text: str, problem: str) -> None:
    [(path, told)] = problems_of(*with_mapping({"a": [{"b": text}]}))
    assert path == "steps[4].input.a[0].b"
    assert told == problem if not problem.endswith(": ") else told.startswith(problem)


RIGHT_EXPRESSIONS = [
    "'web'",
    "input.amount > 100",
    "input.amount * 2.0",
    "double(input.count) * 1.5",
    "input.name.startsWith('a') && input.count in [1, 2]",
    'input["robot-count"] - input.count',
    "input.count-input.count",
    "outputs.check.anything.at.all + 1",
    'outputs["plan-route"].hops',
    "has(outputs.check) ? outputs.check.place : input.name",
    "input.items.map(item, item.sku)",
    "input.items.map(item, double(item.price) * 2.0)",
    "input.items.exists(item, item.sku == outputs.check.sku)",
    "input.labels.colour",
    "input.labels.exists(key, key == 'a')",
    "input.customer.credit > 1.0",
    "input.maybe == null ? 0 : input.maybe + 1",
    "type(input.level) == int ? input.level + 1 : 0",
    "input.anything.of.any.kind + 1",
    "input.customer[input.name]",
    "input.items.map(item, has(item.prise) ? item.prise : item.price)",
    "timestamp(input.place).getFullYear()",
    "int(input.name)",
    "input.count / (input.count - 1)",
    "input",
]


@pytest.mark.parametrize("text", RIGHT_EXPRESSIONS)
def test_an_expression_that_fits_is_right(text: str) -> None:
    assert right(*with_mapping({"a": text})).definition.steps[4].input is not None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("input.count", "must give true or false, but 'input.count' gives 1; tried with input.count = 1"),
        (
            "input.level == 'all' ? true : input.level",
            "must give true or false, but 'input.level == 'all' ? true : input.level' gives 1; "
            "tried with input.level = 1",
        ),
        ("'yes'", """must give true or false, but ''yes'' gives "yes\""""),
        ("yes", "'yes' is no variable; an expression refers to 'input' and 'outputs'"),
        ("a b", "is no CEL expression: column 3: 'b' follows 'a' with no operator between them: 'a b'"),
        (
            "input.count + 1.5 > 2.0",
            f"'input.count + 1.5 > 2.0': the types do not fit; {NO_MIXING}; tried with input.count = 1",
        ),
        ("1 == 1 " * 400, "is no CEL expression: must have at most 2000 characters, but has 2800: '1 == 1 1 == 1 "),
    ],
)
def test_a_condition_gives_true_or_false(text: str, problem: str) -> None:
    [(path, told)] = problems_of(command("a", when=text))
    assert path == "steps[0].when"
    assert told == problem or (len(text) > 100 and told.startswith(problem))


def test_sleeps_and_signals_have_conditions_too() -> None:
    problems = problems_of(Step("a", sleep=1, when="input.zz"), Step("b", signal="go", when="input.zz"))
    assert [path for path, _ in problems] == ["steps[0].when", "steps[1].when"]


@pytest.mark.parametrize(
    ("mapping", "path", "text"),
    [
        ({"outputs": 1}, ".outputs", "is reserved for the results of earlier steps; give it another name"),
        ({"a": [float("nan")]}, ".a[0]", "must be plain JSON, but is nan"),
        ({"a": 2**64}, ".a", "must be plain JSON, but is 18446744073709551616"),
        ({"a": {5: 1}}, ".a", "has the key 5, and a key must be text that can be read"),
        ({"a": object}, ".a", "must be plain JSON, but is <class 'object'>"),
    ],
)
def test_a_mapping_is_plain_json(mapping: dict[Any, Any], path: str, text: str) -> None:
    assert problems_of(command("a", input=mapping)) == [(f"steps[0].input{path}", text)]
    assert problems_of(Step("a", saga="b", input=mapping)) == [(f"steps[0].input{path}", text)]


def test_a_mapping_is_no_deeper_than_what_comes_from_outside() -> None:
    deep: Any = 1
    for _ in range(98):
        deep = [deep]
    assert right(command("a", input={"deep": [deep]})).definition.steps[0].input is not None
    [(path, text)] = problems_of(command("a", input={"deep": [[deep]]}))
    assert (path, text) == ("steps[0].input", "is nested more than 100 levels deep")


@pytest.mark.parametrize(
    ("default", "text"),
    [
        (5, "must be a mapping, such as {approved: false}, but is 5"),
        ({"a": float("nan")}, "must be plain JSON: field 'default' cannot be written as JSON: a number is not finite"),
        (
            {"a": object()},
            "must be plain JSON: field 'default' cannot be written as JSON: Type is not JSON serializable: object",
        ),
    ],
)
def test_a_default_is_plain_json(default: Any, text: str) -> None:
    assert problems_of(Step("a", signal="go", default=default)) == [("steps[0].default", text)]


def test_where_the_input_has_no_schema_anything_may_be_spoken_of() -> None:
    assert right(command("a", when="input.what.ever > 1"), input=None).definition.steps[0].when is not None


def test_an_expression_sees_a_model_as_it_is_stored() -> None:
    class Order(BaseModel):
        model_config = ConfigDict(extra="allow")
        order_id: str = Field(alias="orderId")
        amount: float

    fitting = right(command("a", when="input.orderId == 'a' && input.amount > 1.0"), input=Order)
    assert fitting.definition.steps[0].when is not None
    assert problems_of(command("a", when="input.order_id == 'a'"), input=Order) == [
        (
            "steps[0].when",
            "refers to 'input.order_id', and 'input' has no 'order_id'; did you mean 'orderId'?",
        )
    ]
