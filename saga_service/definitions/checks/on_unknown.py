"""What is done about an attempt that never answered fits the step."""

from __future__ import annotations

from collections.abc import Iterator

from saga_service.core.vocabulary import Kind, OnUnknown, Task
from saga_service.definitions.outline import Outline, StepOutline, Wrong
from saga_service.definitions.problems import shown

_NOT_OF = {
    Kind.PIVOT: "a pivot is not undone; write 'hold', 'probe' or 'retry'",
    Kind.RETRIABLE: "a retriable step is not given up; write 'retry', 'probe' or 'hold'",
}


def wrong_answers(outline: Outline) -> Iterator[Wrong]:
    for step in outline.steps:
        if step.task is Task.CHILD:
            yield from _of_child(step)
        if step.task is Task.COMMAND:
            yield from _of_command(step)


def _of_child(step: StepOutline) -> Iterator[Wrong]:
    given = step.written.get("on_unknown", OnUnknown.HOLD)
    if given in list(OnUnknown) and given != OnUnknown.HOLD:
        yield (
            step.path("on_unknown"),
            f"is {shown(given)}, and a child saga tells of its end; write 'hold' or leave it out",
        )


def _of_command(step: StepOutline) -> Iterator[Wrong]:
    given = step.written.get("on_unknown")
    has_probe = step.written.get("probe") is not None
    if given == OnUnknown.COMPENSATE and step.kind in _NOT_OF:
        yield step.path("on_unknown"), f"is 'compensate', and {_NOT_OF[step.kind]}"
    if given == OnUnknown.PROBE and not has_probe:
        text = "is missing; write the type of the command that asks whether it happened, such as 'payment.find'"
        yield step.path("probe"), text
    if has_probe and given != OnUnknown.PROBE:
        yield step.path("probe"), "is only sent where 'on_unknown' is 'probe'; write that, or leave this out"
