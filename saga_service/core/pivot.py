"""The point of no return: where a saga can only go forward."""

from __future__ import annotations

from collections.abc import Sequence

from saga_service.core.definition import Definition
from saga_service.core.step_draft import AnyStep
from saga_service.core.vocabulary import Kind, StepStatus

# Looked up once, for an enum's own look-up runs Python code each time (until Python 3.12).
_DISPATCHED, _SUCCEEDED, _UNKNOWN = StepStatus.DISPATCHED, StepStatus.SUCCEEDED, StepStatus.UNKNOWN


def has_passed_pivot(definition: Definition, steps: Sequence[AnyStep]) -> bool:
    """Whether the pivot is done, or may be."""
    if definition.pivot is None:
        return False
    pivot = steps[definition.pivot]
    status = pivot.status
    return status is _DISPATCHED or status is _SUCCEEDED or bool(pivot.unanswered)


def must_not_turn(definition: Definition, steps: Sequence[AnyStep], position: int, status: StepStatus) -> bool:
    """Whether the saga has to go forward even if this step ends at this status."""
    kind = definition.steps[position].kind
    if kind is Kind.PIVOT:
        return status is _UNKNOWN
    return kind is Kind.RETRIABLE or has_passed_pivot(definition, steps)
