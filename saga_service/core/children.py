"""Requests to child sagas beside their start: to call one off, and to ask once more. A child ignores a repeat."""

from __future__ import annotations

from saga_service.core.definition import ExpressionFailed
from saga_service.core.draft import Draft
from saga_service.core.effects import Sent
from saga_service.core.outgoing import child_request, in_flight_again, step_input
from saga_service.core.vocabulary import (
    BACKWARD,
    CHILD,
    DISPATCHED,
    DUE_TIMEOUT,
    FORWARD,
    UNKNOWN,
    ChildOperation,
    OnUnknown,
)

CALLED_OFF = frozenset({OnUnknown.RETRY, OnUnknown.PROBE})
"""Choices for which a child saga that takes too long is asked to undo itself. Once it has, it is tried again."""


def call_off(draft: Draft, position: int) -> None:
    """Ask the step's child saga to stop and to undo itself."""
    draft.commands.append(_request(draft, position, ChildOperation.CANCEL))


def was_called_off(draft: Draft, position: int) -> bool:
    """Whether a step's child was asked to stop, and has not answered."""
    step = draft.steps[position]
    if draft.course is BACKWARD:
        return step.status is DISPATCHED
    return step.status is UNKNOWN and draft.definition.steps[position].on_unknown in CALLED_OFF


def resend_child_request(draft: Draft, position: int) -> list[Sent]:
    """The latest request that a step's child saga has not answered; nothing for a step that is no child saga."""
    step, defined = draft.steps[position], draft.definition.steps[position]
    if defined.task is not CHILD:
        return []
    if was_called_off(draft, position):
        # It is not started again beforehand: if its start was lost, it never begins.
        return [_request(draft, position, ChildOperation.CANCEL)]
    if step.status is UNKNOWN and draft.course is FORWARD:
        return _start_again(draft, position)
    return in_flight_again(draft.definition, draft.before, draft.steps, position) if step.due is DUE_TIMEOUT else []


def _start_again(draft: Draft, position: int) -> list[Sent]:
    try:
        sent_input = step_input(draft.definition, draft.before, draft.steps, position)
    except ExpressionFailed:
        return []
    child = draft.definition.steps[position].action
    return [child_request(draft.before, draft.steps[position], child, ChildOperation.START, sent_input)]


def _request(draft: Draft, position: int, operation: ChildOperation) -> Sent:
    return child_request(draft.before, draft.steps[position], draft.definition.steps[position].action, operation)
