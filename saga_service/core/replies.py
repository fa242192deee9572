"""Replies to commands: a worker's, or a child saga's."""

from __future__ import annotations

from saga_service.core.definition import Definition, OutputMisfit, StepDefinition
from saga_service.core.draft import Draft, Reaction
from saga_service.core.effects import Transition, refused, repeated
from saga_service.core.events import Replied
from saga_service.core.fault_codes import INVALID_OUTPUT
from saga_service.core.machine import react
from saga_service.core.state import Fault, JsonObject, SagaState, StepState
from saga_service.core.transitions import Stimulus
from saga_service.core.vocabulary import (
    ACTION,
    BACKWARD,
    DISPATCHED,
    FAILED,
    PENDING,
    PROBE,
    UNKNOWN,
    Direction,
    Outcome,
)

_SUCCEEDED = Outcome.SUCCEEDED

_NOT_DONE = frozenset({PENDING, DISPATCHED, UNKNOWN, FAILED})

_STIMULI: dict[tuple[Direction, Outcome], Stimulus] = {
    (Direction.ACTION, Outcome.SUCCEEDED): Stimulus.ACTION_SUCCEEDED,
    (Direction.ACTION, Outcome.FAILED): Stimulus.ACTION_FAILED,
    (Direction.ACTION, Outcome.REJECTED): Stimulus.ACTION_REJECTED,
    (Direction.ACTION, Outcome.PROGRESS): Stimulus.ACTION_PROGRESSED,
    (Direction.ACTION, Outcome.UNKNOWN): Stimulus.ACTION_LEFT_UNKNOWN,
    (Direction.COMPENSATION, Outcome.SUCCEEDED): Stimulus.COMPENSATION_SUCCEEDED,
    (Direction.COMPENSATION, Outcome.FAILED): Stimulus.COMPENSATION_FAILED,
    (Direction.COMPENSATION, Outcome.REJECTED): Stimulus.COMPENSATION_REJECTED,
    (Direction.COMPENSATION, Outcome.PROGRESS): Stimulus.COMPENSATION_PROGRESSED,
    # An undo is sent again whether it failed or nobody knows, and a probe was to find out.
    (Direction.COMPENSATION, Outcome.UNKNOWN): Stimulus.COMPENSATION_FAILED,
    (Direction.PROBE, Outcome.UNKNOWN): Stimulus.PROBE_INCONCLUSIVE,
    (Direction.PROBE, Outcome.SUCCEEDED): Stimulus.PROBE_CONFIRMED,
    (Direction.PROBE, Outcome.FAILED): Stimulus.PROBE_INCONCLUSIVE,
    (Direction.PROBE, Outcome.REJECTED): Stimulus.PROBE_DENIED,
}


def reply(definition: Definition, state: SagaState, event: Replied, now_ms: int) -> Transition:
    """Apply the reply to its step. Refused where its command was never sent.

    A success whose output cannot be used has `reason` set, because what it says is worth keeping.
    """
    name = event.command
    position = definition.positions.get(name.step)
    if position is None:
        return refused(state, f"saga '{state.saga}' has no step '{name.step}'")
    step = state.steps[position]
    sent = step.attempts if name.direction is ACTION else _sent(step, name.direction)
    if name.attempt > sent:
        return refused(
            state, f"{name.direction} {name.attempt} of step '{name.step}' was never sent ({sent} attempts were)"
        )
    output = event.output
    if _says_that_it_happened(event) and state.course is not BACKWARD:
        # While the saga compensates, only that it happened matters.
        output, unusable = _read_output(definition.steps[position], event)
        if unusable is not None:
            return _without_output(definition, state, event, unusable, now_ms)
    stimulus = _late_failure(step, event) if step.unanswered else None
    stimulus = stimulus or _STIMULI.get((name.direction, event.outcome))
    if stimulus is None:
        return repeated(state, "a probe needs no sign of life")
    overtaken = name.attempt < sent and event.outcome is not _SUCCEEDED
    if overtaken and stimulus is not Stimulus.ACTION_FAILED_LATE:
        return repeated(state, "a later attempt is under way, which decides")
    draft = Draft(definition, state, now_ms)
    fault = None if event.outcome is _SUCCEEDED else event.fault
    reaction = Reaction(draft, position, stimulus, name.attempt, output, fault, event.retry_after_ms)
    return react(reaction) or draft.transition()


def _read_output(defined: StepDefinition, event: Replied) -> tuple[JsonObject | None, Fault | None]:
    """The output as the step declares it, or why it cannot be used."""
    if event.fault is not None or defined.output is None:
        return event.output, event.fault
    try:
        return defined.output.read(event.output or {}), None
    except OutputMisfit as misfit:
        return None, Fault(INVALID_OUTPUT, f"the output of step '{defined.name}' does not fit: {misfit}")


def _without_output(definition: Definition, state: SagaState, event: Replied, fault: Fault, now_ms: int) -> Transition:
    """The action happened, and no other step could be told what it came to. A probe that says so is asked again."""
    name, position = event.command, definition.positions[event.command.step]
    stimulus = Stimulus.PROBE_INCONCLUSIVE if name.direction is PROBE else Stimulus.ACTION_OUTPUT_REFUSED
    if stimulus is Stimulus.ACTION_OUTPUT_REFUSED and not _is_news(state.steps[position], name.attempt):
        return refused(state, fault.message)
    draft = Draft(definition, state, now_ms)
    reaction = Reaction(draft, position, stimulus, name.attempt, fault=fault)
    return react(reaction) or draft.transition()._replace(reason=fault.message)


def _is_news(step: StepState, attempt: int) -> bool:
    """Whether it changes anything that the attempt happened, without its output. An attempt after it decides instead,
    and a step that was given up on in doubt is treated as one that happened."""
    if attempt < step.attempts or step.status not in _NOT_DONE:
        return False
    return attempt not in step.unanswered or step.ended_at_ms is None


def _sent(step: StepState, direction: Direction) -> int:
    return step.probes if direction is PROBE else step.compensation_attempts


def _says_that_it_happened(event: Replied) -> bool:
    """Whether the reply has the output of its step's action."""
    return event.outcome is _SUCCEEDED and event.command.direction in (ACTION, PROBE)


def _late_failure(step: StepState, event: Replied) -> Stimulus | None:
    """The stimulus of a failure of an unanswered attempt; None for any other reply.

    Such a failure settles a doubt, and is no other news. Only the rejection of the latest attempt still says that
    another would be pointless."""
    name, outcome = event.command, event.outcome
    failed = outcome in (Outcome.FAILED, Outcome.REJECTED)
    if not failed or name.direction is not ACTION or name.attempt not in step.unanswered:
        return None
    pointless = outcome is Outcome.REJECTED and name.attempt == step.attempts and step.status is UNKNOWN
    return Stimulus.ACTION_REJECTED if pointless else Stimulus.ACTION_FAILED_LATE
