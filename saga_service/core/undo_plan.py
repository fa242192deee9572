"""What would be undone if a saga failed now: which effects, in which order, and what nobody knows yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from saga_service.core.definition import Definition
from saga_service.core.draft import Draft
from saga_service.core.look import may_have_effect, standing, start_compensating
from saga_service.core.pivot import has_passed_pivot
from saga_service.core.state import SagaState
from saga_service.core.step_draft import AnyStep
from saga_service.core.vocabulary import Course, StepStatus, Task, UndoOrder

_UNDER_WAY = (StepStatus.COMPENSATING, StepStatus.COMPENSATION_FAILED)


@dataclass(frozen=True, slots=True)
class Undo:
    """One effect that is to be taken back."""

    step: str
    command: str
    """The type of the command that does it, or the name of the child saga that undoes itself."""
    is_certain: bool
    """Whether the effect is known to stand. It may only have happened otherwise."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All of it by step, in the order in which it would come."""

    stays_because: str | None
    """Why the saga cannot turn round at all; None where it can, or has."""
    awaited: tuple[str, ...] = ()
    """Steps in flight: only when they have answered, or timed out, is anything undone. What took effect by then is
    undone before all else."""
    waves: tuple[tuple[Undo, ...], ...] = ()
    """What is undone side by side, one wave after the other; one step in each where the order is strict."""
    unknown: tuple[str, ...] = ()
    """Steps that may have happened; nobody knows."""
    lasting: tuple[str, ...] = ()
    """Steps that took effect, or may have, and that nothing takes back."""


def plan(definition: Definition, state: SagaState) -> Plan:
    """Of a saga that is undoing already, what is left to be undone."""
    if state.course is Course.FORWARD and has_passed_pivot(definition, state.steps):
        assert definition.pivot is not None, "a pivot was passed"
        reason = f"the pivot '{state.steps[definition.pivot].name}' is done, or may be: the saga can only go forward"
        return Plan(reason, _awaited(state.steps), unknown=_unknown(state.steps))
    steps = _turned_back(definition, state)
    owed = _owed(definition, steps)
    return Plan(
        None,
        _awaited(steps),
        tuple(tuple(_undo(definition, steps, position) for position in wave) for wave in _waves(definition, owed)),
        _unknown(steps),
        tuple(
            step.name
            for position, step in enumerate(steps)
            if may_have_effect(step)
            and definition.steps[position].task in (Task.COMMAND, Task.CHILD)
            and not definition.steps[position].is_undoable
        ),
    )


def _turned_back(definition: Definition, state: SagaState) -> Sequence[AnyStep]:
    if state.course is Course.BACKWARD:
        return state.steps
    draft = Draft(definition, state, state.updated_at_ms)
    draft.revision += 1
    start_compensating(draft)
    return draft.steps


def _owed(definition: Definition, steps: Sequence[AnyStep]) -> list[int]:
    """Positions of all that is to be undone, what is being undone first, then the latest effect."""
    under_way = [position for position, step in enumerate(steps) if step.status in _UNDER_WAY]
    return under_way + standing(definition, steps)


def _waves(definition: Definition, owed: list[int]) -> list[list[int]]:
    if definition.undo is UndoOrder.REVERSE:
        return [[position] for position in owed]
    waves, left = [], owed
    while left:
        wave = [position for position in left if definition.descendants[position].isdisjoint(left)]
        waves.append(wave)
        left = [position for position in left if position not in wave]
    return waves


def _undo(definition: Definition, steps: Sequence[AnyStep], position: int) -> Undo:
    step, defined = steps[position], definition.steps[position]
    return Undo(step.name, defined.compensation or defined.action, not step.unanswered)


def _awaited(steps: Sequence[AnyStep]) -> tuple[str, ...]:
    return tuple(step.name for step in steps if step.status is StepStatus.DISPATCHED)


def _unknown(steps: Sequence[AnyStep]) -> tuple[str, ...]:
    in_doubt = (StepStatus.UNKNOWN, StepStatus.DISPATCHED, StepStatus.SKIPPED, *_UNDER_WAY)
    return tuple(step.name for step in steps if step.unanswered and step.status in in_doubt)
