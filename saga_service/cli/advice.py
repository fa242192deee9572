"""What a person may type next about one saga, ready to paste."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from shlex import quote

from saga_service.cli.reading import SagaStory
from saga_service.cli.ways_out import WITH_A_REASON, ways_out
from saga_service.core.definition import Definition

OVERDUE = timedelta(seconds=10)
"""Past this, something due was not merely just missed by a timer's round."""


def next_steps(story: SagaStory, definition: Definition | None, now: datetime, address: str) -> Iterator[str]:
    """`address` names the saga in the commands: its id, or a key that no other saga has."""
    saga = story.saga
    if saga.status == "stuck":
        yield from ways_out(story, definition, now, quote(address))
    elif saga.status == "paused":
        yield from _resume(story, quote(address))
    elif any(step.due_at is not None and step.due_at < now - OVERDUE for step in story.steps):
        yield "it is overdue, so no replica looks after it; see what is wrong: saga-service doctor"
    elif saga.ended_at is not None:
        yield from _ENDED[saga.status](story)
    elif waiting := [step for step in story.steps if step.waiting_for == "signal"]:
        for step in waiting:
            name = quote(step.signal) if step.signal else "NAME"
            yield f"{step.step} waits for a signal: saga-service signal {name} {quote(address)}"
    else:
        yield f"nothing: it goes on by itself; look again: saga-service show {quote(address)}"


def _resume(story: SagaStory, address: str) -> Iterator[str]:
    paused = next((entry for entry in reversed(story.history) if entry.event == "pause_asked"), None)
    if paused is not None and paused.actor is not None:
        yield f"{paused.actor} has paused it" + (f": {paused.reason}" if paused.reason else "")
    yield "to let it go on:"
    yield f"  saga-service resume {address} {WITH_A_REASON}"


def _completed(_: SagaStory) -> Iterator[str]:
    yield "nothing: every step is done"


def _compensated(story: SagaStory) -> Iterator[str]:
    for step in story.steps:
        if step.status == "skipped" and step.compensation_attempts:
            yield f"what {step.step} did may still stand: somebody said so while it was being undone"
        elif step.status in ("succeeded", "unknown") and step.task == "command":
            yield f"what {step.step} did still stands: it has no compensation, so nothing takes it back"
    key = " with another key" if story.saga.key else ""
    yield f"nothing more is owed; to try once more, start another {story.saga.saga}{key}"


_ENDED: dict[str, Callable[[SagaStory], Iterator[str]]] = {"completed": _completed, "compensated": _compensated}
