"""A step waits for steps that stand before it, each named once."""

from __future__ import annotations

from collections.abc import Iterator

from saga_service.core.vocabulary import Kind, Task
from saga_service.definitions.outline import Outline, StepOutline, Wrong, after_of
from saga_service.definitions.problems import closest, shown


def wrong_order(outline: Outline) -> Iterator[Wrong]:
    for step in outline.steps:
        names = after_of(step.written) or []
        for place, name in enumerate(names):
            text = _wrong_name(name, names[:place], step, outline)
            if text is not None:
                path = step.path("after") if isinstance(step.written["after"], str) else step.path("after", place)
                yield path, f"is {shown(name)}, {text}"


def _wrong_name(name: str, before: list[str], step: StepOutline, outline: Outline) -> str | None:
    position = outline.position_of(name)
    if name == step.name:
        return "the step itself; name a step that stands before it"
    if position is None:
        known = outline.names[: step.position]
        return f"and there is no such step{closest(name, known) or _all_of(known)}"
    if position >= step.position:
        return "which stands after this step; name a step that stands before it, or move it up"
    if name in before:
        return "which is named already; leave it out"
    return None


def _all_of(known: list[str]) -> str:
    return f"; steps before this one: {', '.join(known)}" if known else "; none stands before this one"


# MERGED from definitions.rules.kinds:
# One step decides at most; what comes before it can be undone, and what comes after it cannot fail.
#
# A step stands before the pivot if the pivot waits for it, and after it if it waits for the pivot. Of all others nobody
# can say whether the pivot is done when they fail: they must not fail either.


def wrong_kinds(outline: Outline) -> Iterator[Wrong]:
    pivots = [step for step in outline.steps if step.is_work and step.kind is Kind.PIVOT]
    for step in pivots[1:]:
        yield step.path("kind"), f"is 'pivot', as is that of '{pivots[0].name}', and one step alone decides; keep one"
    for step in pivots:
        if step.written.get("compensation") is not None:
            yield step.path("compensation"), "cannot be: once a pivot is done, nothing is undone; leave it out"
    for pivot in pivots[:1]:
        yield from _beside_or_after(pivot, outline)


def _beside_or_after(pivot: StepOutline, outline: Outline) -> Iterator[Wrong]:
    for step in outline.steps:
        if step is pivot or step.position in pivot.ancestors or step.kind is Kind.PIVOT:
            continue
        is_after = pivot.position in step.ancestors
        if step.is_work and step.kind is not Kind.RETRIABLE:
            yield step.path("kind"), _must_be_retriable(pivot, is_after=is_after)
        if step.task is Task.COMMAND and is_after and step.written.get("compensation") is not None:
            yield (
                step.path("compensation"),
                f"cannot be: the step comes after the pivot '{pivot.name}', and nothing is undone then; leave it out",
            )
        if step.task is Task.SIGNAL and "default" not in step.written:
            yield (
                step.path("default"),
                f"is missing: the step {_place(pivot, is_after=is_after)}, and must not fail; "
                "write what stands for the signal when it does not come",
            )


def _must_be_retriable(pivot: StepOutline, *, is_after: bool) -> str:
    otherwise = "" if is_after else ", or let one of the two wait for the other by 'after'"
    return f"must be 'retriable': the step {_place(pivot, is_after=is_after)}; write it{otherwise}"


def _place(pivot: StepOutline, *, is_after: bool) -> str:
    if is_after:
        return f"comes after the pivot '{pivot.name}'"
    return f"may run while the pivot '{pivot.name}' does"
