"""The cases in which a step's expressions are tried: what the saga may have been sent, and its steps have returned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from saga_service.core.vocabulary import Task
from saga_service.definitions.checks.known_outputs import depends_on_conditions, known_output
from saga_service.definitions.expressions.references import Mention, Mentions, mentions_of
from saga_service.definitions.expressions.static_evaluation import Case, Trials
from saga_service.definitions.outline import Outline, StepOutline
from saga_service.definitions.schema.samples import UNKNOWN, Samples, samples_of

CASES_MAX = 128
_NOTHING_KNOWN = Samples([UNKNOWN], are_all=True)
_Ways = list[tuple[str | None, ...]]


@dataclass(frozen=True, slots=True)
class Cases:
    all: list[Case]
    are_all: bool
    """Whether every type of each value is there together with every one of each other value."""


def cases_for(mentions: Iterable[Mentions], outline: Outline, trials: Trials) -> Cases:
    """With all that is spoken of, and all by which that is there or not."""
    spoken_of = _SpokenOf(outline)
    for each in mentions:
        spoken_of.add(each)
    inputs = _inputs(outline, spoken_of.input)
    cases, are_all = [Case({"input": value, "outputs": {}}) for value in inputs.values], inputs.are_all
    for position in sorted(spoken_of.outputs):
        step = outline.steps[position]
        returned = _returned(step, outline, spoken_of.outputs[position])
        cases = [each for case in cases for each in _with_output(case, step, returned.values, outline, trials)]
        are_all = are_all and returned.are_all and len(cases) <= CASES_MAX
        cases = _thinned(cases)
    return Cases(cases, are_all)


class _SpokenOf:
    """The ways that lead into the input, and into the output of each step that is spoken of, by its place."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self.input: _Ways = []
        self.outputs: dict[int, _Ways] = {}

    def add(self, mentions: Mentions) -> None:
        for mention in mentions.variables:
            if mention.variable == "input" and mention.path:
                self.input.append(_way(mention.path, mention))
            elif mention.variable == "outputs" and mention.path:
                self._add_output(mention)

    def _add_output(self, mention: Mention) -> None:
        position = self._outline.position_of(mention.path[0])
        if position is None:
            return
        is_new = position not in self.outputs
        self.outputs.setdefault(position, []).append(_way(mention.path[1:], mention))
        when = self._outline.steps[position].when
        if is_new and when is not None:
            self.add(mentions_of(when))


def _way(path: tuple[str, ...], mention: Mention) -> tuple[str | None, ...]:
    return (*path, None) if mention.is_asked else path


def _inputs(outline: Outline, ways: _Ways) -> Samples:
    if not ways or outline.reader is None:
        return Samples([UNKNOWN if ways else {}], are_all=True)
    return samples_of(outline.reader.stored_schema, ways, levels_read=outline.reader.levels_read)


def _returned(step: StepOutline, outline: Outline, ways: _Ways) -> Samples:
    """What the step may have returned, where it is done."""
    schema = known_output(step, outline.family)
    if schema is not None:
        return samples_of(schema, ways)
    default = step.written.get("default")
    if step.task is Task.SIGNAL and isinstance(default, Mapping):
        return Samples([default, UNKNOWN], are_all=True)
    return _NOTHING_KNOWN


def _with_output(
    case: Case, step: StepOutline, returned: list[Any], outline: Outline, trials: Trials
) -> Iterator[Case]:
    """The case with each output that the step may have in it; without one, where the step is left out."""
    ways_on = _ways_on(step, case, trials)
    in_doubt = case.in_doubt or len(ways_on) > 1 or depends_on_conditions(step, outline.family)
    for is_done in ways_on:
        for outputs in ({step.name: value} for value in returned) if is_done else ({},):
            yield Case({**case.variables, "outputs": {**case.variables["outputs"], **outputs}}, in_doubt)


def _ways_on(step: StepOutline, case: Case, trials: Trials) -> list[bool]:
    """Whether the step is done. Both where nobody can say; neither where its condition fails: the saga ends there."""
    if step.when is None:
        return [True]
    outcome = trials.outcome(trials.tree(step.when), case)
    if outcome is None:
        return [False, True]
    return [outcome.value] if isinstance(outcome.value, bool) else []


def _thinned(cases: list[Case]) -> list[Case]:
    """No more than can be tried in a moment, from all over."""
    return [cases[place * len(cases) // CASES_MAX] for place in range(CASES_MAX)] if len(cases) > CASES_MAX else cases
