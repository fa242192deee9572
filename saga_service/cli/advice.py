"""What a person may type next about one saga, ready to paste."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from shlex import quote

from saga_service.cli.reading import SagaRow, SagaStory, StepRow

OVERDUE = timedelta(seconds=10)
"""Past this, something due was not merely just missed by a timer's round."""


def next_steps(story: SagaStory, now: datetime, address: str) -> Iterator[str]:
    """`address` names the saga in the commands: its id, or a key that no other saga has."""
    saga = story.saga
    if saga.status == "stuck":
        yield from _settle(story, quote(address))
    elif saga.status == "paused":
        yield from _resume(story, quote(address))
    elif any(step.due_at is not None and step.due_at < now - OVERDUE for step in story.steps):
        yield "it is overdue, so no replica looks after it; see what is wrong: saga-service doctor"
    elif saga.ended_at is not None:
        yield _NOTHING_OWED[saga.status](saga)
    elif waiting := [step for step in story.steps if step.waiting_for == "signal"]:
        for step in waiting:
            name = quote(step.signal) if step.signal else "NAME"
            yield f"{step.step} waits for a signal: saga-service signal {name} {quote(address)}"
    else:
        yield f"nothing: it goes on by itself; look again: saga-service show {quote(address)}"


def _settle(story: SagaStory, address: str) -> Iterator[str]:
    undoing = story.saga.course == "backward"
    for step in story.steps:
        if step.status == "compensation_failed":
            yield from _choices(_UNDO_GIVEN_UP, address, step.step)
        elif not undoing and _is_parked(step):
            yield from _choices(_PARKED[step.status], address, step.step)
    if not undoing:
        yield "or give the saga up, and undo what it has done:"
        yield f"  saga-service cancel {address} --reason '...'"


def _is_parked(step: StepRow) -> bool:
    return step.waiting_for is None and step.status in _PARKED


def _choices(choices: tuple[tuple[str, str], ...], address: str, step: str) -> Iterator[str]:
    for situation, verb in choices:
        command, _, rest = verb.partition(" ")
        yield situation.format(step=step)
        words = ["saga-service", command, address, "--step", quote(step), *([rest] if rest else []), "--reason '...'"]
        yield f"  {' '.join(words)}"


_UNDO_GIVEN_UP = (
    ("undo {step} by hand, then say so, and the rest is undone by itself:", "resolve --as compensated"),
    ("or, once what kept it from being undone is mended, let its worker try again:", "retry"),
    ("or let the effect of {step} stand, and undo the rest:", "skip"),
)
_PARKED = {
    "unknown": (
        ("nobody knows whether {step} has happened; look, and if it has:", "resolve --as succeeded"),
        ("if it has not, and the saga is to be undone:", "resolve --as failed"),
        ("if it may be done once more (with the same idempotency key):", "retry"),
        ("or go on without it:", "skip"),
    ),
    "failed": (
        ("{step} could not be done; once what kept it from it is mended, try again:", "retry"),
        ("or do it by hand, then say so:", "resolve --as succeeded"),
        ("or go on without it:", "skip"),
    ),
}


def _resume(story: SagaStory, address: str) -> Iterator[str]:
    paused = next((entry for entry in reversed(story.history) if entry.event == "pause_asked"), None)
    if paused is not None and paused.actor is not None:
        yield f"{paused.actor} has paused it" + (f": {paused.reason}" if paused.reason else "")
    yield "to let it go on:"
    yield f"  saga-service resume {address} --reason '...'"


_NOTHING_OWED: dict[str, Callable[[SagaRow], str]] = {
    "completed": lambda _: "nothing: every step is done",
    "compensated": lambda saga: (
        f"nothing is owed: every effect is undone; to try once more, start another {saga.saga}"
        + (" with another key" if saga.key else "")
    ),
}
