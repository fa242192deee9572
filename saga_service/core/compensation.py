"""The way back: starting to compensate, which step is undone next, and which effects are still outstanding."""

from __future__ import annotations

from collections.abc import Sequence

from saga_service.core.children import call_off
from saga_service.core.definition import Definition, ExpressionFailed
from saga_service.core.draft import Draft
from saga_service.core.fault_codes import EXPRESSION_FAILED
from saga_service.core.outgoing import in_flight, step_input
from saga_service.core.state import Fault, StepState
from saga_service.core.transitions import SagaCondition
from saga_service.core.vocabulary import (
    BACKWARD,
    CHILD,
    COMPENSATING,
    COMPENSATION_FAILED,
    DISPATCHED,
    DUE_TIMEOUT,
    FAILED,
    PENDING,
    SKIPPED,
    SUCCEEDED,
    UNKNOWN,
    WAITING,
    UndoOrder,
)


def start_compensating(draft: Draft) -> None:
    """Set the saga's course backward. Steps that wait end at once; commands in flight are awaited, child sagas in
    flight called off."""
    draft.course = BACKWARD
    for position, step in enumerate(draft.steps):
        if step.status is WAITING:
            draft.steps[position] = step.ended(SKIPPED, draft.now_ms)
        elif step.due is not None and (step.status is PENDING or step.status is UNKNOWN):
            _end_retries(draft, position)
        elif step.status is DISPATCHED and draft.definition.steps[position].task is CHILD:
            call_off(draft, position)


def _end_retries(draft: Draft, position: int) -> None:
    step = draft.steps[position]
    if step.unanswered:
        revision = step.effect_revision or draft.revision
        draft.steps[position] = step.ended(UNKNOWN, draft.now_ms)._replace(effect_revision=revision)
    else:
        draft.steps[position] = step.ended(FAILED if step.attempts else step.status, draft.now_ms)


def undo_next(draft: Draft) -> SagaCondition:
    """Send the undos whose turn has come; the condition that the saga is in after that."""
    statuses = [step.status for step in draft.steps]
    if DISPATCHED in statuses:
        # Only its answer tells in which order things must be undone.
        return SagaCondition.UNDOING
    if COMPENSATION_FAILED in statuses:
        return SagaCondition.PARKED
    for position in next_undos(draft.definition, draft.steps):
        try:
            dispatch_undo(draft, position)
        except ExpressionFailed as error:
            fault = Fault(EXPRESSION_FAILED, str(error))
            draft.note(EXPRESSION_FAILED, draft.steps[position].name, fault)
            give_up_undo(draft, position, fault)
            return SagaCondition.PARKED
    undoing = any(step.status is COMPENSATING for step in draft.steps)
    return SagaCondition.UNDOING if undoing else SagaCondition.ALL_UNDONE


def dispatch_undo(draft: Draft, position: int) -> None:
    """Send the next attempt of a step's compensation. Raises ExpressionFailed, with nothing changed."""
    definition, saga, steps = draft.definition, draft.before, draft.steps
    sent_input = step_input(definition, saga, steps, position)
    step, defined = steps[position], definition.steps[position]
    after, since_ms = step.series_after, step.series_since_ms
    if step.status is not COMPENSATING:
        # An undo has its own attempts, and its own time.
        after, since_ms = step.compensation_attempts, draft.now_ms
    steps[position] = step._replace(
        status=COMPENSATING,
        compensation_attempts=step.compensation_attempts + 1,
        due=DUE_TIMEOUT,
        due_at_ms=draft.now_ms + defined.compensation_timeout_ms,
        series_after=after,
        series_since_ms=since_ms,
    )
    draft.commands.append(in_flight(definition, saga, steps, position, sent_input))


def give_up_undo(draft: Draft, position: int, fault: Fault) -> None:
    """End the attempts of a step's undo. The saga's fault stays the reason why it started compensating; the step has
    this one."""
    draft.steps[position] = draft.steps[position]._replace(
        status=COMPENSATION_FAILED, fault=fault, due=None, due_at_ms=None, deadline_ms=None
    )


def next_undos(definition: Definition, steps: Sequence[StepState]) -> list[int]:
    """Positions of the steps that are to be undone now."""
    left = outstanding_effects(definition, steps)
    under_way = [position for position, step in enumerate(steps) if step.status is COMPENSATING]
    if definition.undo is UndoOrder.REVERSE:
        return [] if under_way else left[:1]
    not_undone = {*left, *under_way}
    return [position for position in left if not_undone.isdisjoint(definition.descendants[position])]


def outstanding_effects(definition: Definition, steps: Sequence[StepState]) -> list[int]:
    """Positions of the steps whose effect has happened, or may have, and can be undone; the latest effect first."""
    found = [
        position
        for position, step in enumerate(steps)
        if definition.steps[position].is_undoable and may_have_effect(step)
    ]
    # Of two that took effect in one transition the later one in the graph comes first.
    return sorted(found, key=lambda position: (steps[position].effect_revision or 0, position), reverse=True)


def may_have_effect(step: StepState) -> bool:
    """Whether the step has an effect, as far as anybody knows, that nothing has been done about.

    A skipped step keeps its doubts. A step whose effect a person let stay has none.
    """
    return step.status is SUCCEEDED or step.status is UNKNOWN or (step.status is SKIPPED and bool(step.unanswered))
