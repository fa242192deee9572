"""A saga as the core has it, out of what the views tell: what may be asked of it, and what would be undone, is then the
core's to say, and nobody else's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from shlex import quote

from saga_service.cli.access.views import SagaRow, SagaStory, StepRow
from saga_service.core.advance import advance
from saga_service.core.definition import Definition, StepDefinition
from saga_service.core.effects import Transition
from saga_service.core.events import OperationRequested
from saga_service.core.ids import SagaId
from saga_service.core.look import is_parked
from saga_service.core.state import Fault, SagaState, StepState
from saga_service.core.vocabulary import Course, Due, Operation, Resolution, SagaStatus, StepStatus, Verdict


def state_of(saga: SagaRow, steps: Sequence[StepRow]) -> SagaState:
    """All of it that decides what becomes of the saga next.

    Which attempts were left without an answer the views do not tell, only whether any was: the latest stands for them.
    """
    return SagaState(
        id=SagaId(saga.id),
        saga=saga.saga,
        version=saga.version,
        key=saga.key,
        status=SagaStatus(saga.status),
        revision=saga.revision,
        input=saga.input,
        steps=tuple(_step_of(step) for step in steps),
        created_at_ms=milliseconds(saga.created_at),
        updated_at_ms=milliseconds(saga.updated_at),
        ended_at_ms=_milliseconds(saga.ended_at),
        fault=_fault_of(saga.error_code, saga.error_message, saga.error_step),
        course=Course(saga.course),
        deadline_ms=_milliseconds(saga.deadline_at),
    )


def _step_of(step: StepRow) -> StepState:
    return StepState(
        name=step.step,
        status=StepStatus(step.status),
        attempts=step.attempts,
        compensation_attempts=step.compensation_attempts,
        effect_revision=step.effect_revision,
        due_at_ms=_milliseconds(step.due_at),
        due=None if step.waiting_for is None else Due(step.waiting_for),
        unanswered=(step.attempts,) if step.in_doubt else (),
        output=step.output,
        fault=_fault_of(step.error_code, step.error_message),
        started_at_ms=_milliseconds(step.started_at),
        ended_at_ms=_milliseconds(step.ended_at),
        probes=step.probes,
    )


def assumed_definition(saga: SagaRow, steps: Sequence[StepRow]) -> Definition:
    """For a saga whose definition is not on record: as if its steps were commands that may fail."""
    return Definition(saga.saga, saga.version, tuple(StepDefinition(name=step.step) for step in steps))


def milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _milliseconds(at: datetime | None) -> int | None:
    return None if at is None else milliseconds(at)


def _fault_of(code: str | None, message: str | None, step: str | None = None) -> Fault | None:
    return None if code is None else Fault(code, message or "", step)


# MERGED from cli.asked_in_advance:
# The core's answer to what a person might say of a saga, before it is said.


class AskedInAdvance:
    """What would come of a person's word, were it said now. Nothing comes of asking."""

    def __init__(self, definition: Definition, state: SagaState, now_ms: int) -> None:
        self.state = state
        self._definition = definition
        self._now_ms = now_ms

    def needs_a_person(self, step: StepState) -> bool:
        if self.state.course is Course.BACKWARD:
            return step.status is StepStatus.COMPENSATION_FAILED
        return is_parked(step)

    def to(self, operation: Operation, step: str | None = None, resolution: Resolution | None = None) -> Transition:
        word = OperationRequested(
            saga_id=self.state.id, operation=operation, actor="", step=step, resolution=resolution
        )
        return advance(self._definition, self.state, word, self._now_ms)


# MERGED from cli.ways_out:
# How a person may get a stuck saga going again: ready to paste, and nothing that would be refused.

WITH_A_REASON = "--reason '...'"

Choice = tuple[str, Operation, Resolution | None]
"""What a person knows or wants, and what to say then."""

_WHERE: dict[StepStatus, tuple[str, tuple[Choice, ...]]] = {
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
        "nobody knows whether {step} has happened; look",
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


def ways_out(story: SagaStory, definition: Definition | None, now: datetime, address: str) -> Iterator[str]:
    """The core is asked about each command before it is offered. `address` is ready for a shell."""
    known = definition or assumed_definition(story.saga, story.steps)
    asked = AskedInAdvance(known, state_of(story.saga, story.steps), milliseconds(now))
    if definition is None:
        yield "its definition is not on record, or cannot be read here: some of this may be refused"
    for step in asked.state.steps:
        if asked.needs_a_person(step):
            yield from _choices(asked, step, address)
    if asked.state.course is Course.FORWARD:
        yield from _give_the_saga_up(asked, address)


def _choices(asked: AskedInAdvance, step: StepState, address: str) -> Iterator[str]:
    situation, choices = _WHERE[step.status]
    yield situation.format(step=step.name)
    for knowledge, operation, resolution in choices:
        if asked.to(operation, step.name, resolution).verdict is Verdict.APPLIED:
            yield knowledge
            what = [f"--as {resolution}"] if resolution else []
            words = ["saga-service", operation, address, "--step", quote(step.name), *what, WITH_A_REASON]
            yield f"  {' '.join(words)}"


def _give_the_saga_up(asked: AskedInAdvance, address: str) -> Iterator[str]:
    cancelled = asked.to(Operation.CANCEL)
    if cancelled.verdict is Verdict.APPLIED:
        yield "or give the saga up, and undo what it has done:"
        yield f"  saga-service cancel {address} {WITH_A_REASON}"
    else:
        yield f"it cannot be given up: {cancelled.reason}"


# MERGED from cli.advice:
# What a person may type next about one saga, ready to paste.

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
    paused = next((entry for entry in reversed(story.history) if entry.event == "pause_requested"), None)
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
