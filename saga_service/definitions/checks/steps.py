"""Checks of each step: its name, its task and the keywords of that, what it waits for, its times, `on_unknown`."""

from __future__ import annotations

from collections.abc import Iterator

from saga_service.core.vocabulary import Kind, OnUnknown, Task
from saga_service.definitions.durations import duration_text
from saga_service.definitions.keywords import KEYWORDS_OF, TASK_KEYWORDS, TASK_NAMES
from saga_service.definitions.outline import Outline, StepOutline, after_of, milliseconds_of
from saga_service.definitions.problems import Violation, closest, shown

_INSTEAD = {
    (Task.SLEEP, "timeout"): "its length stands at 'sleep'",
    (Task.SIGNAL, "retry"): "it waits once, for 'timeout'",
    (Task.CHILD, "compensation"): "a child saga undoes itself",
    (Task.CHILD, "heartbeat"): "the child's own steps have theirs",
    (Task.CHILD, "output"): "it is what the child's own steps return",
    (Task.SIGNAL, "output"): "it is what the sender of the signal says",
    (Task.COMMAND, "default"): "it stands for a signal that does not come",
}
_NO_COMPENSATION = {
    Kind.PIVOT: "a pivot is not undone; write 'hold', 'probe' or 'retry'",
    Kind.RETRIABLE: "a retriable step is not given up; write 'retry', 'probe' or 'hold'",
}


def check_names(outline: Outline) -> Iterator[Violation]:
    """No two steps have one name."""
    first: dict[str, int] = {}
    for step in outline.steps:
        name = step.content.get("name")
        if isinstance(name, str) and first.setdefault(name, step.position) != step.position:
            yield step.path("name"), f"is {shown(name)}, as is steps[{first[name]}].name; rename one"


def check_outputs(outline: Outline) -> Iterator[Violation]:
    """The description of each step's output is one that can be used."""
    for step in outline.steps:
        for path, text in step.output_violations:
            yield step.path("output", *path), text


def check_tasks(outline: Outline) -> Iterator[Violation]:
    """A step has one task, and no keywords that belong to another."""
    for step in outline.steps:
        yield from _not_one_task(step)
        yield from _foreign_keywords(step)


def _not_one_task(step: StepOutline) -> Iterator[Violation]:
    given = [keyword for keyword in TASK_KEYWORDS if keyword in step.content]
    if not given and step.content:
        yield step.path(), f"has nothing to do; write one of {', '.join(TASK_KEYWORDS)}"
    elif len(given) > 1:
        text = f"stands beside '{given[0]}', and a step is one of {', '.join(TASK_KEYWORDS)}; make two"
        yield step.path(given[1]), text


def _foreign_keywords(step: StepOutline) -> Iterator[Violation]:
    if step.task is None:
        return
    known_anywhere = frozenset[str]().union(*KEYWORDS_OF.values())
    for keyword in step.content:
        if keyword in known_anywhere - KEYWORDS_OF[step.task] - TASK_KEYWORDS.keys():
            reason = _INSTEAD.get((step.task, keyword))
            text = f"means nothing for {TASK_NAMES[step.task]}; leave it out"
            yield step.path(keyword), f"{text}: {reason}" if reason else text


def check_order(outline: Outline) -> Iterator[Violation]:
    """A step waits for steps that stand before it, each named once."""
    for step in outline.steps:
        names = after_of(step.content) or []
        for place, name in enumerate(names):
            text = _order_problem(name, names[:place], step, outline)
            if text is not None:
                path = step.path("after") if isinstance(step.content["after"], str) else step.path("after", place)
                yield path, f"is {shown(name)}, {text}"


def _order_problem(name: str, before: list[str], step: StepOutline, outline: Outline) -> str | None:
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


def check_on_unknown(outline: Outline) -> Iterator[Violation]:
    """The step can do what `on_unknown` says."""
    for step in outline.steps:
        if step.task is Task.CHILD:
            yield from _on_unknown_of_child(step)
        if step.task is Task.COMMAND:
            yield from _on_unknown_of_command(step)


def _on_unknown_of_child(step: StepOutline) -> Iterator[Violation]:
    given = step.content.get("on_unknown", OnUnknown.HOLD)
    if given in list(OnUnknown) and given != OnUnknown.HOLD:
        text = f"is {shown(given)}, and a child saga tells of its end; write 'hold' or leave it out"
        yield step.path("on_unknown"), text


def _on_unknown_of_command(step: StepOutline) -> Iterator[Violation]:
    given = step.content.get("on_unknown")
    has_probe = step.content.get("probe") is not None
    if given == OnUnknown.COMPENSATE and step.kind in _NO_COMPENSATION:
        yield step.path("on_unknown"), f"is 'compensate', and {_NO_COMPENSATION[step.kind]}"
    if given == OnUnknown.PROBE and not has_probe:
        text = "is missing; write the type of the command that asks whether it happened, such as 'payment.find'"
        yield step.path("probe"), text
    if has_probe and given != OnUnknown.PROBE:
        yield step.path("probe"), "is only sent where 'on_unknown' is 'probe'; write that, or leave this out"


def check_times(outline: Outline) -> Iterator[Violation]:
    """A heartbeat is shorter than its timeout, and a sleep than the saga's deadline."""
    deadline_ms = milliseconds_of(outline.content, "deadline")
    for step in outline.steps:
        yield from _slow_heartbeat(step)
        yield from _long_sleep(step, deadline_ms)


def _slow_heartbeat(step: StepOutline) -> Iterator[Violation]:
    heartbeat_ms, timeout_ms = milliseconds_of(step.content, "heartbeat"), step.timeout_ms
    if step.task is Task.COMMAND and heartbeat_ms is not None and heartbeat_ms >= timeout_ms:
        text = f"is {duration_text(heartbeat_ms)}, and must be less than the timeout of {duration_text(timeout_ms)}"
        yield step.path("heartbeat"), f"{text}; write less, or a longer 'timeout'"


def _long_sleep(step: StepOutline, deadline_ms: int | None) -> Iterator[Violation]:
    sleep_ms = milliseconds_of(step.content, "sleep")
    if sleep_ms is not None and deadline_ms and sleep_ms >= deadline_ms:
        text = f"is {duration_text(sleep_ms)}, and the saga's deadline is {duration_text(deadline_ms)}"
        yield step.path("sleep"), f"{text}: it would end in the sleep; write less, or a later 'deadline'"
