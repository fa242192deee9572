"""An expression fits the types of what it speaks of, and asks first where something may be missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from saga_service.core.vocabulary import Task
from saga_service.definitions.checks.place import Place, json_text, one_line
from saga_service.definitions.expressions.cel import Compiled
from saga_service.definitions.expressions.references import Mention, mentions_of
from saga_service.definitions.expressions.sample_cases import Cases, cases_for
from saga_service.definitions.expressions.static_evaluation import Case, Misfit, Reached, Trials, missing_mention
from saga_service.definitions.outline import StepOutline
from saga_service.definitions.problems import shown


def wrong_types(compiled: Compiled, place: Place) -> Iterator[str]:
    misfit = first_misfit(compiled, place)
    if misfit is not None:
        yield _told(misfit, place)


def first_misfit(compiled: Compiled, place: Place) -> Misfit | None:
    """What is found by trying the expression on values such as the definition allows."""
    trials = Trials()
    reached, cases = reached_cases([compiled.text], place, trials)
    tree = trials.tree(compiled.text)
    return trials.misfit(tree, reached, are_all=cases.are_all, is_condition=place.must_be_truth)


def reached_cases(texts: Sequence[str], place: Place, trials: Trials) -> tuple[list[Reached], Cases]:
    """The cases in which these are looked at: the step's own condition stands before all but itself."""
    when = None if place.must_be_truth else place.step.when
    spoken_of = [mentions_of(text) for text in (*texts, *([] if when is None else [when]))]
    cases = cases_for(spoken_of, place.outline, trials)
    if when is None:
        return [Reached(case, is_certain=True) for case in cases.all], cases
    return trials.guarded(trials.tree(when), cases.all), cases


def _told(misfit: Misfit, place: Place) -> str:
    text, (value, error) = shown(one_line(misfit.compiled.text)), misfit.outcome
    missing = missing_mention(misfit.compiled, misfit.outcome, misfit.case)
    if missing is not None:
        return f"speaks of '{missing}', {_why_missing(missing, place)}; {_how_to_ask(missing, place)}"
    tried = tried_with(misfit.compiled.mentions.variables, misfit.case)
    if error is None:
        return f"must give true or false, but {text} gives {json_text(value)}{tried}"
    return f"{text}: {error}{tried}"


def tried_with(mentions: Iterable[Mention], case: Case) -> str:
    """What is found there in the case, in the order of the names."""
    by_name = {str(mention): mention for mention in mentions}
    return "".join(_tried(by_name[name], case.variables) for name in sorted(by_name))


def _tried(mention: Mention, variables: Any) -> str:
    value = variables[mention.variable]
    for name in mention.path:
        if not isinstance(value, Mapping) or name not in value:
            return f"; tried without {mention}"
        value = value[name]
    return "" if mention.is_asked else f"; tried with {mention} = {json_text(value)}"


# --------------------------------------------------------------------------------------------------------- missing


def _why_missing(missing: Mention, place: Place) -> str:
    name = missing.path[-1]
    if missing.variable == "input":
        return f"and '{name}' may be missing: it is not among 'required', and has no default"
    step = _step_of(missing, place)
    if len(missing.path) == 1:
        return f"and '{name}' has no output where its 'when' is false"
    if step is not None and step.task is Task.SIGNAL:
        return f"and the 'default' of '{step.name}' has no '{name}'"
    if step is not None and step.task is Task.CHILD and len(missing.path) == 2:
        return f"and the step '{name}' of the saga '{step.written['saga']}' has no output where its 'when' is false"
    return f"and '{name}' may be missing: it is not among 'required'"


def _step_of(missing: Mention, place: Place) -> StepOutline | None:
    position = place.outline.position_of(missing.path[0])
    return None if position is None else place.outline.steps[position]


def _how_to_ask(missing: Mention, place: Place) -> str:
    """A question that the author can write before it. `has` takes no names that cannot follow a point."""
    name, holder = missing.path[-1], Mention(missing.variable, missing.path[:-1])
    asked = f"has({missing})" if name.isidentifier() else f'"{name}" in {holder}'
    return f"ask first: {asked} {'&& …' if place.must_be_truth else f'? {missing} : …'}"
