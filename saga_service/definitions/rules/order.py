"""A step waits for steps that stand before it, each named once."""

from __future__ import annotations

from collections.abc import Iterator

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
