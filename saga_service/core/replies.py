"""What an answer to a command does: a worker's, or a child saga's."""

from __future__ import annotations

from saga_service.core.definition import Definition, Shape
from saga_service.core.draft import Draft
from saga_service.core.effects import Transition, refused, repeated
from saga_service.core.events import Replied
from saga_service.core.reaction import Reaction
from saga_service.core.rules import react
from saga_service.core.state import SagaState
from saga_service.core.step_draft import AnyStep
from saga_service.core.transitions import Stimulus
from saga_service.core.vocabulary import Course, Direction, Outcome, StepStatus

_ACTION, _PROBE, _SUCCEEDED = Direction.ACTION, Direction.PROBE, Outcome.SUCCEEDED

_STIMULI: dict[tuple[Direction, Outcome], Stimulus] = {
    (Direction.ACTION, Outcome.SUCCEEDED): Stimulus.ACTION_SUCCEEDED,
    (Direction.ACTION, Outcome.FAILED): Stimulus.ACTION_FAILED,
    (Direction.ACTION, Outcome.REJECTED): Stimulus.ACTION_REJECTED,
    (Direction.ACTION, Outcome.PROGRESS): Stimulus.ACTION_PROGRESSED,
    (Direction.COMPENSATION, Outcome.SUCCEEDED): Stimulus.COMPENSATION_SUCCEEDED,
    (Direction.COMPENSATION, Outcome.FAILED): Stimulus.COMPENSATION_FAILED,
    (Direction.COMPENSATION, Outcome.REJECTED): Stimulus.COMPENSATION_REJECTED,
    (Direction.COMPENSATION, Outcome.PROGRESS): Stimulus.COMPENSATION_PROGRESSED,
    (Direction.PROBE, Outcome.SUCCEEDED): Stimulus.PROBE_SUCCEEDED,
    (Direction.PROBE, Outcome.FAILED): Stimulus.PROBE_FAILED,
    (Direction.PROBE, Outcome.REJECTED): Stimulus.PROBE_REJECTED,
}


def reply(definition: Definition, state: SagaState, event: Replied, now_ms: int) -> Transition:
    name = event.command
    position = definition.positions.get(name.step)
    if position is None:
        return refused(state, f"saga '{state.saga}' has no step '{name.step}'")
    step = state.steps[position]
    sent = step.attempts if name.direction is _ACTION else _sent(step, name.direction)
    if name.attempt > sent:
        return refused(
            state, f"{name.direction} {name.attempt} of step '{name.step}' was never sent ({sent} attempts were)"
        )
    shape = definition.steps[position].output
    # While it undoes, that it happened is all that matters.
    misfit = None if shape is None or state.course is Course.BACKWARD else _misfit(shape, event)
    if misfit is not None:
        return refused(state, f"the output of step '{name.step}' does not fit: {misfit}")
    stimulus = _of_a_late_failure(step, event) if step.unanswered else None
    stimulus = stimulus or _STIMULI.get((name.direction, event.outcome))
    if stimulus is None:
        return repeated(state, "a question that is under way needs no sign of life")
    overtaken = name.attempt < sent and event.outcome is not _SUCCEEDED
    if overtaken and stimulus is not Stimulus.ACTION_FAILED_LATE:
        return repeated(state, "a later attempt is under way, which decides")
    draft = Draft(definition, state, now_ms)
    reaction = Reaction(draft, position, stimulus, name.attempt, event.output, event.fault, event.retry_after_ms)
    return react(reaction) or draft.transition()


def _sent(step: AnyStep, direction: Direction) -> int:
    return step.probes if direction is _PROBE else step.compensation_attempts


def _misfit(shape: Shape, event: Replied) -> str | None:
    """What is wrong with the output of an action that is said to have happened. Nobody knows then what did: the reply
    is refused, and the step waits on, as if none had come."""
    tells_output = event.outcome is _SUCCEEDED and event.command.direction in (_ACTION, _PROBE)
    return shape.misfit(event.output or {}) if tells_output else None


def _of_a_late_failure(step: AnyStep, event: Replied) -> Stimulus | None:
    """The failure of an attempt that was left without an answer settles a doubt; nothing else of it is news. Only the
    rejection of the latest one still says that another would be pointless."""
    name, outcome = event.command, event.outcome
    failed = outcome in (Outcome.FAILED, Outcome.REJECTED)
    if not failed or name.direction is not _ACTION or name.attempt not in step.unanswered:
        return None
    pointless = outcome is Outcome.REJECTED and name.attempt == step.attempts and step.status is StepStatus.UNKNOWN
    return Stimulus.ACTION_REJECTED if pointless else Stimulus.ACTION_FAILED_LATE
