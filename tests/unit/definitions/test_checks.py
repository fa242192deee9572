"""What must hold between the words of a saga: each rule broken, with the path and the whole text that it is told by."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from saga_service.definitions import DefinedSaga, DefinitionErrors, Retry, Saga, Step, check_saga

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "amount": {"type": "number"},
        "count": {"type": "integer"},
        "name": {"type": "string"},
        "robot-count": {"type": "integer"},
        "place": {"type": "string", "format": "date-time"},
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
        "customer": {
            "type": "object",
            "required": ["name", "credit"],
            "properties": {"name": {"type": "string"}, "credit": {"type": "number"}},
        },
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "maybe": {"type": ["integer", "null"]},
        "flag": {"type": "boolean"},
        "level": {"enum": [1, 2, "all"]},
        "anything": {},
    },
    "$defs": {
        "item": {
            "type": "object",
            "required": ["sku", "price"],
            "properties": {"sku": {"type": "string"}, "price": {"type": "number"}},
        }
    },
}
SCHEMA["required"] = list(SCHEMA["properties"])


def problems_of(*steps: Step, **words: Any) -> list[tuple[str, str]]:
    with pytest.raises(DefinitionErrors) as raised:
        check_saga(Saga("order", steps=steps, **{"input": SCHEMA, **words}))
    assert all("\n" not in problem.text for problem in raised.value.problems), "a problem is one line"
    return [(problem.path, problem.text) for problem in raised.value.problems]


def right(*steps: Step, **words: Any) -> DefinedSaga:
    return check_saga(Saga("order", steps=steps, **{"input": SCHEMA, **words}))


def command(name: str, **words: Any) -> Step:
    return Step(name, action=f"{name}.do", **words)


PIVOT = command("pay", kind="pivot")

# ----------------------------------------------------------------------------------------------------------- tasks

ONE_TASK = "action, sleep, signal, saga"
FOREIGN: list[tuple[Step, str, str]] = [
    (Step("a"), "", f"has nothing to do; write one of {ONE_TASK}"),
    (
        Step("a", action="b.c", sleep="1h"),
        ".sleep",
        f"stands beside 'action', and a step is one of {ONE_TASK}; make two",
    ),
    (Step("a", sleep="1h", timeout="1h"), ".timeout", "means nothing for a sleep; leave it out: its length stands at "),
    (Step("a", sleep="1h", input={}), ".input", "means nothing for a sleep; leave it out"),
    (Step("a", sleep="1h", kind="pivot"), ".kind", "means nothing for a sleep; leave it out"),
    (Step("a", sleep="1h", retry=Retry()), ".retry", "means nothing for a sleep; leave it out"),
    (Step("a", sleep="1h", compensation="b.c"), ".compensation", "means nothing for a sleep; leave it out"),
    (
        Step("a", signal="b", retry=Retry()),
        ".retry",
        "means nothing for a wait for a signal; leave it out: it waits once, for 'timeout'",
    ),
    (Step("a", signal="b", on_unknown="hold"), ".on_unknown", "means nothing for a wait for a signal; leave it out"),
    (Step("a", signal="b", heartbeat="1s"), ".heartbeat", "means nothing for a wait for a signal; leave it out"),
    (
        Step("a", saga="b", compensation="b.c"),
        ".compensation",
        "means nothing for a child saga; leave it out: a child saga undoes itself",
    ),
    (
        Step("a", saga="b", heartbeat="1s"),
        ".heartbeat",
        "means nothing for a child saga; leave it out: the child's own steps have theirs",
    ),
    (Step("a", saga="b", probe="b.c"), ".probe", "means nothing for a child saga; leave it out"),
    (
        Step("a", saga="b", output={}),
        ".output",
        "means nothing for a child saga; leave it out: it is what the child's own steps return",
    ),
    (
        Step("a", signal="b", output={}),
        ".output",
        "means nothing for a wait for a signal; leave it out: it is what the sender of the signal says",
    ),
    (Step("a", sleep="1h", output={}), ".output", "means nothing for a sleep; leave it out"),
    (
        command("a", default={}),
        ".default",
        "means nothing for a command; leave it out: it stands for a signal that does not come",
    ),
]


@pytest.mark.parametrize(("step", "path", "text"), FOREIGN)
def test_a_step_is_one_thing_and_has_no_words_of_another(step: Step, path: str, text: str) -> None:
    [(told_path, told_text)] = problems_of(step)
    assert told_path == f"steps[0]{path}"
    assert told_text == text if not text.endswith(" ") else told_text.startswith(text)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("action", "must be 'service.verb' in small letters, such as 'payment.charge' "),
        ("sleep", "must be a duration, but is empty; "),
        ("signal", "must be text, but is empty"),
        ("saga", "must be a name of small letters, digits, '-' and '_' that begins with a letter, but is empty"),
    ],
)
def test_a_word_that_is_empty_is_told_as_any_other_wrong_value(word: str, text: str) -> None:
    written: Any = {"name": "a", word: None}
    [(path, told)] = problems_of(written)
    assert path == f"steps[0].{word}"
    assert told.startswith(text)


# ----------------------------------------------------------------------------------------------------------- order


@pytest.mark.parametrize(
    ("after", "path", "text"),
    [
        ("reserv", "", "is 'reserv', and there is no such step; did you mean 'reserve'?"),
        (["zzz"], "[0]", "is 'zzz', and there is no such step; steps before this one: reserve, check"),
        (["check", "ship"], "[1]", "is 'ship', the step itself; name a step that stands before it"),
        (
            ["bill"],
            "[0]",
            "is 'bill', which stands after this step; name a step that stands before it, or move it up",
        ),
        (["check", "reserve", "check"], "[2]", "is 'check', which is named already; leave it out"),
    ],
)
def test_a_step_waits_for_steps_that_stand_before_it(after: str | list[str], path: str, text: str) -> None:
    steps = [command("reserve"), command("check"), command("ship", after=after), command("bill")]
    assert problems_of(*steps) == [(f"steps[2].after{path}", text)]


def test_the_first_step_waits_for_none() -> None:
    told = "is 'zzz', and there is no such step; none stands before this one"
    assert problems_of(command("a", after="zzz")) == [("steps[0].after", told)]


def test_a_step_waits_for_the_one_before_it_for_those_it_names_or_for_none() -> None:
    steps = [
        command("a"),
        command("b"),
        command("c", after=[]),
        command("d", after=("a", "c")),
        command("e", after="a"),
    ]
    definition = right(*steps).definition
    assert definition.predecessors == ((), (0,), (), (0, 2), (0,))


# ----------------------------------------------------------------------------------------------------------- kinds

AFTER = "comes after the pivot 'pay', and must not fail"
NOT_AFTER = "may run while the pivot 'pay' does"


def test_one_step_alone_decides() -> None:
    assert problems_of(PIVOT, command("book", kind="pivot")) == [
        ("steps[1].kind", "is 'pivot', as is that of 'pay', and one step alone decides; keep one")
    ]


def test_a_pivot_is_not_undone() -> None:
    assert problems_of(command("pay", kind="pivot", compensation="pay.undo")) == [
        ("steps[0].compensation", "cannot be: once a pivot is done, nothing is undone; leave it out")
    ]


@pytest.mark.parametrize(
    "late", [command("ship"), Step("ship", saga="shipment"), command("ship", kind="compensatable")]
)
def test_what_comes_after_the_pivot_is_retriable(late: Step) -> None:
    assert problems_of(PIVOT, Step("nap", sleep="1h"), late) == [
        ("steps[2].kind", "must be 'retriable': the step comes after the pivot 'pay'; write it")
    ]


def test_what_comes_after_the_pivot_is_not_undone() -> None:
    assert problems_of(PIVOT, command("ship", kind="retriable", compensation="ship.undo")) == [
        (
            "steps[1].compensation",
            "cannot be: the step comes after the pivot 'pay', and nothing is undone then; leave it out",
        )
    ]


def test_what_may_run_beside_the_pivot_is_retriable() -> None:
    assert problems_of(command("check"), PIVOT, command("tell", after=["check"])) == [
        (
            "steps[2].kind",
            "must be 'retriable': the step may run while the pivot 'pay' does; write it, "
            "or let one of the two wait for the other by 'after'",
        )
    ]
    beside = command("tell", after=["check"], kind="retriable", compensation="tell.undo")
    assert right(command("check"), PIVOT, beside).definition.pivot == 1


def test_a_signal_that_the_pivot_does_not_wait_for_has_a_default() -> None:
    more = "write what stands for the signal when it does not come"
    assert problems_of(command("a"), PIVOT, Step("b", signal="go"), Step("c", signal="go", after="a")) == [
        ("steps[2].default", f"is missing: the step comes after the pivot 'pay', and must not fail; {more}"),
        ("steps[3].default", f"is missing: the step may run while the pivot 'pay' does, and must not fail; {more}"),
    ]


def test_a_saga_with_all_kinds_in_their_places_is_right() -> None:
    steps = [
        Step("approval", signal="go"),
        command("reserve", compensation="reserve.undo"),
        Step("pay", saga="payment", kind="pivot"),
        Step("nap", sleep="1h"),
        Step("slot", signal="slot", default={}),
        command("ship", kind="retriable", on_unknown="hold"),
        Step("bill", saga="bill", kind="retriable"),
    ]
    definition = right(*steps).definition
    assert definition.pivot == 2
    assert [step.kind.value for step in definition.steps] == [
        *["compensatable"] * 2, "pivot", *["compensatable"] * 2, *["retriable"] * 2,
    ]  # fmt: skip


# --------------------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("step", "path", "text"),
    [
        (
            command("a", on_unknown="probe"),
            "probe",
            "is missing; write the type of the command that asks whether it happened, such as 'payment.find'",
        ),
        (
            command("a", probe="a.find"),
            "probe",
            "is only sent where 'on_unknown' is 'probe'; write that, or leave this out",
        ),
        (
            command("a", probe="a.find", on_unknown="hold"),
            "probe",
            "is only sent where 'on_unknown' is 'probe'; write that, or leave this out",
        ),
        (
            command("a", kind="pivot", on_unknown="compensate"),
            "on_unknown",
            "is 'compensate', and a pivot is not undone; write 'hold', 'probe' or 'retry'",
        ),
        (
            command("a", kind="retriable", on_unknown="compensate"),
            "on_unknown",
            "is 'compensate', and a retriable step is not given up; write 'retry', 'probe' or 'hold'",
        ),
        *(
            (
                Step("a", saga="b", on_unknown=given),
                "on_unknown",
                f"is '{given}', and a child saga tells of its end; write 'hold' or leave it out",
            )
            for given in ("retry", "compensate")
        ),
    ],
)
def test_what_is_done_about_no_answer_fits_the_step(step: Step, path: str, text: str) -> None:
    assert problems_of(step) == [(f"steps[0].{path}", text)]


def test_a_child_saga_may_say_that_it_is_waited_for() -> None:
    assert right(Step("a", saga="b", on_unknown="hold")).version == right(Step("a", saga="b")).version


# ----------------------------------------------------------------------------------------------------------- times


def test_a_heartbeat_is_shorter_than_the_timeout() -> None:
    more = "write less, or a longer 'timeout'"
    assert problems_of(command("a", heartbeat="1m"), command("b", timeout="10s", heartbeat=20)) == [
        ("steps[0].heartbeat", f"is 1m, and must be less than the timeout of 1m; {more}"),
        ("steps[1].heartbeat", f"is 20s, and must be less than the timeout of 10s; {more}"),
    ]
    assert right(command("a", heartbeat="59s")).definition.steps[0].heartbeat_ms == 59_000


def test_a_saga_does_not_end_in_its_sleep() -> None:
    assert problems_of(Step("a", sleep="2h"), Step("b", sleep="119m"), deadline="2h") == [
        (
            "steps[0].sleep",
            "is 2h, and the saga's deadline is 2h: it would end in the sleep; write less, or a later 'deadline'",
        )
    ]


# ----------------------------------------------------------------------------------------------------- expressions

NO_MIXING = (
    "CEL does not mix whole numbers with numbers that have a point, nor either with text; "
    "write double(...), int(...) or string(...), or 1.0 in place of 1"
)
ORDER_OF_KEYS = "which have no order: the same saga would not always have the same list; name the keys one by one"
PROPERTIES = ", ".join(sorted(SCHEMA["properties"]))

WRONG_INPUTS: list[tuple[str, str]] = [
    (
        "web shop",
        "is no CEL expression: line 1, column 5: extraneous input 'shop' expecting the end: 'web shop'; "
        """did you mean the constant "'web shop'"?""",
    ),
    ("1 +", "is no CEL expression: line 1, column 4: mismatched input the end: '1 +'"),
    (
        "web",
        "'web' is no variable; an expression speaks of 'input' and 'outputs'; "
        """did you mean the constant "'web'"?""",
    ),
    ("amount", "'amount' is no variable; an expression speaks of 'input' and 'outputs'; did you mean 'input.amount'?"),
    ("check", "'check' is no variable; an expression speaks of 'input' and 'outputs'; did you mean 'outputs.check'?"),
    (
        "plan_b.x",
        "'plan_b' is no variable; an expression speaks of 'input' and 'outputs'; "
        """did you mean the constant "'plan_b.x'"?""",
    ),
    (
        "inputs.amount > 1",
        "'inputs' is no variable; an expression speaks of 'input' and 'outputs'; did you mean 'input'?",
    ),
    ("input.amuont", "speaks of 'input.amuont', and 'input' has no 'amuont'; did you mean 'amount'?"),
    ("has(input.amuont)", "speaks of 'input.amuont', and 'input' has no 'amuont'; did you mean 'amount'?"),
    ("input.zzz", f"speaks of 'input.zzz', and 'input' has no 'zzz'; its properties: {PROPERTIES}"),
    (
        "input.customer.nme",
        "speaks of 'input.customer.nme', and 'input.customer' has no 'nme'; did you mean 'name'?",
    ),
    (
        "input.robot-count",
        """subtracts 'count' from 'input.robot'; a name with '-' is written input["robot-count"]""",
    ),
    (
        "outputs.plan-route.hops",
        """subtracts 'route' from 'outputs.plan'; a name with '-' is written outputs["plan-route"]""",
    ),
    ("outputs", "speaks of 'outputs' as a whole; name a step that this one waits for, such as 'outputs.check'"),
    (
        "outputs[input.name]",
        "speaks of 'outputs' as a whole; name a step that this one waits for, such as 'outputs.check'",
    ),
    ("outputs.chekc.ok", "speaks of 'outputs.chekc', and there is no step 'chekc'; did you mean 'check'?"),
    (
        "outputs.zzz",
        "speaks of 'outputs.zzz', and there is no step 'zzz'; this step waits for: check, plan-route, nap",
    ),
    ("outputs.me", "speaks of 'outputs.me', and that is this step itself; name a step that it waits for"),
    ("outputs.beside", "speaks of 'outputs.beside', and this step does not wait for 'beside'; name it at 'after'"),
    ("outputs.later", "speaks of 'outputs.later', and this step does not wait for 'later'; name it at 'after'"),
    ("outputs.nap", "speaks of 'outputs.nap', and 'nap' is a sleep, which has no output"),
    ("lower(input.name)", "calls the function 'lower', which there is not; there are: "),
    ("input.name.startswith('a')", "calls the function 'startswith', which there is not; did you mean 'startsWith'?"),
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
        "input.items.map(item, item.price * 2.0)",
        f"'input.items.map(item, item.price * 2.0)': the types do not fit; {NO_MIXING}; "
        """tried with input.items = [{"price":1,"sku":"some text"}]""",
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
        ("yes", "'yes' is no variable; an expression speaks of 'input' and 'outputs'"),
        ("a b", "is no CEL expression: line 1, column 3: extraneous input 'b' expecting the end: 'a b'"),
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
        ({"a\0": 1}, "", "has the key 'a\0', and a key must be text that can be read"),
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
        ({"a": float("nan")}, "must be plain JSON, but holds a number that is not finite, or what is no JSON"),
        ({"a": object()}, "must be plain JSON: Type is not JSON serializable: object"),
        ({"a": "\0"}, "must be plain JSON: field 'default' holds a NUL character (\\u0000), which cannot be stored"),
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
            "speaks of 'input.order_id', and 'input' has no 'order_id'; did you mean 'orderId'?",
        )
    ]


def test_all_that_is_wrong_is_told_at_once() -> None:
    steps = [
        command("a", when="input.zz", kind="pivot", compensation="a.undo"),
        command("b", after="c", heartbeat="2h", on_unknown="probe"),
        Step("c", sleep="2h", timeout="3h"),
    ]
    paths = [path for path, _ in problems_of(*steps, deadline="1h", undo="up")]
    assert sorted(paths) == [
        "steps[0].compensation",
        "steps[0].when",
        "steps[1].after",
        "steps[1].heartbeat",
        "steps[1].kind",
        "steps[1].probe",
        "steps[2].sleep",
        "steps[2].timeout",
        "undo",
    ]
