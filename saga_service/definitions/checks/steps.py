"""A step is one thing, and has no words that belong to another."""

from __future__ import annotations

from collections.abc import Iterator

from saga_service.core.vocabulary import Task
from saga_service.definitions.keywords import CALLED, TASK_WORDS, WORDS_OF, duration_text
from saga_service.definitions.model import TIMEOUT_MS_DEFAULT
from saga_service.definitions.outline import Outline, StepOutline, Wrong, milliseconds_of

_INSTEAD = {
    (Task.SLEEP, "timeout"): "its length stands at 'sleep'",
    (Task.SIGNAL, "retry"): "it waits once, for 'timeout'",
    (Task.CHILD, "compensation"): "a child saga undoes itself",
    (Task.CHILD, "heartbeat"): "the child's own steps have theirs",
    (Task.CHILD, "output"): "it is what the child's own steps return",
    (Task.SIGNAL, "output"): "it is what the sender of the signal says",
    (Task.COMMAND, "default"): "it stands for a signal that does not come",
}


def wrong_tasks(outline: Outline) -> Iterator[Wrong]:
    for step in outline.steps:
        yield from _not_one_task(step)
        yield from _foreign_words(step)


def _not_one_task(step: StepOutline) -> Iterator[Wrong]:
    given = [word for word in TASK_WORDS if word in step.written]
    if not given and step.written:
        yield step.path(), f"has nothing to do; write one of {', '.join(TASK_WORDS)}"
    elif len(given) > 1:
        yield step.path(given[1]), f"stands beside '{given[0]}', and a step is one of {', '.join(TASK_WORDS)}; make two"


def _foreign_words(step: StepOutline) -> Iterator[Wrong]:
    if step.task is None:
        return
    known_anywhere = frozenset[str]().union(*WORDS_OF.values())
    for word in step.written:
        if word in known_anywhere - WORDS_OF[step.task] - TASK_WORDS.keys():
            reason = _INSTEAD.get((step.task, word))
            told = f"means nothing for {CALLED[step.task]}; leave it out"
            yield step.path(word), f"{told}: {reason}" if reason else told


# MERGED from definitions.rules.times:
# Times that stand beside one another make sense together.


def wrong_times(outline: Outline) -> Iterator[Wrong]:
    deadline_ms = milliseconds_of(outline.written, "deadline")
    for step in outline.steps:
        yield from _slow_heartbeat(step)
        yield from _long_sleep(step, deadline_ms)


def _slow_heartbeat(step: StepOutline) -> Iterator[Wrong]:
    heartbeat_ms = milliseconds_of(step.written, "heartbeat")
    timeout_ms = milliseconds_of(step.written, "timeout") or TIMEOUT_MS_DEFAULT
    if step.task is Task.COMMAND and heartbeat_ms is not None and heartbeat_ms >= timeout_ms:
        told = f"is {duration_text(heartbeat_ms)}, and must be less than the timeout of {duration_text(timeout_ms)}"
        yield step.path("heartbeat"), f"{told}; write less, or a longer 'timeout'"


def _long_sleep(step: StepOutline, deadline_ms: int | None) -> Iterator[Wrong]:
    sleep_ms = milliseconds_of(step.written, "sleep")
    if sleep_ms is not None and deadline_ms and sleep_ms >= deadline_ms:
        told = f"is {duration_text(sleep_ms)}, and the saga's deadline is {duration_text(deadline_ms)}"
        yield step.path("sleep"), f"{told}: it would end in the sleep; write less, or a later 'deadline'"


# MERGED from definitions.rules.sources:
# What a saga is sent and what its steps return is described as JSON Schema has it.


def wrong_sources(outline: Outline) -> Iterator[Wrong]:
    for path, text in outline.wrong_reader:
        yield ("input", *path), text
    for step in outline.steps:
        for path, text in step.wrong_shape:
            yield step.path("output", *path), text
