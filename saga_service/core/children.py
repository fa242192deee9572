"""What a saga asks of its child sagas once more. Whatever it is, to be asked twice does nothing to a child."""

from __future__ import annotations

from saga_service.core.definition import ExpressionFailed
from saga_service.core.draft import Draft
from saga_service.core.effects import Sent
from saga_service.core.vocabulary import ChildOperation, Course, Due, OnUnknown, StepStatus, Task

CALLED_OFF = frozenset({OnUnknown.RETRY, OnUnknown.PROBE})
"""Where a child saga that takes too long is asked to undo itself; it is tried again once it has."""


def resend_child_request(draft: Draft, position: int) -> list[Sent]:
    """What a step waits to hear of its child: the latest that it asked. Nothing of any other step."""
    step, defined = draft.steps[position], draft.definition.steps[position]
    if defined.task is not Task.CHILD:
        return []
    if was_called_off(draft, position):
        # It is not started again beforehand: if its start was lost, it never begins.
        return [draft.child_request(position, ChildOperation.CANCEL)]
    if step.status is StepStatus.UNKNOWN and draft.course is Course.FORWARD:
        return _start_again(draft, position)
    return draft.once_more(position) if step.due is Due.TIMEOUT else []


def was_called_off(draft: Draft, position: int) -> bool:
    """Whether a step's child was asked to end, and has not answered."""
    step = draft.steps[position]
    if draft.course is Course.BACKWARD:
        return step.status is StepStatus.DISPATCHED
    return step.status is StepStatus.UNKNOWN and draft.definition.steps[position].on_unknown in CALLED_OFF


def _start_again(draft: Draft, position: int) -> list[Sent]:
    try:
        return [draft.start_of_child(position)]
    except ExpressionFailed:
        return []
