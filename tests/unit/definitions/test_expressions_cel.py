"""Conditions and mappings: their values, and what an author is told where there is none."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from saga_service.core.definition import Expression, ExpressionFailed
from saga_service.definitions.expressions.cel import (
    EXPRESSION_CHARACTERS_MAX,
    CompiledExpression,
    InvalidExpression,
    TypeMismatch,
    compile_expression,
    condition,
    input_mapping,
)
from saga_service.definitions.expressions.references import FUNCTIONS, TYPE_NAMES, references_of
from saga_service.wire.json import NESTING_MAX

VARIABLES: dict[str, Any] = {
    "input": {
        "amount": 120.5,
        "count": 2,
        "name": "Ada",
        "items": [{"sku": "a", "n": 1}, {"sku": "b", "n": 3}],
        "none": None,
    },
    "outputs": {"check": {"ok": True, "place": "B7"}, "plan-route": {"hops": 3}},
}


def value_of(text: str) -> Any:
    return input_mapping({"value": text}).evaluate(VARIABLES)["value"]


def failure(text: str) -> str:
    with pytest.raises(ExpressionFailed) as raised:
        value_of(text)
    told = str(raised.value)
    assert told.startswith("input.value: ")
    assert "\n" not in told
    return told


def test_they_are_what_the_core_asks_for() -> None:
    when: Expression = condition("true")
    mapping: Expression = input_mapping({})
    assert when.evaluate(VARIABLES) is True
    assert mapping.evaluate(VARIABLES) == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("input.amount", 120.5),
        ("input.count", 2),
        ("input.none", None),
        ("'web'", "web"),
        ("outputs.check.place", "B7"),
        ('outputs["plan-route"].hops + 1', 4),
        ("input.items.map(item, item.sku)", ["a", "b"]),
        ("input.items.filter(item, item.n > 1)", [{"n": 3, "sku": "b"}]),
        ("double(input.count) * 1.5", 3.0),
        ("input.amount > 100 ? 'much' : 'little'", "much"),
        ("has(outputs.ship)", False),
        ("has(outputs.ship) ? outputs.ship.place : 'nowhere'", "nowhere"),
        ("{'a': [1, 2.5, true, null]}", {"a": [1, 2.5, True, None]}),
        ("18446744073709551615u", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("timestamp('2026-05-04T03:02:01+02:00')", "2026-05-04T01:02:01Z"),
        ("timestamp('2026-05-04T03:02:01.5Z')", "2026-05-04T03:02:01.500000Z"),
        ("duration('90m')", "5400s"),
        ("duration('-1500ms')", "-1.5s"),
        ("duration('10s')", "10s"),
        ("input", VARIABLES["input"]),
    ],
)
def test_a_value_is_json(text: str, value: object) -> None:
    found = value_of(text)
    assert found == value
    assert type(found) is type(value)


def test_only_texts_are_expressions_and_all_else_is_itself() -> None:
    written = {"a": "input.count", "b": [1, 2.5, True, None, {"c": ["'x'"]}], "d": {}}
    assert input_mapping(written).evaluate(VARIABLES) == {"a": 2, "b": [1, 2.5, True, None, {"c": ["x"]}], "d": {}}


def test_a_mapping_of_a_value_has_its_keys_in_one_order() -> None:
    keys = [str(number) for number in range(9)]
    shuffled = {"input": {"map": dict.fromkeys(reversed(keys), 1)}, "outputs": {}}
    assert list(input_mapping({"value": "input.map"}).evaluate(shuffled)["value"]) == keys


def test_a_condition_is_true_or_false() -> None:
    assert condition("input.amount > 100.0 && outputs.check.ok").evaluate(VARIABLES) is True
    assert condition("input.amount > 500").evaluate(VARIABLES) is False
    with pytest.raises(ExpressionFailed) as raised:
        condition("input.count").evaluate(VARIABLES)
    assert str(raised.value) == "when: 'input.count': must give true or false, but gives 2"
    with pytest.raises(ExpressionFailed) as raised:
        condition("input.\ncolour == 'red'").evaluate(VARIABLES)
    assert str(raised.value) == (
        "when: 'input. colour == 'red'': there is no 'colour'; ask has(...) first where it may be missing"
    )


NO_MIXING = (
    "CEL does not mix whole numbers with numbers that have a point, nor either with text; "
    "write double(...), int(...) or string(...), or 1.0 in place of 1"
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("input.colour", "there is no 'colour'; ask has(...) first where it may be missing"),
        ("outputs.ship.place", "there is no 'ship'; ask has(...) first where it may be missing"),
        ("input.items[7]", "index out of bounds: 7"),
        ("1 / 0", "divides by zero"),
        ("1 % 0", "divides by zero"),
        ("9223372036854775807 + 1", "Arithmetic overflow in 'add' on 9223372036854775807 and 1."),
        ("input.amount * 2", f"there is no float * int; {NO_MIXING}"),
        ("input.name + 1", f"there is no string + int; {NO_MIXING}"),
        ("input.amount + 1", f"there is no float + int; {NO_MIXING}"),
        ("input.none.x", f"the types do not fit; {NO_MIXING}"),
        ("size(1)", "there is no function 'size' for values of these types"),
        ("int('x')", "Function 'int' error: string parse error: invalid digit found in string."),
        ("timestamp('0001-01-01T00:00:00+10:00')", "the value is a moment before the year 1, or after 9999, in UTC"),
        ("timestamp('9999-12-31T23:59:59-10:00')", "the value is a moment before the year 1, or after 9999, in UTC"),
        ("1.0 / 0.0", "the value is no number that JSON has: inf"),
        ("[0.0 / 0.0]", "the value is no number that JSON has: nan"),
        ("b'abc'", "the value is bytes, which JSON has no place for; write string(...)"),
        ("{1: 2}", "the value has the key 1, and JSON has text alone for keys; write string(...)"),
        ("'\\x00'", "the value holds a NUL character (\\u0000), which cannot be stored"),
        ("{'\\x00': 1}", "the value holds a NUL character (\\u0000), which cannot be stored"),
        ("optional.of(1)", "the value is no JSON: OptionalValue(Int(1))"),
        ("nobody", "there is no function 'nobody' for values of these types"),
    ],
)
def test_an_expression_without_a_value_says_why(text: str, reason: str) -> None:
    assert failure(text) == f"input.value: '{text}': {reason}"


def test_a_value_is_no_deeper_than_what_comes_from_outside() -> None:
    deep: Any = []
    for _ in range(NESTING_MAX - 2):
        deep = [deep]
    mapping = input_mapping({"value": "input.deep"})
    assert mapping.evaluate({"input": {"deep": deep}, "outputs": {}}) == {"value": deep}
    with pytest.raises(ExpressionFailed, match=r"the value is nested more than 100 levels deep"):
        mapping.evaluate({"input": {"deep": [deep]}, "outputs": {}})


def test_the_part_of_a_mapping_that_failed_is_named() -> None:
    mapping = input_mapping({"places": ["'here'", {"there": "outputs.check.nowhere"}]})
    with pytest.raises(ExpressionFailed, match=r"^input\.places\[1\]\.there: 'outputs\.check\.nowhere': there is no"):
        mapping.evaluate(VARIABLES)


def test_what_an_expression_does_not_speak_of_does_not_harm_it() -> None:
    variables = {"input": {"amount": 5, "other": object()}, "outputs": {"odd": {"ok": True, "odd": object()}}}
    assert condition("input.amount == 5 && outputs.odd.ok").evaluate(variables) is True
    assert condition("has(outputs.odd.fine)").evaluate(variables) is False
    with pytest.raises(ExpressionFailed, match="there is no 'fine'"):
        condition("outputs.odd.fine").evaluate(variables)
    with pytest.raises(ExpressionFailed, match="the variables cannot be read: "):
        condition("input.other == 5 && outputs.odd == {}").evaluate(variables)


@pytest.mark.parametrize(
    "text",
    [
        "input == input && input.count == 2",
        "size(input.items) == 2 && input.items[1].n == 3",
        "outputs.check == {'ok': true, 'place': 'B7'} && outputs.check.ok",
        "has(input.none) && !has(input.nothing) && input.none == null",
        "'count' in input && input['na' + 'me'] == 'Ada'",
        "input.items.exists(outer, outer.sku == 'a' && input.name == 'Ada')",
        "input.name.size() == 3 && outputs.check.place.size() == 2",
    ],
)
def test_that_less_is_handed_over_changes_no_value(text: str) -> None:
    compiled = compile_expression(text)
    assert compiled.program.execute(VARIABLES) is True
    assert compiled.value_for(VARIABLES) is True


def test_a_panic_in_the_library_ends_no_more_than_the_expression() -> None:
    class PanicException(BaseException):
        pass

    class Broken:
        def __init__(self, error: BaseException) -> None:
            self.error = error

        def execute(self, context: object) -> object:
            raise self.error

    def broken(error: BaseException) -> Any:
        program: Any = Broken(error)
        return CompiledExpression("true", program, references_of("true")).value_for(VARIABLES)

    with pytest.raises(ExpressionFailed, match="overflow in Rust"):
        broken(PanicException("overflow in Rust"))
    with pytest.raises(KeyboardInterrupt):
        broken(KeyboardInterrupt())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty; write an expression, such as input.amount > 100.0"),
        ("a b", "column 3: 'b' follows 'a' with no operator between them"),
        ("1 +\n* 2", "line 2, column 1: '*' cannot stand here after '+'"),
        ("(1", "column 1: '(' is not closed"),
        ("9223372036854775808", "column 1: '9223372036854775808' is a number beyond 64 bits"),
        ("1 " * EXPRESSION_CHARACTERS_MAX, "must have at most 2000 characters, but has 4000"),
        (
            "'\ud800'",
            "cannot be read as CEL: 'utf-8' codec can't encode character '\\ud800' in position 1: surrogates "
            "not allowed",
        ),
    ],
)
def test_what_is_no_expression_is_told_with_its_place(text: str, reason: str) -> None:
    with pytest.raises(InvalidExpression) as raised:
        condition(text)
    assert str(raised.value) == reason


def test_expressions_are_equal_when_their_texts_are() -> None:
    assert condition("input.a == 1") == condition(" input.a == 1\n")
    assert condition("input.a == 1") != condition("input.a == 2")
    assert input_mapping({"a": "1", "b": 2}) == input_mapping({"b": 2.0, "a": " 1"})
    assert input_mapping({"a": True}) != input_mapping({"a": 1})
    assert hash(input_mapping({"a": "1"})) == hash(input_mapping({"a": "1"}))


def test_the_longest_and_deepest_texts_do_not_end_the_process() -> None:
    texts = ["1" + "+1" * 999, "!" * 1_996 + "true", "-" * 1_999 + "1", "input" + ".a" * 997, "true" + "&&true" * 332]
    texts += ["[" * 1_000 + "]" * 1_000, "(" * 999 + "1" + ")" * 999, "''" + ".size()" * 285, "1" + "==1" * 666]
    code = (
        "import sys, threading\n"
        "from saga_service.definitions.expressions.cel import *\n"
        "def go():\n"
        "    for text in sys.argv[1:]:\n"
        "        try: condition(text).evaluate({'input': {}, 'outputs': {}})\n"
        "        except (InvalidExpression, ExpressionFailed): pass\n"
        "    print('alive')\n"
        "threading.stack_size(2**21)\n"
        "thread = threading.Thread(target=go)\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    assert all(len(text) <= EXPRESSION_CHARACTERS_MAX for text in texts)
    ended = subprocess.run(
        [sys.executable, "-c", code, *texts], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "alive\n"), ended.stderr


def test_the_library_is_read_when_an_expression_is_and_not_before() -> None:
    code = (
        "import sys\n"
        "from saga_service.definitions import load_definitions\n"
        "load_definitions(['saga_service.demo.sagas'])\n"
        "print('cel' in sys.modules)\n"
        "from saga_service.definitions.expressions.cel import condition\n"
        "condition('true')\n"
        "print('cel' in sys.modules)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, "False\nTrue\n"), ended.stderr


@pytest.mark.parametrize(
    ("text", "references"),
    [
        ("input.a.b > outputs.check.ok", ["input.a.b", "outputs.check.ok"]),
        ("input . a", ["input.a"]),
        ("input[\"a\"].b['c d']", ['input.a.b["c d"]']),
        ("input.items[0].sku", ["input.items"]),
        ("input[input.name]", ["input", "input.name"]),
        ("input.name.startsWith(input.prefix)", ["input.name", "input.prefix"]),
        ("has(input.a)", ["input.a"]),
        ("input.items.map(item, item.sku + input.x)", ["input.items", "input.x"]),
        ("input.items.exists(item, item == 1) && item", ["input.items", "item"]),
        ("input.a.all(x, input.b.exists(y, x == y))", ["input.a", "input.b"]),
        ("'input.a' + \"outputs.b\" + '''input.c'''", []),
        ("r'\\' + input.a", ["input.a"]),
        ("'it\\'s input.a' + input.b", ["input.b"]),
        ("input.a // and input.b\n + input.c", ["input.a", "input.c"]),
        ("type(input.a) == int", ["input.a"]),
        ("true && null == input.a in [1.5e3, 0x1F, 2u]", ["input.a"]),
        ("outputs.plan-route.hops", ["outputs.plan"]),
        ("web", ["web"]),
        ("{key: 1}", ["key"]),
        ('input["a\\x62"]', ["input"]),
        ('"plan-route" in outputs', ['outputs["plan-route"]']),
        ("!('a' in input) && 'b' in input.c", ["input.a", "input.c"]),
        ("'a' + 'b' in input || x == 'a' in input", ["input", "x", "input"]),
    ],
)
def test_what_an_expression_refers_to(text: str, references: list[str]) -> None:
    assert [str(each) for each in references_of(text).variables] == references


def test_a_presence_test_is_told_from_a_use() -> None:
    text = "has(input.a) && input.b && 'c' in input && has(outputs.d.e) && size(input.f) > 1"
    found = references_of(text).variables
    assert [str(each) for each in found if each.is_presence_test] == ["input.a", "input.c", "outputs.d.e"]


def test_names_that_are_subtracted_belong_to_what_they_are_subtracted_from() -> None:
    [first, last] = references_of("outputs.plan-the-route.hops + input.a-input.b").variables[:2]
    assert (first.path, first.subtracted) == (("plan",), ("the", "route"))
    assert (str(last), last.subtracted) == ("input.a", ())
    [items, _] = references_of("input.items.map(n, input.a-n)").variables
    assert items.macro == "map"


def test_the_functions_and_types_that_are_let_in_are_those_that_there_are() -> None:
    calls = {
        "bytes": "string(bytes('a'))",
        "contains": "'a'.contains('a')",
        "double": "double(1)",
        "duration": "duration('1s')",
        "dyn": "dyn(1)",
        "endsWith": "'a'.endsWith('a')",
        "has": "has(input.a)",
        "int": "int(1.0)",
        "matches": "'a'.matches('a')",
        "size": "size([])",
        "startsWith": "'a'.startsWith('a')",
        "string": "string(1)",
        "timestamp": "timestamp('2026-01-01T00:00:00Z')",
        "type": "type(1)",
        "uint": "uint(1)",
    }
    calls |= {name: f"timestamp('2026-01-01T00:00:00Z').{name}()" for name in FUNCTIONS - calls.keys()}
    for name, text in calls.items():
        assert name in references_of(text).functions
        assert compile_expression(text).value_for(VARIABLES) is not None
    assert calls.keys() == FUNCTIONS
    for name in TYPE_NAMES:
        assert compile_expression(f"{name} == {name}").value_for(VARIABLES) is True


def test_wrong_types_are_told_apart_from_wrong_values() -> None:
    with pytest.raises(TypeMismatch):
        compile_expression("1 + 'a'").value_for(VARIABLES)
    with pytest.raises(ExpressionFailed) as raised:
        compile_expression("1 / 0").value_for(VARIABLES)
    assert type(raised.value) is ExpressionFailed
