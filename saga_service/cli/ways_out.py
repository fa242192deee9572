"""How a person may get a stuck saga going again: ready to paste, and nothing that would be refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from shlex import quote

from saga_service.cli.as_the_core import assumed_definition, milliseconds, state_of
from saga_service.cli.asked_in_advance import AskedInAdvance
from saga_service.cli.reading import SagaStory
from saga_service.core.definition import Definition
from saga_service.core.effects import Verdict
from saga_service.core.events import Resolution, Verb
from saga_service.core.state import Course, StepState, StepStatus

WITH_A_REASON = "--reason '...'"

Choice = tuple[str, Verb, Resolution | None]
"""What a person knows or wants, and what to say then."""

_WHERE: dict[StepStatus, tuple[str, tuple[Choice, ...]]] = {
    StepStatus.COMPENSATION_FAILED: (
        "the undo of {step} was given up on",
        (
            ("undo it by hand, then say so, and the rest is undone by itself:", Verb.RESOLVE, Resolution.COMPENSATED),
            ("once what kept it from being undone is mended, let its worker try again:", Verb.RETRY, None),
            ("to let its effect stand, and undo the rest:", Verb.SKIP, None),
        ),
    ),
    StepStatus.UNKNOWN: (
        "nobody knows whether {step} has happened; look",
        (
            ("if it has:", Verb.RESOLVE, Resolution.SUCCEEDED),
            ("if it has not, and the saga is to be undone:", Verb.RESOLVE, Resolution.FAILED),
            ("if it may be done once more (with the same idempotency key):", Verb.RETRY, None),
            ("to go on without it:", Verb.SKIP, None),
        ),
    ),
    StepStatus.FAILED: (
        "{step} could not be done",
        (
            ("once what kept it from it is mended, try again:", Verb.RETRY, None),
            ("do it by hand, then say so:", Verb.RESOLVE, Resolution.SUCCEEDED),
            ("to go on without it:", Verb.SKIP, None),
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
    for knowledge, verb, resolution in choices:
        if asked.to(verb, step.name, resolution).verdict is Verdict.APPLIED:
            yield knowledge
            what = [f"--as {resolution}"] if resolution else []
            yield f"  {' '.join(['saga-service', verb, address, '--step', quote(step.name), *what, WITH_A_REASON])}"


def _give_the_saga_up(asked: AskedInAdvance, address: str) -> Iterator[str]:
    cancelled = asked.to(Verb.CANCEL)
    if cancelled.verdict is Verdict.APPLIED:
        yield "or give the saga up, and undo what it has done:"
        yield f"  saga-service cancel {address} {WITH_A_REASON}"
    else:
        yield f"it cannot be given up: {cancelled.reason}"
