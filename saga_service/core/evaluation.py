"""The state-triggered half of the machine: what a saga does by itself after anything has changed."""

from __future__ import annotations

from saga_service.core.compensation import undo_next
from saga_service.core.draft import Draft
from saga_service.core.forward import begin_next
from saga_service.core.transitions import ALL_DONE, STATUS_OF, UNDER_WAY
from saga_service.core.vocabulary import FORWARD, SAGA_PAUSED


def evaluate(draft: Draft) -> None:
    """Send what comes next, and set the saga's status by the condition that it is in.

    A paused saga stays paused. `EVALUATION_MOVES` lists the statuses that this gives to steps.
    """
    if draft.status is SAGA_PAUSED:
        return
    condition = begin_next(draft) if draft.course is FORWARD else undo_next(draft)
    draft.status = STATUS_OF[condition]
    if condition is UNDER_WAY or condition is ALL_DONE:
        draft.fault = None
