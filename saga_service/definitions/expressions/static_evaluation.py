"""Static evaluation: an expression and its parts, evaluated on sample values before any saga runs.

Of some values that an expression refers to nothing is known before a saga runs. A part that refers to none of these is
evaluated by itself. A failure is reported where it must happen: where the part is evaluated in any event, or where it
fails in every case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from saga_service.core.definition import ExpressionFailed
from saga_service.definitions.expressions.cel import (
    CompiledExpression,
    InvalidExpression,
    TypeMismatch,
    compile_expression,
)
from saga_service.definitions.expressions.parser import Form, Node, tree_of
from saga_service.definitions.expressions.references import VARIABLES, Reference
from saga_service.definitions.schema.samples import UNKNOWN, is_unknown


@dataclass(frozen=True, eq=False)
class SampleCase:
    """Sample values of the variables."""

    variables: Mapping[str, Any]
    is_uncertain: bool = False
    """True if a step was skipped or done here by a condition of which nothing is known. That condition may depend on
    the same values as any other one."""

    @cached_property
    def plain(self) -> Mapping[str, Any]:
        """The variables with None for what is not known: a presence test needs no more than that."""
        plain: Mapping[str, Any] = _plain(self.variables)
        return plain


class Outcome(NamedTuple):
    """The value of an expression, or the error that it fails with."""

    value: Any = None
    error: ExpressionFailed | None = None


class Reached(NamedTuple):
    """A case in which a part is evaluated: for certain, or by a condition of which nothing is known."""

    case: SampleCase
    is_certain: bool


_Part = tuple[Node, list[Reached], bool]
"""A part, the cases in which it is evaluated, and whether it must be true or false."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """A part of an expression that fails, or that is neither true nor false where it must be."""

    compiled: CompiledExpression
    case: SampleCase
    outcome: Outcome


class StaticEvaluation:
    """Evaluates each part once in each case, however often it is asked for."""

    def __init__(self) -> None:
        self._trees: dict[str, Node] = {}
        self._compiled: dict[str, CompiledExpression | None] = {}
        self._outcomes: dict[tuple[Node, SampleCase], Outcome | None] = {}

    def tree(self, text: str) -> Node:
        if text not in self._trees:
            self._trees[text] = tree_of(text)
        return self._trees[text]

    def outcome(self, node: Node, case: SampleCase) -> Outcome | None:
        """The outcome by the part itself, or by those of its parts that settle it; None where it is not known."""
        by_itself = self._by_itself(node, case)
        return self._settled(node, case) if by_itself is None else by_itself

    def json_value(self, text: str, case: SampleCase) -> Any:
        """The value of a whole expression; UNKNOWN where it is not known, or where there is none."""
        outcome = self._by_itself(self.tree(text), case, whole=True)
        return UNKNOWN if outcome is None or outcome.error is not None else outcome.value

    def misfit(self, tree: Node, reached: Sequence[Reached], *, are_all: bool, is_condition: bool) -> Misfit | None:
        """The first misfit of the expression. `are_all`: a part that fails in all of these cases fails in any."""
        left = [(tree, list(reached), is_condition)]
        while left:
            node, cases, must_be_boolean = left.pop()
            evaluated = [(each, self._by_itself(node, each.case, whole=node is tree)) for each in cases]
            known = [
                (each, outcome) for each, outcome in evaluated if outcome and not _is_uncertain(node, each, outcome)
            ]
            found = self._worst(node, known, are_all and len(known) == len(evaluated), must_be_boolean)
            if found is not None:
                return found
            unknown = [each for each, outcome in evaluated if outcome is None or _is_uncertain(node, each, outcome)]
            left += [part for part in self._parts(node, unknown, must_be_boolean) if part[1]][::-1]
        return None

    def _by_itself(self, node: Node, case: SampleCase, *, whole: bool = False) -> Outcome | None:
        """The outcome; None where a value that it refers to is not known. A whole expression must give JSON."""
        key = (node, case)
        if key not in self._outcomes:
            compiled = self._compile(node.text)
            is_known_here = compiled is not None and all(is_known(each, case) for each in compiled.references.variables)
            self._outcomes[key] = _outcome(compiled, case, whole=whole) if compiled and is_known_here else None
        return self._outcomes[key]

    def _settled(self, node: Node, case: SampleCase) -> Outcome | None:
        match node.form:
            case Form.AND | Form.OR:
                settled = node.form is Form.OR
                is_settled = any(_is(self.outcome(part, case), settled) for part in node.parts)
                return Outcome(settled) if is_settled else None
            case Form.CHOICE:
                branch = self._branch(node, case)
                return None if branch is None else self.outcome(branch, case)
            case _:
                return None

    def _branch(self, node: Node, case: SampleCase) -> Node | None:
        condition, first, second = node.parts
        asked = self.outcome(condition, case)
        return first if _is(asked, True) else second if _is(asked, False) else None

    def _compile(self, text: str) -> CompiledExpression | None:
        if text not in self._compiled:
            try:
                self._compiled[text] = compile_expression(text)
            except InvalidExpression:
                # The author's whole expression is one; a piece that is none by itself is left alone.
                self._compiled[text] = None
        return self._compiled[text]

    def _worst(
        self, node: Node, known: Sequence[tuple[Reached, Outcome]], are_all: bool, must_be_boolean: bool
    ) -> Misfit | None:
        compiled = self._compile(node.text)
        if compiled is None:
            return None
        failing = [each for each in known if _fails(each[1], must_be_boolean)]
        reported = [each for each in failing if each[0].is_certain and _is_reported(compiled, each[1], each[0].case)]
        is_never_right = are_all and len(failing) == len(known) and all(_is_of_types(each) for _, each in failing)
        for reached, outcome in reported or (failing if is_never_right else ()):
            return Misfit(compiled, reached.case, outcome)
        return None

    def _parts(self, node: Node, cases: list[Reached], is_condition: bool) -> Iterator[_Part]:
        """The parts of one that is not known as a whole, each with the cases in which it is evaluated."""
        match node.form:
            case Form.AND | Form.OR:
                for part in node.parts:
                    others = [other for other in node.parts if other is not part]
                    yield part, self._not_settled(others, cases, node.form is Form.OR), True
            case Form.CHOICE:
                condition, *branches = node.parts
                yield condition, cases, True
                for branch, chosen in zip(branches, (True, False), strict=True):
                    yield branch, list(self._chosen(condition, cases, chosen)), is_condition
            case Form.MACRO:
                target, *body = node.parts
                yield target, cases, False
                # The body of a macro over an empty list is not evaluated.
                yield from ((part, [Reached(each.case, False) for each in cases], False) for part in body)
            case Form.HAS:
                return
            case _:
                yield from ((part, cases, False) for part in node.parts)

    def _not_settled(self, others: Sequence[Node], cases: Sequence[Reached], settled: bool) -> list[Reached]:
        found = []
        for reached in cases:
            outcomes = [self.outcome(other, reached.case) for other in others]
            if not any(_is(outcome, settled) for outcome in outcomes):
                found.append(_behind(reached, is_known=all(_is(outcome, not settled) for outcome in outcomes)))
        return found

    def _chosen(self, condition: Node, cases: Sequence[Reached], chosen: bool) -> Iterator[Reached]:
        for reached in cases:
            outcome = self.outcome(condition, reached.case)
            if not _is(outcome, not chosen):
                yield _behind(reached, is_known=_is(outcome, chosen))

    def guarded(self, condition: Node, cases: Sequence[SampleCase]) -> list[Reached]:
        """The cases in which the condition may be true."""
        return list(self._chosen(condition, [Reached(case, True) for case in cases], True))


def _outcome(compiled: CompiledExpression, case: SampleCase, *, whole: bool) -> Outcome:
    try:
        return Outcome((compiled.value_for if whole else compiled.plain_value_for)(case.plain))
    except ExpressionFailed as error:
        return Outcome(error=error)


def _is_uncertain(node: Node, reached: Reached, outcome: Outcome) -> bool:
    """True if it fails, but perhaps by a part that is not evaluated where a step is in truth skipped, or done."""
    return reached.case.is_uncertain and outcome.error is not None and node.has_conditions


def _behind(reached: Reached, *, is_known: bool) -> Reached:
    """The case behind a condition that is true in it, as far as is known."""
    return Reached(reached.case, reached.is_certain and is_known and not reached.case.is_uncertain)


def _is(outcome: Outcome | None, value: bool) -> bool:
    return outcome is not None and outcome.error is None and outcome.value is value


def _fails(outcome: Outcome, must_be_boolean: bool) -> bool:
    return outcome.error is not None or (must_be_boolean and not isinstance(outcome.value, bool))


def _is_of_types(outcome: Outcome) -> bool:
    return outcome.error is None or isinstance(outcome.error, TypeMismatch)


def _is_reported(compiled: CompiledExpression, outcome: Outcome, case: SampleCase) -> bool:
    """True if the failure is one of types and names. Any other depends on the values, which are samples."""
    return _is_of_types(outcome) or not compiled.references.variables or names_what_is_missing(compiled, outcome, case)


def names_what_is_missing(compiled: CompiledExpression, outcome: Outcome, case: SampleCase) -> bool:
    """True if it fails for a name in its text. A text by which something is looked up is a value like any other."""
    name = missing_name(outcome)
    if name is None:
        return False
    is_in_text = re.search(rf"\.\s*{re.escape(name)}\b", compiled.text) is not None
    return is_in_text or missing_reference(compiled, outcome, case) is not None


def missing_name(outcome: Outcome) -> str | None:
    cause = None if outcome.error is None else outcome.error.__cause__
    return str(cause.args[0]) if isinstance(cause, KeyError) else None


def missing_reference(compiled: CompiledExpression, outcome: Outcome, case: SampleCase) -> Reference | None:
    """The reference to the missing name, without what follows it; None where that cannot be seen."""
    missing = missing_name(outcome)
    for reference in compiled.references.variables:
        value: Any = case.variables[reference.variable]
        for depth, name in enumerate(reference.path):
            if not isinstance(value, Mapping):
                break
            if name not in value and name == missing:
                return Reference(reference.variable, reference.path[: depth + 1])
            value = value.get(name)
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return None if value is UNKNOWN else value


def is_known(reference: Reference, case: SampleCase) -> bool:
    """True if the case has a value there, or says that there is none."""
    if reference.variable not in VARIABLES or not reference.path:
        return False
    value: Any = case.variables[reference.variable]
    for name in reference.path:
        if not isinstance(value, Mapping):
            return not is_unknown(value)
        if name not in value:
            return True
        value = value[name]
    return reference.is_presence_test or not is_unknown(value)
