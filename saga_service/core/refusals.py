"""The reasons, for the person who asked, why a saga that has ended or is being undone refuses a request.

Each names the saga's true status, and then a next step that the saga does not refuse as well.
"""

from __future__ import annotations

from saga_service.core.definition import Definition
from saga_service.core.pivot import has_passed_pivot, refusal_past_pivot
from saga_service.core.state import SagaState
from saga_service.core.vocabulary import COMPENSATION_FAILED, SAGA_COMPLETED, SAGA_PAUSED, SAGA_STUCK


def refusal_ended(definition: Definition, state: SagaState) -> str:
    """The reason of a saga that has ended."""
    ended = f"the saga has ended ({state.status})"
    if state.status is not SAGA_COMPLETED:
        return f"{ended}; {_to_try_once_more(state)}"
    if has_passed_pivot(definition, state.steps):
        return f"{ended}; {refusal_past_pivot(definition, state.steps)}"
    return f"{ended}; to undo it, ask for 'compensate'"


def refusal_compensating(state: SagaState) -> str:
    """The reason of a saga on its way back, which may be paused or stuck there."""
    if state.status is SAGA_PAUSED:
        return "the saga is compensating already, and paused; resume it"
    if state.status is SAGA_STUCK:
        steps = ", ".join(f"'{step.name}'" for step in state.steps if step.status is COMPENSATION_FAILED)
        return f"the saga is compensating already, and stuck at the undo of {steps}; retry, skip or resolve that step"
    return "the saga is compensating already"


def refusal_to_go_forward(state: SagaState, step: str) -> str:
    """The reason of a saga on its way back why a step is not done any more."""
    return f"step '{step}' will not be done any more: {refusal_compensating(state)}"


def _to_try_once_more(state: SagaState) -> str:
    if state.parent is not None:
        return "its parent saga goes on from there"
    return "to try once more, start another" + (" with another key" if state.key is not None else "")
