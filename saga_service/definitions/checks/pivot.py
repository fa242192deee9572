"""Check of the step that decides: what comes before it can be undone, and what comes after it cannot fail.

A saga has one pivot at most. A step stands before it if the pivot waits for the step, and after it if the step waits
for the pivot. Any other step may fail before the pivot is done or after: it must not fail either.
"""

from __future__ import annotations

from collections.abc import Iterator

from saga_service.core.vocabulary import Kind, Task
from saga_service.definitions.outline import Outline, StepOutline
from saga_service.definitions.problems import Violation


def check_pivot(outline: Outline) -> Iterator[Violation]:
    """One step decides at most, it is not undone, and every step beside or after it suits it."""
    pivots = [step for step in outline.steps if step.has_effects and step.kind is Kind.PIVOT]
    for step in pivots[1:]:
        yield step.path("kind"), f"is 'pivot', as is that of '{pivots[0].name}', and one step alone decides; keep one"
    for step in pivots:
        if step.content.get("compensation") is not None:
            yield step.path("compensation"), "cannot be: once a pivot is done, nothing is undone; leave it out"
    for pivot in pivots[:1]:
        yield from _beside_or_after(pivot, outline)


def _beside_or_after(pivot: StepOutline, outline: Outline) -> Iterator[Violation]:
    for step in outline.steps:
        if step is pivot or step.position in pivot.ancestors or step.kind is Kind.PIVOT:
            continue
        is_after = pivot.position in step.ancestors
        if step.has_effects and step.kind is not Kind.RETRIABLE:
            yield step.path("kind"), _must_be_retriable(pivot, is_after=is_after)
        if step.task is Task.COMMAND and is_after and step.content.get("compensation") is not None:
            text = f"cannot be: the step comes after the pivot '{pivot.name}', and nothing is undone then; leave it out"
            yield step.path("compensation"), text
        if step.task is Task.SIGNAL and "default" not in step.content:
            text = f"is missing: the step {_place(pivot, is_after=is_after)}, and must not fail"
            yield step.path("default"), f"{text}; write what stands for the signal when it does not come"


def _must_be_retriable(pivot: StepOutline, *, is_after: bool) -> str:
    otherwise = "" if is_after else ", or let one of the two wait for the other by 'after'"
    return f"must be 'retriable': the step {_place(pivot, is_after=is_after)}; write it{otherwise}"


def _place(pivot: StepOutline, *, is_after: bool) -> str:
    if is_after:
        return f"comes after the pivot '{pivot.name}'"
    return f"may run while the pivot '{pivot.name}' does"
