"""Requests of operators, and of a parent to its child saga: retry, skip, resolve, cancel, compensate, pause, resume."""

from __future__ import annotations

from collections.abc import Callable

from saga_service.core.children import resend_child_request
from saga_service.core.compensation import start_compensating
from saga_service.core.definition import Definition, OutputMisfit
from saga_service.core.draft import Draft, Reaction
from saga_service.core.effects import ParentReply, Transition, refused, repeated
from saga_service.core.events import OperationRequested
from saga_service.core.fault_codes import CANCELLED, PAST_ITS_PIVOT, RESOLVED, UNDO_REQUESTED
from saga_service.core.forward import is_parked
from saga_service.core.ids import CommandName
from saga_service.core.machine import evaluate, react
from saga_service.core.outgoing import reply_to_parent
from saga_service.core.pivot import has_passed_pivot, refusal_past_pivot
from saga_service.core.refusals import refusal_compensating, refusal_ended
from saga_service.core.state import Fault, SagaState, StepState
from saga_service.core.transitions import Stimulus
from saga_service.core.vocabulary import (
    BACKWARD,
    COMPENSATION_FAILED,
    DUE_RETRY,
    ENDED,
    FORWARD,
    SAGA_COMPENSATED,
    SAGA_COMPENSATING,
    SAGA_COMPLETED,
    SAGA_PAUSED,
    SAGA_RUNNING,
    Operation,
    Outcome,
    Resolution,
    SagaStatus,
    Verdict,
)


def operate(definition: Definition, state: SagaState, event: OperationRequested, now_ms: int) -> Transition:
    """Do what is requested. What cannot be done is refused with the reason, for the person who asked."""
    return _OPERATIONS[event.operation](definition, state, event, now_ms)


def _compensate(definition: Definition, state: SagaState, event: OperationRequested, now_ms: int) -> Transition:
    """Both `cancel` and `compensate`."""
    completed = state.status is SAGA_COMPLETED
    if completed and event.operation is Operation.CANCEL:
        return refused(state, refusal_ended(definition, state), reply_to_parent(state))
    if state.course is BACKWARD:
        return _compensating_already(definition, state, event, now_ms)
    if has_passed_pivot(definition, state.steps):
        reason = refusal_past_pivot(definition, state.steps)
        told = refusal_ended(definition, state) if completed else reason
        return refused(state, told, _refusal_to_parent(event, reason))
    draft = Draft(definition, state, now_ms)
    draft.revision += 1
    draft.fault = Fault(CANCELLED if event.operation is Operation.CANCEL else UNDO_REQUESTED, _by(event))
    draft.parent = _command_to_answer(state, event)
    start_compensating(draft)
    evaluate(draft)
    _record(draft, event)
    return draft.transition()


def _compensating_already(
    definition: Definition, state: SagaState, event: OperationRequested, now_ms: int
) -> Transition:
    to_answer = _command_to_answer(state, event)
    if state.status is SAGA_COMPENSATED:
        answering = state._replace(parent=event.answers or state.parent)
        return repeated(state, "the saga is compensated already", reply_to_parent(answering))
    if to_answer == state.parent:
        return repeated(state, refusal_compensating(state))
    # It started compensating by itself, or was cancelled; its end now answers the undo.
    draft = Draft(definition, state, now_ms)
    draft.revision += 1
    draft.parent = to_answer
    _record(draft, event)
    return draft.transition()


def _command_to_answer(state: SagaState, event: OperationRequested) -> CommandName | None:
    """The parent's command that the saga's end will answer.

    A child that was only called off still answers its start. One that is asked repeatedly to undo itself answers the
    latest of those commands, in whatever order they came.
    """
    command, known = event.answers, state.parent
    if command is None or event.operation is not Operation.COMPENSATE:
        return known
    overtaken = known is not None and known.direction is command.direction and known.attempt > command.attempt
    return known if overtaken else command


def _refusal_to_parent(event: OperationRequested, reason: str) -> ParentReply | None:
    """The reply of a child that cannot be undone. One that was cancelled goes on, and replies when it ends."""
    if event.answers is None or event.operation is not Operation.COMPENSATE:
        return None
    return ParentReply(event.answers, Outcome.REJECTED, {}, Fault(PAST_ITS_PIVOT, reason))


def _pause(definition: Definition, state: SagaState, event: OperationRequested, now_ms: int) -> Transition:
    if state.status in ENDED:
        return refused(state, refusal_ended(definition, state))
    if state.status is SAGA_PAUSED:
        return repeated(state, "the saga is paused already")
    return _with_status(SAGA_PAUSED, definition, state, event, now_ms)


def _resume(definition: Definition, state: SagaState, event: OperationRequested, now_ms: int) -> Transition:
    if state.status in ENDED:
        return refused(state, refusal_ended(definition, state))
    if state.status is not SAGA_PAUSED:
        return refused(state, f"the saga is not paused, but {state.status}")
    going_on = SAGA_RUNNING if state.course is FORWARD else SAGA_COMPENSATING
    return _with_status(going_on, definition, state, event, now_ms)


def _with_status(
    status: SagaStatus, definition: Definition, state: SagaState, event: OperationRequested, now_ms: int
) -> Transition:
    draft = Draft(definition, state, now_ms)
    draft.revision += 1
    draft.status = status
    if state.status is SAGA_PAUSED:
        # Commands that are lost during a pause are not sent again then. A command has its time-out, and a copy may be
        # carried out twice; a child saga may be missed for days, and a copy of a request to it does nothing.
        for position in range(len(draft.steps)):
            draft.commands += resend_child_request(draft, position)
    evaluate(draft)
    _record(draft, event)
    return draft.transition()


def _record(draft: Draft, event: OperationRequested) -> None:
    draft.record(f"{event.operation.value}_requested", actor=event.actor, reason=event.reason)


def _operate_on_steps(definition: Definition, state: SagaState, event: OperationRequested, now_ms: int) -> Transition:
    """Retry, skip or resolve one step, or every one that is parked."""
    positions = _positions(definition, state, event)
    if isinstance(positions, str):
        # A person may still say what became of a step, but has to name one that is there.
        is_over = state.status in ENDED and (event.step is None or event.operation is not Operation.RESOLVE)
        return refused(state, refusal_ended(definition, state) if is_over else positions)
    draft = Draft(definition, state, now_ms)
    unchanged, is_success = [], event.resolution is Resolution.SUCCEEDED
    for position in positions:
        fault = Fault(RESOLVED, _by(event)) if event.resolution is Resolution.FAILED else None
        try:
            output = definition.steps[position].read_output(event.output or {}) if is_success else None
        except OutputMisfit as misfit:
            name = definition.steps[position].name
            return refused(state, f"the output does not fit step '{name}': {misfit}; give it as the step declares it")
        reaction = Reaction(
            draft, position, _stimulus(event), output=output, fault=fault, actor=event.actor, reason=event.reason
        )
        refusal = react(reaction)
        if refusal is not None:
            unchanged.append(refusal)
    return draft.transition() if draft.history else _why_nothing_was_done(definition, state, positions, unchanged)


def _why_nothing_was_done(
    definition: Definition, state: SagaState, positions: list[int], unchanged: list[Transition]
) -> Transition:
    reasons = "; ".join(each.reason for each in unchanged)
    if all(each.verdict is Verdict.REPEATED for each in unchanged):
        return repeated(state, reasons)
    if state.status not in ENDED:
        return refused(state, reasons)
    steps = ", ".join(f"step '{step.name}' is {step.status}" for step in map(state.steps.__getitem__, positions))
    return refused(state, f"{steps}, and {refusal_ended(definition, state)}")


def _positions(definition: Definition, state: SagaState, event: OperationRequested) -> list[int] | str:
    """Positions of the steps that the request is about, or the reason why there are none."""
    if event.step is not None:
        position = definition.positions.get(event.step)
        known = ", ".join(definition.positions)
        return f"saga '{state.saga}' has no step '{event.step}'; its steps: {known}" if position is None else [position]
    found = [position for position, step in enumerate(state.steps) if _waits_for_a_person(state, step)]
    if not found and event.operation is Operation.RETRY:
        found = [position for position, step in enumerate(state.steps) if step.due is DUE_RETRY]
    if not found:
        return f"the saga is {state.status}, and no step waits for a person; name the step that you mean"
    if event.operation is Operation.RESOLVE and len(found) > 1:
        names = ", ".join(state.steps[position].name for position in found)
        return f"more than one step waits for a person ({names}); name the one that you mean"
    return found


def _waits_for_a_person(state: SagaState, step: StepState) -> bool:
    return step.status is COMPENSATION_FAILED if state.course is BACKWARD else is_parked(step)


def _stimulus(event: OperationRequested) -> Stimulus:
    if event.operation is Operation.RESOLVE:
        return _RESOLUTIONS[event.resolution or Resolution.SUCCEEDED]
    return Stimulus.RETRY_REQUESTED if event.operation is Operation.RETRY else Stimulus.SKIP_REQUESTED


_RESOLUTIONS: dict[Resolution, Stimulus] = {
    Resolution.SUCCEEDED: Stimulus.RESOLVED_SUCCEEDED,
    Resolution.FAILED: Stimulus.RESOLVED_FAILED,
    Resolution.COMPENSATED: Stimulus.RESOLVED_COMPENSATED,
}

_OPERATIONS: dict[Operation, Callable[[Definition, SagaState, OperationRequested, int], Transition]] = {
    Operation.RETRY: _operate_on_steps,
    Operation.SKIP: _operate_on_steps,
    Operation.RESOLVE: _operate_on_steps,
    Operation.CANCEL: _compensate,
    Operation.COMPENSATE: _compensate,
    Operation.PAUSE: _pause,
    Operation.RESUME: _resume,
}


def _by(event: OperationRequested) -> str:
    return f"requested by {event.actor}: {event.reason}" if event.reason else f"requested by {event.actor}"
