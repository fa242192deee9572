"""Check that an expression fits the types of what it refers to, and tests first for what may be missing.

The expression is evaluated on sample values, such as the schemas of the definition allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from saga_service.core.vocabulary import Task
from saga_service.definitions.checks.sample_cases import SampleCases, sample_cases_for
from saga_service.definitions.expressions.cel import CompiledExpression
from saga_service.definitions.expressions.references import Reference, references_of
from saga_service.definitions.expressions.static_evaluation import (
    Misfit,
    Reached,
    SampleCase,
    StaticEvaluation,
    missing_reference,
)
from saga_service.definitions.outline import Outline, StepOutline
from saga_service.definitions.problems import SHOWN_CHARACTERS_MAX, Path, shown


@dataclass(frozen=True, slots=True)
class Place:
    """The place of an expression. It may refer to what the outline has, as far as the step waits for it."""

    path: Path
    step: StepOutline
    outline: Outline
    must_be_boolean: bool = False

    def inside(self, name: str | int) -> Place:
        return Place((*self.path, name), self.step, self.outline)


def type_problems(compiled: CompiledExpression, place: Place) -> Iterator[str]:
    """The first misfit of the expression with the types of what it refers to, in words for the author."""
    misfit = first_misfit(compiled, place)
    if misfit is not None:
        yield _text(misfit, place)


def first_misfit(compiled: CompiledExpression, place: Place) -> Misfit | None:
    """The first part of the expression that fails on values such as the definition allows."""
    evaluation = StaticEvaluation()
    reached, cases = reached_cases([compiled.text], place, evaluation)
    tree = evaluation.tree(compiled.text)
    return evaluation.misfit(tree, reached, are_all=cases.are_all, is_condition=place.must_be_boolean)


def reached_cases(
    texts: Sequence[str], place: Place, evaluation: StaticEvaluation
) -> tuple[list[Reached], SampleCases]:
    """The cases in which these are looked at: the step's own condition stands before all but itself."""
    when = None if place.must_be_boolean else place.step.when
    references = [references_of(text) for text in (*texts, *([] if when is None else [when]))]
    cases = sample_cases_for(references, place.outline, evaluation)
    if when is None:
        return [Reached(case, is_certain=True) for case in cases.all], cases
    return evaluation.guarded(evaluation.tree(when), cases.all), cases


def _text(misfit: Misfit, place: Place) -> str:
    text, (value, error) = shown(one_line(misfit.compiled.text)), misfit.outcome
    missing = missing_reference(misfit.compiled, misfit.outcome, misfit.case)
    if missing is not None:
        return f"refers to '{missing}', {_why_missing(missing, place)}; {_how_to_ask(missing, place)}"
    tried = tried_with(misfit.compiled.references.variables, misfit.case)
    if error is None:
        return f"must give true or false, but {text} gives {json_text(value)}{tried}"
    return f"{text}: {error}{tried}"


def tried_with(references: Iterable[Reference], case: SampleCase) -> str:
    """The values of these references in the case, in the order of their names, to end a text with."""
    by_name = {str(reference): reference for reference in references}
    return "".join(_tried(by_name[name], case.variables) for name in sorted(by_name))


def _tried(reference: Reference, variables: Any) -> str:
    value = variables[reference.variable]
    for name in reference.path:
        if not isinstance(value, Mapping) or name not in value:
            return f"; tried without {reference}"
        value = value[name]
    return "" if reference.is_presence_test else f"; tried with {reference} = {json_text(value)}"


def _why_missing(missing: Reference, place: Place) -> str:
    name = missing.path[-1]
    if missing.variable == "input":
        return f"and '{name}' may be missing: it is not among 'required', and has no default"
    step = _step_of(missing, place)
    if len(missing.path) == 1:
        return f"and '{name}' has no output where its 'when' is false"
    if step is not None and step.task is Task.SIGNAL and step.output_schema is None:
        return f"and the 'default' of '{step.name}' has no '{name}'"
    if step is not None and step.task is Task.CHILD and len(missing.path) == 2:
        return f"and the step '{name}' of the saga '{step.content['saga']}' has no output where its 'when' is false"
    return f"and '{name}' may be missing: it is not among 'required'"


def _step_of(missing: Reference, place: Place) -> StepOutline | None:
    position = place.outline.position_of(missing.path[0])
    return None if position is None else place.outline.steps[position]


def _how_to_ask(missing: Reference, place: Place) -> str:
    """A test that the author can write before it. `has` takes no names that cannot follow a point."""
    name, holder = missing.path[-1], Reference(missing.variable, missing.path[:-1])
    asked = f"has({missing})" if name.isidentifier() else f'"{name}" in {holder}'
    return f"ask first: {asked} {'&& …' if place.must_be_boolean else f'? {missing} : …'}"


def json_text(value: object) -> str:
    """The value as JSON, short enough for one line."""
    text = orjson.dumps(value, default=str).decode()
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}…"


def one_line(text: str) -> str:
    return " ".join(text.split())
