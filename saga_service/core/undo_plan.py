"""The undo plan of a saga: what would be undone if it failed now, in which order, and what is not known yet.

`compensation.next_undos` decides the order; a plan foresees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from saga_service.core.compensation import may_have_effect, outstanding_effects, start_compensating
from saga_service.core.definition import Definition
from saga_service.core.draft import Draft
from saga_service.core.pivot import has_passed_pivot, refusal_past_pivot
from saga_service.core.state import SagaState, StepState
from saga_service.core.vocabulary import (
    BACKWARD,
    CHILD,
    COMMAND,
    COMPENSATING,
    COMPENSATION_FAILED,
    DISPATCHED,
    FORWARD,
    SKIPPED,
    UNKNOWN,
    UndoOrder,
)

_UNDER_WAY = (COMPENSATING, COMPENSATION_FAILED)


@dataclass(frozen=True, slots=True)
class Undo:
    """One effect that is to be undone."""

    step: str
    command: str
    """The type of the command that does it, or the name of the child saga that undoes itself."""
    is_certain: bool
    """Whether the effect is known to have happened. Otherwise it may have."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The undos of a saga in the order in which they would come, and what they wait for."""

    stays_because: str | None
    """Why the saga cannot start compensating; None where it can, or has."""
    awaited: tuple[str, ...] = ()
    """Steps in flight. Nothing is undone until they have answered or timed out; their effects are then undone first."""
    waves: tuple[tuple[Undo, ...], ...] = ()
    """The undos that go side by side, one wave after the other; one step in each where the order is strict."""
    unknown: tuple[str, ...] = ()
    """Steps of unknown outcome: they may have happened."""
    lasting: tuple[str, ...] = ()
    """Steps that took effect, or may have, and have no compensation."""


def plan(definition: Definition, state: SagaState) -> Plan:
    """The plan for a saga as it is now. For one that is compensating it holds what is left to be undone."""
    if state.course is FORWARD and has_passed_pivot(definition, state.steps):
        reason = refusal_past_pivot(definition, state.steps)
        return Plan(reason, _awaited(state.steps), unknown=_unknown(state.steps))
    steps = _steps_when_compensating(definition, state)
    left = left_to_undo(definition, steps)
    return Plan(
        None,
        _awaited(steps),
        tuple(tuple(_undo(definition, steps, position) for position in wave) for wave in _waves(definition, left)),
        _unknown(steps),
        tuple(
            step.name
            for position, step in enumerate(steps)
            if may_have_effect(step)
            and definition.steps[position].task in (COMMAND, CHILD)
            and not definition.steps[position].is_undoable
        ),
    )


def _steps_when_compensating(definition: Definition, state: SagaState) -> Sequence[StepState]:
    if state.course is BACKWARD:
        return state.steps
    draft = Draft(definition, state, state.updated_at_ms)
    draft.revision += 1
    start_compensating(draft)
    return draft.steps


def left_to_undo(definition: Definition, steps: Sequence[StepState]) -> list[int]:
    """Positions of all that is to be undone, what is being undone first, then the latest effect."""
    under_way = [position for position, step in enumerate(steps) if step.status in _UNDER_WAY]
    return under_way + outstanding_effects(definition, steps)


def _waves(definition: Definition, left: list[int]) -> list[list[int]]:
    if definition.undo is UndoOrder.REVERSE:
        return [[position] for position in left]
    waves: list[list[int]] = []
    while left:
        wave = [position for position in left if definition.descendants[position].isdisjoint(left)]
        waves.append(wave)
        left = [position for position in left if position not in wave]
    return waves


def _undo(definition: Definition, steps: Sequence[StepState], position: int) -> Undo:
    step, defined = steps[position], definition.steps[position]
    return Undo(step.name, defined.compensation or defined.action, not step.unanswered)


def _awaited(steps: Sequence[StepState]) -> tuple[str, ...]:
    return tuple(step.name for step in steps if step.status is DISPATCHED)


def _unknown(steps: Sequence[StepState]) -> tuple[str, ...]:
    in_doubt = (UNKNOWN, DISPATCHED, SKIPPED, *_UNDER_WAY)
    return tuple(step.name for step in steps if step.unanswered and step.status in in_doubt)
