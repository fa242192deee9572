"""A step is one thing, and has no words that belong to another."""

from __future__ import annotations

from collections.abc import Iterator

from saga_service.core.definition import Task
from saga_service.definitions.outline import Outline, StepOutline, Wrong
from saga_service.definitions.words import CALLED, TASK_WORDS, WORDS_OF

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
