"""The work of an expression: counted before it is done, and refused where a producer's lists make it too much."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import pytest

from saga_service.core.definition import ExpressionFailed
from saga_service.definitions import Saga, Step
from saga_service.definitions.expressions.cel import condition, input_mapping
from saga_service.definitions.expressions.cost import (
    EVALUATION_VALUES_MAX,
    PARTS_DEEP_MAX,
    TooMuchWork,
    WorkMeter,
    tree_to_count,
)
from saga_service.definitions.expressions.parser import BRACKETS_DEEP_MAX, Form, tree_of
from saga_service.testing import Simulation

REFUSED_WITHIN_S = 5.0
"""Far more than a refusal takes, and far less than the minutes and hours of the work that is refused."""


def variables(**properties: Any) -> dict[str, Any]:
    return {"input": properties, "outputs": {"find": properties}}


def numbers(count: int) -> list[int]:
    return list(range(count))


def orders(count: int, lines: int) -> list[dict[str, Any]]:
    return [{"id": place, "lines": [{"sku": "a", "n": line} for line in range(lines)]} for place in range(count)]


def work_of(text: str, **properties: Any) -> int:
    meter = WorkMeter(variables(**properties))
    meter.count(tree_to_count(text))
    return meter.values


@pytest.mark.parametrize(
    "text",
    [
        "input.items.exists(a, input.items.exists(b, a + b == -1))",
        "outputs.find.items.exists(a, outputs.find.items.exists(b, a + b == -1))",
        'outputs["find"].items.all(a, input.items.all(b, input.items.all(c, a + b + c >= 0)))',
        "size(input.items.map(a, input.items)) == 0",
        "size(input.items.map(a, input.items.map(b, a + b))) == 0",
        "input.items.filter(a, true).exists(a, input.items.map(b, b).exists(b, a + b == -1))",
        "(has(input.items) ? input.items : []).all(a, (input.items + input.items).exists(b, a == b))",
        "[input.items, input.items].all(l, l.all(a, l.exists(b, a == b)))",
        "input.all(name, input.items.all(a, input.items.exists(b, a == b)))",
        "input.items.all(a, a in input.items && [a] != input.items)",
        "input.items.all(a, string(a).matches('[0-9]+'))",
        "input.items.all(a, input.items.exists(b, a == b" + " + 0" * PARTS_DEEP_MAX + "))",
        "input.items.all(a, input.items.exists(b, [a, b]" + "[0]" * PARTS_DEEP_MAX + "))",
        "(" * BRACKETS_DEEP_MAX + "input.items.exists(a, input.items.exists(b, a + b == -1))" + ")" * BRACKETS_DEEP_MAX,
    ],
)
def test_macros_over_thousands_of_entries_fail_in_bounded_time(text: str) -> None:
    began = perf_counter()
    with pytest.raises(TooMuchWork, match="may handle more than 2,000,000 values"):
        condition(text).evaluate(variables(items=numbers(4_000)))
    assert perf_counter() - began < REFUSED_WITHIN_S


def test_a_refusal_names_the_expression_and_the_longest_list() -> None:
    mapping = input_mapping({"pairs": ["input.items.map(a, input.items.map(b, a + b))"]})
    with pytest.raises(ExpressionFailed) as raised:
        mapping.evaluate(variables(items=numbers(4_000)))
    assert str(raised.value) == (
        "input.pairs[0]: 'input.items.map(a, input.items.map(b, a + b))': may handle more than 2,000,000 values: "
        "it goes through 4,000 entries of 'input.items'; send shorter lists, or let a worker do this"
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("input.items.all(a, a >= 0)", True),
        ("input.items.exists(a, a == input.limit)", False),
        ("input.orders.all(o, o.lines.all(l, l.n < input.limit))", True),
        ("input.orders.exists(o, (has(o.lines) ? o.lines : []).exists(l, l.n == o.id + 10))", False),
        ("input.orders.all(o, o.lines.filter(l, l.n > 3).map(l, l.sku).all(s, s == 'a'))", True),
        ("size(input.few.map(a, input.few.map(b, a * b))) == 40", True),
        ("input.none.all(a, input.items.all(b, input.items.all(c, a == b + c)))", True),
    ],
)
def test_one_look_at_each_of_thousands_of_entries_is_allowed(text: str, value: bool) -> None:
    found = variables(items=numbers(20_000), orders=orders(1_000, 8), few=numbers(40), limit=20_000, none=[])
    assert condition(text).evaluate(found) is value


def test_what_each_entry_holds_is_counted_by_itself() -> None:
    one_long = [*orders(1_000, 1), *orders(1, 1_000)]
    text = "input.orders.all(o, o.lines.all(l, l.n >= 0))"
    assert work_of(text, orders=one_long) < 2 * work_of(text, orders=orders(1_000, 2))


def test_work_grows_with_the_square_of_a_list_that_map_makes() -> None:
    short, long = (work_of("input.items.map(a, a)", items=numbers(count)) for count in (100, 1_000))
    assert 50 * short < long < 110 * short


def test_the_expressions_of_a_mapping_share_one_limit() -> None:
    text = "size(input.items.map(a, a))"
    items = numbers(1_500)
    assert EVALUATION_VALUES_MAX / 2 < work_of(text, items=items) < EVALUATION_VALUES_MAX
    assert input_mapping({"a": text}).evaluate(variables(items=items)) == {"a": 1_500}
    with pytest.raises(TooMuchWork):
        input_mapping({"a": text, "b": {"c": [text]}}).evaluate(variables(items=items))


def test_without_a_macro_a_long_list_costs_no_more_than_its_length() -> None:
    long = variables(items=numbers(1_000_000))
    assert condition("size(input.items) == 1000000 && 7 in input.items").evaluate(long) is True


def test_every_part_that_a_macro_can_hold_is_read() -> None:
    text = (
        "-input.a[0] + {'x': [1, 'y']}.x.map(n, n > 0 ? n : input.b.c)[0] in [b'z'] && !has(input.d) || f(1.5e3, null)"
    )
    left, forms = [tree_of(text)], set[Form]()
    while left:
        node = left.pop()
        forms.add(node.form)
        left += node.parts
    assert forms == set(Form) - {Form.UNREAD}


def test_a_producers_long_list_fails_the_step_and_not_the_service() -> None:
    item = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    saga = Saga(
        "pairs",
        input={"required": ["items"], "properties": {"items": {"type": "array", "items": item}}},
        steps=[
            Step(
                "match",
                action="pairs.match",
                input={"doubles": "input.items.filter(a, input.items.filter(b, a.n == b.n).size() > 1)"},
            )
        ],
    )
    sim = Simulation(saga)
    short, long = (sim.start("pairs", {"items": [{"n": place} for place in range(count)]}) for count in (20, 3_000))
    began = perf_counter()
    sim.run()
    assert perf_counter() - began < REFUSED_WITHIN_S
    assert (short.status, long.status) == ("completed", "compensated")
    assert long.state.fault is not None
    assert long.state.fault.code == "expression_failed"
