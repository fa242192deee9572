"""Replies to commands: a worker's, or a child saga's."""

from __future__ import annotations

from saga_service.core.definition import Definition, OutputMisfit
from saga_service.core.draft import Draft, Reaction
from saga_service.core.effects import Transition, refused, repeated
from saga_service.core.events import Replied
from saga_service.core.machine import react
from saga_service.core.state import SagaState, StepState
from saga_service.core.transitions import Stimulus
from saga_service.core.vocabulary import (
    ACTION,
    BACKWARD,
    PROBE,
    UNKNOWN,
    Direction,
    Outcome,
)

_SUCCEEDED = Outcome.SUCCEEDED

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
    """Apply the reply to its step. Refused where its command was never sent, or its output does not fit."""
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
    output, shape = event.output, definition.steps[position].output
    if shape is not None and _says_that_it_happened(event):
        try:
            output = shape.read(output or {})
        except OutputMisfit as misfit:
            # Such a reply is refused, and the step waits on as if none had come, for nobody knows what happened. While
            # the saga compensates, only that it happened matters.
            if state.course is not BACKWARD:
                return refused(state, f"the output of step '{name.step}' does not fit: {misfit}")
    stimulus = _late_failure(step, event) if step.unanswered else None
    stimulus = stimulus or _STIMULI.get((name.direction, event.outcome))
    if stimulus is None:
        return repeated(state, "a probe needs no sign of life")
    overtaken = name.attempt < sent and event.outcome is not _SUCCEEDED
    if overtaken and stimulus is not Stimulus.ACTION_FAILED_LATE:
        return repeated(state, "a later attempt is under way, which decides")
    draft = Draft(definition, state, now_ms)
    reaction = Reaction(draft, position, stimulus, name.attempt, output, event.fault, event.retry_after_ms)
    return react(reaction) or draft.transition()


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
