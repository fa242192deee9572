"""The commands that a person may type next about one saga: ready to paste, and none that would be refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime, timedelta

from saga_service.admin.text import shell_word
from saga_service.admin.views import SagaStory
from saga_service.core.advance import advance
from saga_service.core.definition import Definition, StepDefinition
from saga_service.core.effects import Transition
from saga_service.core.events import OperationRequested
from saga_service.core.forward import is_parked
from saga_service.core.state import SagaState, StepState
from saga_service.core.vocabulary import Course, Operation, Resolution, StepStatus, Verdict

OVERDUE = timedelta(seconds=10)
"""A step that is due for longer was not merely missed by one round of the timers."""
REASON_TO_WRITE = "--reason '...'"

Choice = tuple[str, Operation, Resolution | None]
"""An operation that a person may choose, after the knowledge or the wish that speaks for it."""

_SITUATIONS: dict[StepStatus, tuple[str, tuple[Choice, ...]]] = {
    StepStatus.COMPENSATION_FAILED: (
        "the undo of {step} was given up on",
        (
            (
                "undo it by hand, then say so, and the rest is undone by itself:",
                Operation.RESOLVE,
                Resolution.COMPENSATED,
            ),
            ("once what kept it from being undone is mended, let its worker try again:", Operation.RETRY, None),
            ("to let its effect stand, and undo the rest:", Operation.SKIP, None),
        ),
    ),
    StepStatus.UNKNOWN: (
        "it is not known whether {step} has happened; look",
        (
            ("if it has:", Operation.RESOLVE, Resolution.SUCCEEDED),
            ("if it has not, and the saga is to be undone:", Operation.RESOLVE, Resolution.FAILED),
            ("if it may be done once more (with the same idempotency key):", Operation.RETRY, None),
            ("to go on without it:", Operation.SKIP, None),
        ),
    ),
    StepStatus.FAILED: (
        "{step} could not be done",
        (
            ("once what kept it from it is mended, try again:", Operation.RETRY, None),
            ("do it by hand, then say so:", Operation.RESOLVE, Resolution.SUCCEEDED),
            ("to go on without it:", Operation.SKIP, None),
        ),
    ),
}
"""By the status of a step that waits for a person: what is the matter, and what can be done about it."""


_LATER_VERSION = ("a later version of the service has stored it: the command line of that version says what to do",)


class Preview:
    """The core's answers to operations that are not requested yet. A preview changes nothing."""

    def __init__(self, definition: Definition, state: SagaState, now_ms: int) -> None:
        self.state = state
        self._definition = definition
        self._now_ms = now_ms

    def needs_a_person(self, step: StepState) -> bool:
        if self.state.course is Course.BACKWARD:
            return step.status is StepStatus.COMPENSATION_FAILED
        return is_parked(step)

    def of(self, operation: Operation, step: str | None = None, resolution: Resolution | None = None) -> Transition:
        """The transition that the operation would cause now."""
        requested = OperationRequested(
            saga_id=self.state.id, operation=operation, actor="", step=step, resolution=resolution
        )
        return advance(self._definition, self.state, requested, self._now_ms)


def next_steps(
    story: SagaStory,
    state: SagaState | None,
    definition: Definition | None,
    now: datetime,
    address: str,
    lacking: Iterable[str] = (),
    outdated: Collection[str] = (),
) -> Iterator[str]:
    """Lines of advice. `address` names the saga in the commands: its id, or a key that no other saga has.

    The state and the definition are None where they cannot be read here. `lacking` has the awaited commands that no
    worker carries out, `outdated` those of them that the deployed version does not send any more.
    """
    saga = story.saga
    if saga.status == "stuck":
        yield from _LATER_VERSION if state is None else _ways_out(state, definition, now, shell_word(address))
    elif saga.status == "paused":
        yield from _resume(story, shell_word(address))
    elif commands := list(lacking):
        for command in commands:
            yield from _lacking(story, command, is_outdated=command in outdated)
        yield from _signals(story, shell_word(address))
        if outdated and state is not None and definition is not None and state.course is Course.FORWARD:
            yield from _cancel(Preview(definition, state, round(now.timestamp() * 1000)), shell_word(address))
    elif any(step.due_at is not None and step.due_at < now - OVERDUE for step in story.steps):
        yield "it is overdue, so no replica looks after it; see what is wrong: saga-service doctor"
    elif saga.ended_at is not None:
        yield from _ENDED[saga.status](story)
    elif signals := _signals(story, shell_word(address)):
        yield from signals
    else:
        yield f"nothing: it goes on by itself; look again: saga-service show {shell_word(address)}"


def _signals(story: SagaStory, address: str) -> list[str]:
    waiting = [step for step in story.steps if step.waiting_for == "signal"]
    names = [shell_word(step.signal) if step.signal else "NAME" for step in waiting]
    return [
        f"{step.step} waits for a signal: saga-service signal {name} {address}"
        for step, name in zip(waiting, names, strict=True)
    ]


def _lacking(story: SagaStory, command: str, *, is_outdated: bool) -> Iterator[str]:
    if is_outdated:
        yield f"this saga goes by version {story.saga.version}, which is no longer the deployed one and sends {command}"
        yield f"to let it go on, give a worker a handler of {command}"
    else:
        yield f"to let it go on, start a worker that carries out {command}: saga-service worker MODULE:WORKER"


def _ways_out(state: SagaState, definition: Definition | None, now: datetime, address: str) -> Iterator[str]:
    """Every operation that gets a stuck saga going again. Each is previewed before it is offered."""
    preview = Preview(definition or _assumed_definition(state), state, round(now.timestamp() * 1000))
    if definition is None:
        yield "its definition is not registered, or cannot be read here: some of this may be refused"
    for step in preview.state.steps:
        if preview.needs_a_person(step):
            yield from _choices(preview, step, address)
    if preview.state.course is Course.FORWARD:
        yield from _cancel(preview, address)


def _assumed_definition(state: SagaState) -> Definition:
    """A definition for a saga whose own cannot be read: its steps are taken for commands that may fail."""
    return Definition(state.saga, state.version, tuple(StepDefinition(name=step.name) for step in state.steps))


def _choices(preview: Preview, step: StepState, address: str) -> Iterator[str]:
    situation, choices = _SITUATIONS[step.status]
    yield situation.format(step=step.name)
    for knowledge, operation, resolution in choices:
        if preview.of(operation, step.name, resolution).verdict is Verdict.APPLIED:
            yield knowledge
            what = [f"--as {resolution}"] if resolution else []
            words = ["saga-service", operation, address, "--step", shell_word(step.name), *what, REASON_TO_WRITE]
            yield f"  {' '.join(words)}"


def _cancel(preview: Preview, address: str) -> Iterator[str]:
    cancelled = preview.of(Operation.CANCEL)
    if cancelled.verdict is Verdict.APPLIED:
        yield "or give the saga up, and undo what it has done:"
        yield f"  saga-service cancel {address} {REASON_TO_WRITE}"
    else:
        yield f"it cannot be given up: {cancelled.reason}"


def _resume(story: SagaStory, address: str) -> Iterator[str]:
    paused = next((entry for entry in reversed(story.history) if entry.event == "pause_requested"), None)
    if paused is not None and paused.actor is not None:
        yield f"{paused.actor} has paused it" + (f": {paused.reason}" if paused.reason else "")
    yield "to let it go on:"
    yield f"  saga-service resume {address} {REASON_TO_WRITE}"


def _completed(_: SagaStory) -> Iterator[str]:
    yield "nothing: every step is done"


def _compensated(story: SagaStory) -> Iterator[str]:
    for step in story.steps:
        if step.status == "skipped" and step.compensation_attempts:
            yield f"what {step.step} did may still stand: a person has skipped its undo"
        elif step.status in ("succeeded", "unknown") and step.task == "command":
            yield f"what {step.step} did still stands: it has no compensation, so nothing takes it back"
    key = " with another key" if story.saga.key else ""
    yield f"nothing is left to be undone; to try once more, start another {story.saga.saga}{key}"


_ENDED: dict[str, Callable[[SagaStory], Iterator[str]]] = {"completed": _completed, "compensated": _compensated}
