"""When a parent repeats a request that its child saga has not answered.

A worker's command has its time-out. A child saga may take days, and its time-out says so. A request to it, or its
reply, may be lost on the way, and nothing would tell until then. So the request is sent again under the same command
id: `REPEAT_FIRST_MS` after it was first sent, then after twice as long, and so on, and every `REPEAT_GAP_MS_MAX` in
the end. A child that is under way ignores the repeat, one that never began begins, and one that has ended replies
again.

The moments follow from the moment at which the request was first sent, so a repeat changes nothing in the saga.
"""

from __future__ import annotations

from saga_service.core.definition import StepDefinition
from saga_service.core.state import StepState
from saga_service.core.vocabulary import (
    BACKWARD,
    CHILD,
    COMPENSATING,
    DISPATCHED,
    DUE_TIMEOUT,
    UNKNOWN,
    Course,
    OnUnknown,
)

REPEAT_FIRST_MS = 30_000
REPEAT_GAP_MS_MAX = 3_600_000
CALLED_OFF_REPEATED_MS = 24 * 3_600_000
"""How long the cancel of a child is repeated whose step has no time-out any more. A person decides after that."""
TIMER_DELAY_MS_MAX = 10_000
"""How late a timer may come, and the saga have gone on meanwhile, without a repeat being left out."""

CALLED_OFF = frozenset({OnUnknown.RETRY, OnUnknown.PROBE})
"""Choices for which a child saga that takes too long is asked to undo itself. Once it has, it is tried again."""


def was_called_off(step: StepState, defined: StepDefinition, course: Course) -> bool:
    """Whether a child saga's step waits for the end of a child that was asked to stop."""
    if course is BACKWARD:
        return step.status is DISPATCHED
    return step.status is UNKNOWN and defined.on_unknown in CALLED_OFF


def repeated_since_ms(step: StepState, defined: StepDefinition, course: Course, now_ms: int) -> int | None:
    """When the request that is repeated to the step's child was first sent; None where none is."""
    if defined.task is not CHILD:
        return None
    if was_called_off(step, defined, course):
        since_ms = step.called_off_at_ms
        is_over = step.due is None and since_ms is not None and now_ms >= since_ms + CALLED_OFF_REPEATED_MS
        return None if is_over else since_ms
    if step.due is not DUE_TIMEOUT or step.due_at_ms is None:
        return None
    is_undo = step.status is COMPENSATING
    return step.due_at_ms - (defined.compensation_timeout_ms if is_undo else defined.timeout_ms)


def next_repeat_ms(requested_ms: int, now_ms: int) -> int:
    """The first moment after `now_ms` at which a request of `requested_ms` is repeated."""
    return requested_ms + _wait_after(now_ms - requested_ms)


def is_repeat_due(requested_ms: int, changed_ms: int, now_ms: int) -> bool:
    """Whether a moment of repeating has come since the saga last changed."""
    return next_repeat_ms(requested_ms, max(requested_ms, changed_ms - TIMER_DELAY_MS_MAX)) <= now_ms


def _wait_after(elapsed_ms: int) -> int:
    """The shortest wait in the series 30 s, 1 min, 2 min, … 32 min, 1 h, 2 h, 3 h, … that is longer than this."""
    if elapsed_ms >= REPEAT_GAP_MS_MAX:
        return (elapsed_ms // REPEAT_GAP_MS_MAX + 1) * REPEAT_GAP_MS_MAX
    wait_ms = REPEAT_FIRST_MS
    while wait_ms <= elapsed_ms:
        wait_ms *= 2
    return min(wait_ms, REPEAT_GAP_MS_MAX)
