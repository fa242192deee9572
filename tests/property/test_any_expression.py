"""No false alarm: what is told of an expression when it is read happens to some saga."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from saga_service.core.definition import ExpressionFailed
from saga_service.definitions import Saga, Step
from saga_service.definitions.authoring import as_mapping
from saga_service.definitions.checks.types import Place, first_misfit
from saga_service.definitions.expressions.cel import compile_expression
from saga_service.definitions.outline import outline_of

INPUT: dict[str, Any] = {
    "type": "object",
    "required": ["n", "flag", "maybe"],
    "properties": {
        "n": {"type": "integer"},
        "flag": {"type": "boolean"},
        "maybe": {"type": ["integer", "null"]},
        "note": {"type": "string"},
    },
}
OUTPUT: dict[str, Any] = {
    "required": ["ok"],
    "properties": {"ok": {"type": "boolean"}, "at": {"type": "string"}},
    "additionalProperties": False,
}
names = ["input.n", "input.flag", "input.maybe", "input.note", "outputs.free.ok", "outputs.free.x", "outputs.known.ok"]
names += ["outputs.known.at", "outputs.left.ok", "outputs.told.yes", "outputs.told.by"]
asked = ["has(input.note)", "has(outputs.left)", "has(outputs.known.at)", "has(outputs.told.by)", "input.maybe == null"]


compiled = cache(compile_expression)


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    two, three = st.tuples(inner, inner), st.tuples(inner, inner, inner)
    return (
        st.tuples(inner, st.sampled_from(["&&", "||", "+", "==", ">"]), inner).map(lambda it: f"({' '.join(it)})")
        | three.map(lambda it: f"({it[0]} ? {it[1]} : {it[2]})")
        | two.map(lambda it: f"[{it[0]}, {it[1]}]")
        | inner.map(lambda it: f"!({it})")
    )


expressions = st.recursive(st.sampled_from([*names, *asked, "1", "1.5", "'a'", "true"]), _larger, max_leaves=7)
conditions = st.sampled_from([*asked, "input.flag", "outputs.free.ok == true", "input.flag && outputs.free.ok == true"])


def _with_and_without(name: str, value: object) -> list[dict[str, object]]:
    return [{}, {name: value}]


def worlds(left_when: str) -> Iterator[dict[str, Any]]:
    """Every saga that may come, as far as it makes a difference to the types."""
    for n, flag, maybe, note, ok, x, known, at, told in product(
        [1],
        [True, False],
        [None, 1],
        _with_and_without("note", "a"),
        [True, False, 1],
        [None, 1, 1.5, "a", True, False],
        [True, False],
        _with_and_without("at", "a"),
        [{"yes": False}, {"yes": True, "by": "a"}],
    ):
        outputs: dict[str, Any] = {"free": {"ok": ok, "x": x}, "known": {"ok": known, **at}, "told": told}
        world = {"input": {"n": n, "flag": flag, "maybe": maybe, **note}, "outputs": outputs}
        if compiled(left_when).value_for(world) is True:
            outputs["left"] = {"ok": flag}
        yield world


def _fails(text: str, world: dict[str, Any], *, is_condition: bool) -> bool:
    try:
        value = compiled(text).value_for(world)
    except ExpressionFailed:
        return True
    return is_condition and not isinstance(value, bool)


def _is_true(text: str | None, world: dict[str, Any]) -> bool:
    try:
        return text is None or compiled(text).value_for(world) is True
    except ExpressionFailed:
        return False


@given(
    text=expressions,
    when=st.none() | conditions,
    left_when=st.sampled_from(["input.flag", "outputs.free.ok == true", "has(input.note) && outputs.known.ok"]),
    is_condition=st.booleans(),
)
def test_what_is_told_of_an_expression_happens_to_some_saga(
    text: str, when: str | None, left_when: str, is_condition: bool
) -> None:
    words: dict[str, Any] = {"when": text} if is_condition else {"when": when, "input": {"x": text}}
    before = None if is_condition else when
    steps = [
        Step("free", action="a.free"),
        Step("known", action="a.known", output=OUTPUT),
        Step("left", action="a.left", when=left_when, output=OUTPUT),
        Step("told", signal="told", default={"yes": False}),
        Step("me", action="a.me", **words),
    ]
    written: Any = as_mapping(Saga("order", input=INPUT, steps=steps))
    outline = outline_of(written)
    place = Place((), outline.steps[4], outline, must_be_boolean=is_condition)
    misfit = first_misfit(compiled(text), place)
    if misfit is None:
        return
    reached = [world for world in worlds(left_when) if _is_true(before, world)]
    happens = any(_fails(text, world, is_condition=is_condition) for world in reached)
    # Or nobody comes to where the part is looked at, and nobody could pass it.
    part = misfit.compiled.text
    assert happens or all(_fails(part, world, is_condition=misfit.outcome.error is None) for world in reached)
