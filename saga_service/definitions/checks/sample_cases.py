"""Sample cases for a step's expressions: inputs that the saga may have, and outputs that its steps may return.

A step's output has a schema as far as it is known before any saga runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from saga_service.core.state import JsonObject
from saga_service.core.vocabulary import Task
from saga_service.definitions.expressions.references import Reference, References, references_of
from saga_service.definitions.expressions.static_evaluation import SampleCase, StaticEvaluation
from saga_service.definitions.outline import Outline, SagasByName, StepOutline
from saga_service.definitions.schema.samples import UNKNOWN, Samples, samples_of

_ANYTHING: JsonObject = {"type": "object"}


def known_output(step: StepOutline, sagas_by_name: SagasByName) -> JsonObject | None:
    """The JSON Schema of the step's output; None where nothing is known of it.

    Of a command and of a signal it is what the author wrote. A child saga returns the outputs of its own steps, by
    their names.
    """
    return _known(step, sagas_by_name, {})


def depends_on_conditions(step: StepOutline, sagas_by_name: SagasByName) -> bool:
    """True if a condition in a child saga decides if a part of the output is there."""
    seen: set[int] = set()
    left = [step]
    while left:
        child = child_of(left.pop(), sagas_by_name)
        if child is None or id(child) in seen:
            continue
        if any("when" in each.content for each in child.steps):
            return True
        seen.add(id(child))
        left += child.steps
    return False


def child_of(step: StepOutline, sagas_by_name: SagasByName) -> Outline | None:
    """The saga that the step starts; None where it starts none, or one that is not there."""
    name = _child_name(step)
    return None if name is None else sagas_by_name.get(name)


def _known(step: StepOutline, sagas_by_name: SagasByName, of_sagas: dict[str, JsonObject]) -> JsonObject | None:
    if step.task in (Task.COMMAND, Task.SIGNAL):
        return None if step.output_schema is None else step.output_schema.kept_schema
    name = _child_name(step)
    if name is None or name not in sagas_by_name:
        return None
    if name not in of_sagas:
        # A saga that is its own descendant is reported by another check, and must not loop here.
        of_sagas[name] = _ANYTHING
        of_sagas[name] = _of_steps(sagas_by_name[name], sagas_by_name, of_sagas)
    return of_sagas[name]


def _child_name(step: StepOutline) -> str | None:
    name = step.content.get("saga")
    return name if step.task is Task.CHILD and isinstance(name, str) else None


def _of_steps(child: Outline, sagas_by_name: SagasByName, of_sagas: dict[str, JsonObject]) -> JsonObject:
    steps = [each for each in child.steps if each.task is not Task.SLEEP]
    return {
        "type": "object",
        "properties": {each.name: _held(_known(each, sagas_by_name, of_sagas)) for each in steps},
        # A step that a person skips has no output either, which no author can provide for.
        "required": [each.name for each in steps if "when" not in each.content],
        "additionalProperties": False,
    }


def _held(schema: JsonObject | None) -> Mapping[str, Any]:
    """The schema as a part of another one. A schema that refers to itself cannot be such a part."""
    return _ANYTHING if schema is None or not {"$defs", "definitions"}.isdisjoint(schema) else schema


CASES_MAX = 128
"""Sample cases of one expression. Of more than these an even selection is tried."""

_NOTHING_KNOWN = Samples([UNKNOWN], are_all=True)
_Ways = list[tuple[str | None, ...]]


@dataclass(frozen=True, slots=True)
class SampleCases:
    all: list[SampleCase]
    are_all: bool
    """True if every type of each value occurs together with every type of each other value."""


def sample_cases_for(references: Iterable[References], outline: Outline, evaluation: StaticEvaluation) -> SampleCases:
    """Cases with a value for all that is referred to, and for all that decides whether it is there."""
    referred_to = _ReferredTo(outline)
    for each in references:
        referred_to.add(each)
    inputs = _inputs(outline, referred_to.input)
    cases, are_all = [SampleCase({"input": value, "outputs": {}}) for value in inputs.values], inputs.are_all
    for position in sorted(referred_to.outputs):
        step = outline.steps[position]
        returned = _returned(step, outline, referred_to.outputs[position])
        cases = [each for case in cases for each in _with_output(case, step, returned.values, outline, evaluation)]
        are_all = are_all and returned.are_all and len(cases) <= CASES_MAX
        cases = _thinned(cases)
    return SampleCases(cases, are_all)


class _ReferredTo:
    """The paths into the input, and into the outputs of steps by their positions, that expressions refer to."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self.input: _Ways = []
        self.outputs: dict[int, _Ways] = {}

    def add(self, references: References) -> None:
        for reference in references.variables:
            if reference.variable == "input" and reference.path:
                self.input.append(_way(reference.path, reference))
            elif reference.variable == "outputs" and reference.path:
                self._add_output(reference)

    def _add_output(self, reference: Reference) -> None:
        position = self._outline.position_of(reference.path[0])
        if position is None:
            return
        is_new = position not in self.outputs
        self.outputs.setdefault(position, []).append(_way(reference.path[1:], reference))
        when = self._outline.steps[position].when
        if is_new and when is not None:
            self.add(references_of(when))


def _way(path: tuple[str, ...], reference: Reference) -> tuple[str | None, ...]:
    return (*path, None) if reference.is_presence_test else path


def _inputs(outline: Outline, ways: _Ways) -> Samples:
    if not ways or outline.reader is None:
        return Samples([UNKNOWN if ways else {}], are_all=True)
    return samples_of(outline.reader.stored_schema, ways)


def _returned(step: StepOutline, outline: Outline, ways: _Ways) -> Samples:
    """Outputs that the step may have where it is done."""
    schema = known_output(step, outline.sagas_by_name)
    if schema is not None:
        return samples_of(schema, ways)
    default = step.content.get("default")
    if step.task is Task.SIGNAL and isinstance(default, Mapping):
        return Samples([default, UNKNOWN], are_all=True)
    return _NOTHING_KNOWN


def _with_output(
    case: SampleCase, step: StepOutline, returned: list[Any], outline: Outline, evaluation: StaticEvaluation
) -> Iterator[SampleCase]:
    """The case with each output that the step may have, and without one where the step is skipped."""
    outcomes = _outcomes_of(step, case, evaluation)
    is_uncertain = case.is_uncertain or len(outcomes) > 1 or depends_on_conditions(step, outline.sagas_by_name)
    for is_done in outcomes:
        for outputs in ({step.name: value} for value in returned) if is_done else ({},):
            yield SampleCase({**case.variables, "outputs": {**case.variables["outputs"], **outputs}}, is_uncertain)


def _outcomes_of(step: StepOutline, case: SampleCase, evaluation: StaticEvaluation) -> list[bool]:
    """True if the step is done: both where that is not known, neither where its condition fails and the saga ends."""
    if step.when is None:
        return [True]
    outcome = evaluation.outcome(evaluation.tree(step.when), case)
    if outcome is None:
        return [False, True]
    return [outcome.value] if isinstance(outcome.value, bool) else []


def _thinned(cases: list[SampleCase]) -> list[SampleCase]:
    """At most CASES_MAX of the cases, evenly selected."""
    return [cases[place * len(cases) // CASES_MAX] for place in range(CASES_MAX)] if len(cases) > CASES_MAX else cases
