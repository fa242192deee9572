"""The count of an expression's work is never below the work, whatever the lists are that it goes through."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from saga_service.definitions.expressions import cost
from saga_service.definitions.expressions.cel import compile_expression, json_value
from saga_service.definitions.expressions.cost import WorkMeter, tree_to_count
from saga_service.definitions.expressions.parser import Form, Node
from saga_service.wire.json import NESTING_MAX

numbers = st.lists(st.integers(0, 9), max_size=6)
many = st.lists(st.integers(0, 9), max_size=40)
rows = st.lists(st.fixed_dictionaries({"n": st.integers(0, 9), "held": numbers}), max_size=12)
inputs = st.fixed_dictionaries({"xs": many, "ys": numbers, "rows": rows, "flag": st.booleans()})


def lists(depth: int) -> st.SearchStrategy[str]:
    """Texts of lists of numbers, with macros within macros down to this depth."""
    if depth == 0:
        return st.sampled_from(["input.xs", "input.ys", "[1, 2, 3]", "[]", "input['xs']"])
    inner = lists(depth - 1)
    two = st.tuples(inner, inner)
    name = f"v{depth}"
    return (
        inner
        | two.map(lambda it: f"({it[0]} + {it[1]})")
        | two.map(lambda it: f"(input.flag ? {it[0]} : {it[1]})")
        | inner.map(lambda it: f"{it}.map({name}, {name} + 1)")
        | two.map(lambda it: f"{it[0]}.map({name}, size({it[1]}.filter(w, w > {name})))")
        | two.map(lambda it: f"{it[0]}.filter({name}, {name} in {it[1]} && {it[1]}.exists(w, w == {name}))")
        | two.map(lambda it: f"input.rows.map({name}, size({name}.held + {it[0]}.map(w, [w, {name}.n])))")
        | two.map(
            lambda it: f"input.rows.filter({name}, {name}.held.all(w, w in {it[0]})).map(u, size(u.held + {it[1]}))"
        )
        | inner.map(lambda it: f"{it}.map({name}, {it}).filter({name}, size({name}) > 1).map(l, l[0])")
        | inner.map(
            lambda it: f"input.rows.map({name}, has({name}.held) ? {name}.held : {it}).map(l, size(l.map(w, w)))"
        )
    )


class Worker:
    """Evaluates an expression as the library does, and counts the values that are handled on the way."""

    def __init__(self) -> None:
        self.handled = 0

    def copied(self, value: Any) -> Any:
        self.handled += size_of(value)
        return value

    def value(self, node: Node, scope: dict[str, Any]) -> Any:
        self.handled += 1
        if node.form is Form.MACRO:
            return self.macro(node, scope)
        if node.form is Form.NAME:
            return scope[node.name]
        if node.form is Form.CONSTANT:
            return int(node.text)
        if node.form is Form.CHOICE:
            condition, first, second = node.parts
            return self.value(first if self.value(condition, scope) else second, scope)
        if node.form is Form.AND:
            return all(self.value(part, scope) for part in node.parts)
        if node.form is Form.HAS:
            [tested] = node.parts
            return tested.name in self.value(tested.parts[0], scope)
        parts = [self.value(part, scope) for part in node.parts]
        match node.form, node.name:
            case Form.SELECT, name:
                return self.copied(parts[0][name])
            case Form.MAKE, _:
                return self.copied(parts)
            case Form.SUM, _:
                return self.copied(parts[0] + parts[1])
            case Form.CALL, "size":
                return len(parts[0])
            case _:
                return self.operator(node, *parts)

    def operator(self, node: Node, left: Any, right: Any) -> Any:
        between = node.text[len(node.parts[0].text) :].removesuffix(node.parts[1].text)
        match between.strip(" ()"):
            case ">":
                return left > right
            case "==":
                return left == right
            case "in":
                return left in right
            case sign:
                assert "[" in sign, node.text
                return self.copied(left[right])

    def macro(self, node: Node, scope: dict[str, Any]) -> Any:
        made: list[Any] = []
        for entry in self.value(node.parts[0], scope):
            result = self.value(node.parts[1], {**scope, node.bound: self.copied(entry)})
            if node.name == "map" or (node.name == "filter" and result):
                made.append(result if node.name == "map" else entry)
                self.copied(made)
            elif (node.name, result) in (("all", False), ("exists", True)):
                return result
        return made if node.name in ("map", "filter") else node.name == "all"


def size_of(value: Any) -> int:
    match value:
        case dict():
            return 1 + len(value) + sum(map(size_of, value.values()))
        case list():
            return 1 + sum(map(size_of, value))
        case _:
            return 1


@given(text=lists(2), found=inputs)
def test_no_expression_does_more_than_was_counted(text: str, found: dict[str, Any]) -> None:
    variables: dict[str, Any] = {"input": found, "outputs": {}}
    worker, meter, tree = Worker(), WorkMeter(variables), tree_to_count(text)
    value = worker.value(tree, variables)
    assert json_value(compile_expression(text).program.execute(variables), NESTING_MAX) == value
    with patch.object(cost, "EVALUATION_VALUES_MAX", 10**18):
        meter.count(tree)
    assert worker.handled <= meter.values
