"""The point of no return: where a saga can only go forward."""

from __future__ import annotations

from collections.abc import Sequence

from saga_service.core.definition import Definition
from saga_service.core.state import StepState
from saga_service.core.vocabulary import DISPATCHED, SUCCEEDED, UNKNOWN, Kind, StepStatus


def has_passed_pivot(definition: Definition, steps: Sequence[StepState]) -> bool:
    """Whether the pivot is done, or may be."""
    if definition.pivot is None:
        return False
    pivot = steps[definition.pivot]
    status = pivot.status
    return status is DISPATCHED or status is SUCCEEDED or bool(pivot.unanswered)


def can_only_go_forward(definition: Definition, steps: Sequence[StepState], position: int, status: StepStatus) -> bool:
    """Whether the saga may not start compensating even if this step ends at this status."""
    kind = definition.steps[position].kind
    if kind is Kind.PIVOT:
        return status is UNKNOWN
    return kind is Kind.RETRIABLE or has_passed_pivot(definition, steps)


def refusal_past_pivot(definition: Definition, steps: Sequence[StepState]) -> str:
    """The reason for an operator why a saga that has passed its pivot cannot be undone."""
    assert definition.pivot is not None, "a pivot was passed"
    return f"the pivot '{steps[definition.pivot].name}' is done, or may be: the saga can only go forward"
