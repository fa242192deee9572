"""Checks of a saga's steps, one by one and together.

Of the saga as a whole: the description of its input, its key, and its triggers. Of each step: its name, its task
and the keywords of that, the steps that it waits for, its times, `on_unknown`. Of the pivot: every step before it
can be undone, and no step after it can fail.

A saga has one pivot at most. A step stands before it if the pivot waits for the step, and after it if the step waits
for the pivot. Any other step may fail before the pivot is done or after: it must not fail either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from saga_service.base.similar_names import closest
from saga_service.core.definition import OutputMisfit
from saga_service.core.vocabulary import Kind, OnUnknown, Task
from saga_service.definitions.keywords import KEYWORDS_OF, TASK_KEYWORDS, TASK_NAMES, duration_text
from saga_service.definitions.outline import Outline, StepOutline, after_of, milliseconds_of
from saga_service.definitions.problems import Violation, mappings, shown
from saga_service.definitions.schema.json_schema import types_of
from saga_service.definitions.schema.keys import altered_key


def check_input(outline: Outline) -> Iterator[Violation]:
    """The input's description is one that can be used."""
    for path, text in outline.input_violations:
        yield ("input", *path), text


def check_triggers(outline: Outline) -> Iterator[Violation]:
    """No trigger starts the saga a second time."""
    seen: set[tuple[str, str]] = {("event_type", str(outline.content.get("name")))}
    for position, trigger in enumerate(mappings(outline.content.get("triggers"))):
        for keyword in ("event_type", "stream"):
            value = trigger.get(keyword)
            if not isinstance(value, str):
                continue
            if (keyword, value) in seen:
                text = f"is {shown(value)}, which starts this saga already; leave this trigger out"
                yield ("triggers", position, keyword), text
            seen.add((keyword, value))


def check_key(outline: Outline) -> Iterator[Violation]:
    """The key is a property of the input, and text or a whole number, which the schema leaves as it was sent."""
    key, reader = outline.content.get("key"), outline.reader
    properties = _named_properties(outline.content) if reader is None else reader.stored
    if not isinstance(key, str) or properties is None:
        return
    if key not in properties:
        yield ("key",), f"must be a property of the input, but is {shown(key)}; {_likely(key, properties)}"
        return
    if reader is None:
        return
    allowed = types_of(reader.stored[key], reader.schema)
    if allowed and not allowed & {"string", "integer"}:
        yield ("key",), f"must be a property with text or a whole number, but {shown(key)} is {', '.join(allowed)}"
        return
    altered = altered_key(reader, key)
    if altered is not None:
        sent, read = altered
        yield (
            ("key",),
            f"is {shown(key)}, whose schema makes {shown(read)} of {shown(sent)}; let it leave a key as it is",
        )


def _named_properties(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The properties of a schema that cannot be used; None where others may come from elsewhere in it."""
    schema = content.get("input")
    if not isinstance(schema, Mapping) or not schema.keys().isdisjoint(("$ref", "allOf", "anyOf", "oneOf")):
        return None
    properties = schema.get("properties")
    return properties if isinstance(properties, Mapping) else None


def _likely(key: str, properties: Mapping[str, Any]) -> str:
    # In Python a property's name may be anything; the check of the schema reports that.
    names = [str(name) for name in properties]
    close = get_close_matches(key, names, n=1)
    return f"did you mean '{close[0]}'?" if close else f"the input's properties: {', '.join(names) or 'none'}"


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


_INSTEAD = {
    (Task.SLEEP, "timeout"): "its length stands at 'sleep'",
    (Task.SIGNAL, "retry"): "it waits once, for 'timeout'",
    (Task.CHILD, "compensation"): "a child saga undoes itself",
    (Task.CHILD, "heartbeat"): "the child's own steps have theirs",
    (Task.CHILD, "output"): "it is what the child's own steps return",
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
    """The description of each step's output is one that can be used, and the default of a signal fits it."""
    for step in outline.steps:
        for path, text in step.output_violations:
            yield step.path("output", *path), text
        yield from _misfit_default(step)


def _misfit_default(step: StepOutline) -> Iterator[Violation]:
    default = step.content.get("default")
    if step.task is not Task.SIGNAL or step.output_schema is None or not isinstance(default, Mapping):
        return
    try:
        step.output_schema.read(default)
    except OutputMisfit as misfit:
        yield step.path("default"), f"does not fit 'output': {misfit}"


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
