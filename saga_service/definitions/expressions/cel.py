"""Expressions in the Common Expression Language (CEL): conditions, and mappings of what a step is sent.

Expressions refer to `input`, the saga's own, and to `outputs`, what earlier steps returned, by the step's name. CEL
has no clock, no chance and no loop without an end. The same variables give the same value, with one exception: the
order in which `map` and `filter` go through the keys of a mapping. `checks.expressions` refuses that where it can
be seen. How much an evaluation may do is bounded by `cost`.

A value becomes JSON. A timestamp is text as RFC 3339 has it, a duration is text in seconds (`"5400s"`), as
protobuf's JSON has both. A value that has no place in JSON, or none in Postgres, is an error: bytes, a number that
is not finite, a whole number beyond 64 bits, a key that is not text, a NUL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import TYPE_CHECKING, Any

import orjson

from saga_service.core.definition import ExpressionFailed, Variables
from saga_service.definitions.expressions.cost import WorkMeter, tree_to_count
from saga_service.definitions.expressions.parser import Node
from saga_service.definitions.expressions.references import References, references_of
from saga_service.definitions.expressions.syntax import syntax_error
from saga_service.definitions.problems import Path, path_text, shown
from saga_service.definitions.schema.json_schema import canonical_numbers
from saga_service.wire.json import NESTING_MAX

_INTEGER_MIN, _INTEGER_MAX = -(2**63), 2**64 - 1


def json_value(value: Any, levels: int) -> Any:
    """The value as JSON has it, its mappings in the order of their keys. Raises ExpressionFailed.

    `levels` is the number of lists and mappings that may stand within one another below the value.
    """
    match value:
        case list() | dict() if levels < 0:
            raise ExpressionFailed(f"the value is nested more than {NESTING_MAX} levels deep")
        case None | bool():
            return value
        case int():
            return _whole(value)
        case float():
            return _finite(value)
        case str():
            return _text(value)
        case list():
            return [json_value(inner, levels - 1) for inner in value]
        case dict():
            return {name: json_value(value[name], levels - 1) for name in sorted(value, key=_key)}
        case datetime():
            return _moment(value)
        case timedelta():
            return _seconds(value)
        case bytes():
            raise ExpressionFailed("the value is bytes, which JSON has no place for; write string(...)")
        case _:
            raise ExpressionFailed(f"the value is no JSON: {shown(value)}")


def _whole(value: int) -> int:
    if not _INTEGER_MIN <= value <= _INTEGER_MAX:
        raise ExpressionFailed("the value is a whole number beyond 64 bits")
    return value


def _finite(value: float) -> float:
    if not isfinite(value):
        raise ExpressionFailed(f"the value is no number that JSON has: {value}")
    return value


def _text(value: str) -> str:
    if "\x00" in value:
        raise ExpressionFailed("the value holds a NUL character (\\u0000), which cannot be stored")
    return value


def _moment(value: datetime) -> str:
    try:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except OverflowError as error:
        raise ExpressionFailed("the value is a moment before the year 1, or after 9999, in UTC") from error


def _key(name: object) -> str:
    if not isinstance(name, str):
        raise ExpressionFailed(
            f"the value has the key {shown(name)}, and JSON has text alone for keys; write string(...)"
        )
    return _text(name)


def _seconds(value: timedelta) -> str:
    microseconds = value // timedelta(microseconds=1)
    sign, whole, part = "-" if microseconds < 0 else "", *divmod(abs(microseconds), 1_000_000)
    return f"{sign}{whole}.{part:06}".rstrip("0").rstrip(".") + "s" if part else f"{sign}{whole}s"


if TYPE_CHECKING:
    from cel import Program

EXPRESSION_CHARACTERS_MAX = 2_000
"""The library's parser goes as deep as a text is long, and a text ten times as long ends the process."""

_REASON_CHARACTERS_MAX = 200
_UNDEFINED = re.compile(r"Undefined variable or function: '([^']*)'")
_UNSUPPORTED = re.compile(r"Unsupported operation: (\w+) (\S+) (\w+)")
_NO_MIXING = (
    "CEL does not mix whole numbers with numbers that have a point, nor either with text; "
    "write double(...), int(...) or string(...), or 1.0 in place of 1"
)


class InvalidExpression(ValueError):
    """The text is not CEL; the error's own text says why."""


class TypeMismatch(ExpressionFailed):
    """An operation does not exist for the types of its values."""


@dataclass(frozen=True, slots=True)
class CompiledExpression:
    """One expression. Two are equal when their texts are."""

    text: str
    program: Program = field(repr=False, compare=False)
    references: References = field(repr=False, compare=False)
    loops: Node | None = field(default=None, repr=False, compare=False)
    """The parts of an expression that has a macro, to count its work by; None where it has none."""

    def value_for(self, variables: Variables) -> Any:
        """The value as JSON has it. Raises ExpressionFailed; a TypeMismatch of those for values of wrong types."""
        return json_value(self.plain_value_for(variables), NESTING_MAX - 1)

    def plain_value_for(self, variables: Variables) -> Any:
        """The value as CEL has it, for a part of an expression, which need not be JSON. Raises as `value_for` does."""
        return _Evaluation([self.references], variables).value(self)


@dataclass(frozen=True, slots=True)
class Condition:
    """An expression that gives true or false."""

    compiled: CompiledExpression

    @property
    def text(self) -> str:
        return self.compiled.text

    @property
    def references(self) -> References:
        return self.compiled.references

    def evaluate(self, variables: Variables) -> bool:
        """The answer. Raises ExpressionFailed, also where the value is neither true nor false."""
        try:
            value = self.compiled.plain_value_for(variables)
        except ExpressionFailed as error:
            raise _named(error, "when", self.text) from error
        if not isinstance(value, bool):
            raise _named(TypeMismatch(f"must give true or false, but gives {shown(value)}"), "when", self.text)
        return value


@dataclass(frozen=True, slots=True)
class InputMapping:
    """The input of a step: a JSON object, the texts in it expressions, and all else as it is."""

    canonical: bytes
    """The mapping as its author wrote it, as JSON. Two mappings are equal when these are."""
    written: Mapping[str, Any] = field(compare=False)
    compiled: Mapping[str, Any] = field(repr=False, compare=False)
    """The mapping, with a compiled expression in the place of each text."""
    references: tuple[References, ...] = field(repr=False, compare=False)

    def evaluate(self, variables: Variables) -> dict[str, Any]:
        """The input as it is sent. Raises ExpressionFailed."""
        evaluation = _Evaluation(self.references, variables)
        return {name: _mapped(part, evaluation, ("input", name)) for name, part in self.compiled.items()}


def condition(text: str) -> Condition:
    """The condition in this text. Raises InvalidExpression."""
    return Condition(compile_expression(text))


def input_mapping(written: Mapping[str, Any]) -> InputMapping:
    """The mapping, its texts compiled. Raises InvalidExpression."""
    compiled = {name: _compiled_parts(part) for name, part in written.items()}
    plain: dict[str, Any] = canonical_numbers(_texts_of(compiled))
    canonical = orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)
    return InputMapping(canonical, plain, compiled, tuple(each.references for each in _expressions(compiled)))


def compile_expression(text: str) -> CompiledExpression:
    """The expression in this text. Raises InvalidExpression."""
    if len(text) > EXPRESSION_CHARACTERS_MAX:
        raise InvalidExpression(f"must have at most {EXPRESSION_CHARACTERS_MAX} characters, but has {len(text)}")
    # Imported when it is first needed: the library brings a command line of its own, which takes long to read.
    from cel import compile as compile_program

    stripped = text.strip()
    try:
        program, references = compile_program(stripped), references_of(stripped)
    except ValueError as error:
        raise InvalidExpression(syntax_error(stripped, str(error))) from None
    return CompiledExpression(stripped, program, references, tree_to_count(stripped) if references.bound else None)


def _compiled_parts(part: Any) -> Any:
    match part:
        case str():
            return compile_expression(part)
        case Mapping():
            return {name: _compiled_parts(inner) for name, inner in part.items()}
        case list():
            return [_compiled_parts(inner) for inner in part]
        case _:
            return part


def _texts_of(part: Any) -> Any:
    """The part as its author wrote it, without the space around a text."""
    match part:
        case CompiledExpression():
            return part.text
        case dict():
            return {name: _texts_of(inner) for name, inner in part.items()}
        case list():
            return [_texts_of(inner) for inner in part]
        case _:
            return part


def _expressions(part: Any) -> list[CompiledExpression]:
    match part:
        case CompiledExpression():
            return [part]
        case dict():
            return [found for inner in part.values() for found in _expressions(inner)]
        case list():
            return [found for inner in part for found in _expressions(inner)]
        case _:
            return []


class _Evaluation:
    """The evaluation of a condition or of a mapping: its variables, and the work that its expressions may do."""

    def __init__(self, references: Sequence[References], variables: Variables) -> None:
        from cel import Context

        # No more of the variables than is referred to: to convert a whole input takes longer than the expression.
        narrowed = {name: _referred_to(name, references, value) for name, value in variables.items()}
        try:
            self._context = Context(variables=narrowed)
        except Exception as error:
            raise ExpressionFailed(f"the variables cannot be read: {_first_line(str(error))}") from error
        self._variables = variables
        self._meter: WorkMeter | None = None

    def value(self, compiled: CompiledExpression) -> Any:
        """The value as CEL has it. Raises ExpressionFailed."""
        if compiled.loops is not None:
            self._meter = self._meter or WorkMeter(self._variables)
            self._meter.count(compiled.loops)
        try:
            return compiled.program.execute(self._context)
        except BaseException as error:
            # A panic in the library's Rust is no Exception, and must end no more than this expression.
            if isinstance(error, Exception) or type(error).__name__ == "PanicException":
                raise _failure(error) from error
            raise


def _referred_to(variable: str, references: Sequence[References], value: Mapping[str, Any]) -> Any:
    return _narrowed(value, [reference.path for each in references for reference in each.of(variable)])


def _narrowed(value: Any, paths: Sequence[tuple[str, ...]]) -> Any:
    """The mapping without what no path leads to; the whole value where a path ends here, or where it is no mapping."""
    if not isinstance(value, Mapping) or not all(paths):
        return value
    further: dict[str, list[tuple[str, ...]]] = {}
    for name, *more in paths:
        further.setdefault(name, []).append(tuple(more))
    return {name: _narrowed(value[name], rest) for name, rest in further.items() if name in value}


def _mapped(part: Any, evaluation: _Evaluation, path: Path) -> Any:
    match part:
        case CompiledExpression():
            try:
                return json_value(evaluation.value(part), NESTING_MAX - len(path))
            except ExpressionFailed as error:
                raise _named(error, path_text(path), part.text) from error
        case dict():
            return {name: _mapped(inner, evaluation, (*path, name)) for name, inner in part.items()}
        case list():
            return [_mapped(inner, evaluation, (*path, place)) for place, inner in enumerate(part)]
        case _:
            return part


def _named(error: ExpressionFailed, place: str, text: str) -> ExpressionFailed:
    return type(error)(f"{place}: {shown(' '.join(text.split()))}: {error}")


def _failure(error: BaseException) -> ExpressionFailed:
    """The library's error in words for the author."""
    text = str(error)
    match error:
        case KeyError():
            return ExpressionFailed(f"there is no '{error.args[0]}'; ask has(...) first where it may be missing")
        case ZeroDivisionError():
            return ExpressionFailed("divides by zero")
        case TypeError():
            matched = _UNSUPPORTED.search(text)
            operation = f"there is no {matched[1]} {matched[2]} {matched[3]}" if matched else "the types do not fit"
            return TypeMismatch(f"{operation}; {_NO_MIXING}")
        case RuntimeError() if matched := _UNDEFINED.search(text):
            return TypeMismatch(f"there is no function '{matched[1]}' for values of these types")
        case _:
            return ExpressionFailed(_first_line(text))


def _first_line(text: str) -> str:
    line = text.partition("\n")[0].removesuffix(" Check function arguments and their types.")
    return line if len(line) <= _REASON_CHARACTERS_MAX else f"{line[:_REASON_CHARACTERS_MAX]}…"
