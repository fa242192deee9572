"""What a person, or a parent saga, asks of a saga."""

from __future__ import annotations

from collections.abc import Callable

from saga_service.core.children import resend_child_request
from saga_service.core.definition import Definition
from saga_service.core.draft import Draft, reply_to_parent
from saga_service.core.effects import ParentReply, Transition, refused, repeated
from saga_service.core.events import OperationRequested
from saga_service.core.ids import CommandName
from saga_service.core.look import is_parked, proceed, start_compensating
from saga_service.core.pivot import has_passed_pivot
from saga_service.core.reaction import Reaction
from saga_service.core.rules import react
from saga_service.core.state import Fault, SagaState
from saga_service.core.step_draft import AnyStep
from saga_service.core.transitions import Stimulus
from saga_service.core.vocabulary import (
    ENDED,
    Course,
    Due,
    Operation,
    Outcome,
    Resolution,
    SagaStatus,
    StepStatus,
    Verdict,
)


def operate(definition: Definition, state: SagaState, event: OperationRequested, now_ms: int) -> Transition:
    """Raises nothing: what cannot be done is refused with the reason, for the person who asked."""
    return _VERBS[event.operation](definition, state, event, now_ms)


# ------------------------------------------------------------------------------------------------- the saga as a whole


def _turn(definition: Definition, state: SagaState, event: OperationRequested, now_ms: int) -> Transition:
    """Cancel, or compensate."""
    completed = state.status is SagaStatus.COMPLETED
    if completed and event.operation is Operation.CANCEL:
        return refused(state, "the saga is completed; to undo it, ask for 'compensate'", reply_to_parent(state))
    if state.course is Course.BACKWARD:
        return _undone_or_undoing(definition, state, event, now_ms)
    if has_passed_pivot(definition, state.steps):
        assert definition.pivot is not None, "a pivot was passed"
        reason = f"the pivot '{state.steps[definition.pivot].name}' is done, or may be: the saga can only go forward"
        return refused(state, reason, _refusal_to_parent(event, reason))
    draft = Draft(definition, state, now_ms)
    draft.revision += 1
    draft.fault = Fault("cancelled" if event.operation is Operation.CANCEL else "undo_requested", _by(event))
    draft.parent = _to_be_answered(state, event)
    start_compensating(draft)
    proceed(draft)
    draft.record(f"{event.operation.value}_requested", actor=event.actor, reason=event.reason)
    return draft.transition()


def _undone_or_undoing(definition: Definition, state: SagaState, event: OperationRequested, now_ms: int) -> Transition:
    answers = _to_be_answered(state, event)
    if state.status is SagaStatus.COMPENSATED:
        asked = state._replace(parent=event.answers or state.parent)
        return repeated(state, "the saga is compensated already", reply_to_parent(asked))
    if answers == state.parent:
        return repeated(state, "the saga is compensating already")
    # It turned round by itself, or was cancelled; its end now answers the undo.
    draft = Draft(definition, state, now_ms)
    draft.revision += 1
    draft.parent = answers
    draft.record(f"{event.operation.value}_requested", actor=event.actor, reason=event.reason)
    return draft.transition()


def _to_be_answered(state: SagaState, event: OperationRequested) -> CommandName | None:
    """The parent's command that the saga's end will answer. One that was only called off still answers its start, and
    one that was asked to undo itself again answers the latest that asked, in whatever order they came."""
    asked, known = event.answers, state.parent
    if asked is None or event.operation is not Operation.COMPENSATE:
        return known
    overtaken = known is not None and known.direction is asked.direction and known.attempt > asked.attempt
    return known if overtaken else asked


def _refusal_to_parent(event: OperationRequested, reason: str) -> ParentReply | None:
    """A cancelled child goes on and tells its end; one that is to be undone, and cannot be, has to say so."""
    if event.answers is None or event.operation is not Operation.COMPENSATE:
        return None
    return ParentReply(event.answers, Outcome.REJECTED, {}, Fault("past_its_pivot", reason))


def _pause(definition: Definition, state: SagaState, event: OperationRequested, now_ms: int) -> Transition:
    if state.status in ENDED:
        return refused(state, f"the saga is {state.status} already; there is nothing to pause")
    if state.status is SagaStatus.PAUSED:
        return repeated(state, "the saga is paused already")
    return _stand(definition, state, event, now_ms, SagaStatus.PAUSED)


def _resume(definition: Definition, state: SagaState, event: OperationRequested, now_ms: int) -> Transition:
    if state.status is not SagaStatus.PAUSED:
        return refused(state, f"the saga is not paused, but {state.status}")
    going = SagaStatus.RUNNING if state.course is Course.FORWARD else SagaStatus.COMPENSATING
    return _stand(definition, state, event, now_ms, going)


def _stand(
    definition: Definition, state: SagaState, event: OperationRequested, now_ms: int, status: SagaStatus
) -> Transition:
    draft = Draft(definition, state, now_ms)
    draft.revision += 1
    draft.status = status
    if state.status is SagaStatus.PAUSED:
        # What is lost during a pause is not sent again then. A child may take for ever to be missed; a command has its
        # time-out, and some would be carried out twice.
        for position in range(len(draft.steps)):
            draft.commands += resend_child_request(draft, position)
    proceed(draft)
    draft.record(f"{event.operation.value}_requested", actor=event.actor, reason=event.reason)
    return draft.transition()


# ---------------------------------------------------------------------------------------------------------- its steps


def _steps(definition: Definition, state: SagaState, event: OperationRequested, now_ms: int) -> Transition:
    """Retry, skip or resolve: one step, or every one that is parked."""
    positions = _meant(definition, state, event)
    if isinstance(positions, str):
        return refused(state, positions)
    draft = Draft(definition, state, now_ms)
    unchanged = []
    for position in positions:
        fault = Fault("resolved", _by(event)) if event.resolution is Resolution.FAILED else None
        output = event.output or {} if event.resolution is Resolution.SUCCEEDED else None
        reaction = Reaction(
            draft, position, _stimulus(event), output=output, fault=fault, actor=event.actor, reason=event.reason
        )
        refusal = react(reaction)
        if refusal is not None:
            unchanged.append(refusal)
    return draft.transition() if draft.history else _why_nothing_was_done(state, unchanged)


def _why_nothing_was_done(state: SagaState, unchanged: list[Transition]) -> Transition:
    reasons = "; ".join(each.reason for each in unchanged)
    known_already = all(each.verdict is Verdict.REPEATED for each in unchanged)
    return repeated(state, reasons) if known_already else refused(state, reasons)


def _meant(definition: Definition, state: SagaState, event: OperationRequested) -> list[int] | str:
    """Positions of the steps, or why there are none."""
    if event.step is not None:
        position = definition.positions.get(event.step)
        known = ", ".join(definition.positions)
        return f"saga '{state.saga}' has no step '{event.step}'; its steps: {known}" if position is None else [position]
    stands = [position for position, step in enumerate(state.steps) if _needs_a_person(state, step)]
    if not stands and event.operation is Operation.RETRY:
        stands = [position for position, step in enumerate(state.steps) if step.due is Due.RETRY]
    if not stands:
        return f"the saga is {state.status}, and no step waits for a person; name the step that you mean"
    if event.operation is Operation.RESOLVE and len(stands) > 1:
        names = ", ".join(state.steps[position].name for position in stands)
        return f"more than one step waits for a person ({names}); name the one that you mean"
    return stands


def _needs_a_person(state: SagaState, step: AnyStep) -> bool:
    if state.course is Course.BACKWARD:
        return step.status is StepStatus.COMPENSATION_FAILED
    return is_parked(step)


def _stimulus(event: OperationRequested) -> Stimulus:
    if event.operation is Operation.RESOLVE:
        return _RESOLUTIONS[event.resolution or Resolution.SUCCEEDED]
    return Stimulus.RETRY_REQUESTED if event.operation is Operation.RETRY else Stimulus.SKIP_REQUESTED


_RESOLUTIONS: dict[Resolution, Stimulus] = {
    Resolution.SUCCEEDED: Stimulus.RESOLVED_SUCCEEDED,
    Resolution.FAILED: Stimulus.RESOLVED_FAILED,
    Resolution.COMPENSATED: Stimulus.RESOLVED_COMPENSATED,
}

_VERBS: dict[Operation, Callable[[Definition, SagaState, OperationRequested, int], Transition]] = {
    Operation.RETRY: _steps,
    Operation.SKIP: _steps,
    Operation.RESOLVE: _steps,
    Operation.CANCEL: _turn,
    Operation.COMPENSATE: _turn,
    Operation.PAUSE: _pause,
    Operation.RESUME: _resume,
}


def _by(event: OperationRequested) -> str:
    return f"asked by {event.actor}: {event.reason}" if event.reason else f"asked by {event.actor}"
