"""Requests to child sagas beside their start: to call one off, and to repeat one. A child ignores a repeat."""

from __future__ import annotations

from saga_service.core.child_repeats import is_repeat_due, repeated_since_ms, was_called_off
from saga_service.core.definition import ExpressionFailed
from saga_service.core.draft import Draft
from saga_service.core.effects import Sent
from saga_service.core.outgoing import child_request, in_flight_again, step_input
from saga_service.core.vocabulary import (
    CHILD,
    DUE_TIMEOUT,
    FORWARD,
    SAGA_PAUSED,
    UNKNOWN,
    ChildOperation,
)


def call_off(draft: Draft, position: int) -> None:
    """Ask the step's child saga to stop and to undo itself."""
    draft.steps[position] = draft.steps[position]._replace(called_off_at_ms=draft.now_ms)
    draft.commands.append(_request(draft, position, ChildOperation.CANCEL))


def repeat_requests(draft: Draft) -> None:
    """Send those requests again that child sagas have left unanswered for long enough. A paused saga sends none: its
    end of the pause does."""
    if draft.status is SAGA_PAUSED:
        return
    for position, defined in enumerate(draft.definition.steps):
        since_ms = repeated_since_ms(draft.steps[position], defined, draft.course, draft.now_ms)
        if since_ms is not None and is_repeat_due(since_ms, draft.before.updated_at_ms, draft.now_ms):
            draft.commands += resend_child_request(draft, position)


def resend_child_request(draft: Draft, position: int) -> list[Sent]:
    """The latest request that a step's child saga has not answered; nothing for a step that is no child saga."""
    step, defined = draft.steps[position], draft.definition.steps[position]
    if defined.task is not CHILD:
        return []
    if was_called_off(step, defined, draft.course):
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
    started = child_request(draft.before, draft.steps[position], child, ChildOperation.START, sent_input)
    return [started._replace(is_copy=True)]


def _request(draft: Draft, position: int, operation: ChildOperation) -> Sent:
    return child_request(draft.before, draft.steps[position], draft.definition.steps[position].action, operation)
