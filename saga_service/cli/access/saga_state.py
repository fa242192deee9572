"""A saga's state as the core has it, rebuilt out of the rows of the views."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from saga_service.cli.access.views import SagaRow, StepRow
from saga_service.core.definition import Definition, StepDefinition
from saga_service.core.ids import SagaId
from saga_service.core.state import Fault, SagaState, StepState
from saga_service.core.vocabulary import Course, Due, SagaStatus, StepStatus


def state_of(saga: SagaRow, steps: Sequence[StepRow]) -> SagaState:
    """The part of the state that decides what becomes of the saga next.

    The views do not show which attempts were left without an answer, only that one was: the latest stands for them.
    """
    return SagaState(
        id=SagaId(saga.id),
        saga=saga.saga,
        version=saga.version,
        key=saga.key,
        status=SagaStatus(saga.status),
        revision=saga.revision,
        input=saga.input,
        steps=tuple(_step_of(step) for step in steps),
        created_at_ms=milliseconds(saga.created_at),
        updated_at_ms=milliseconds(saga.updated_at),
        ended_at_ms=_milliseconds(saga.ended_at),
        fault=_fault_of(saga.error_code, saga.error_message, saga.error_step),
        course=Course(saga.course),
        deadline_ms=_milliseconds(saga.deadline_at),
    )


def assumed_definition(saga: SagaRow, steps: Sequence[StepRow]) -> Definition:
    """A definition for a saga whose own is not registered: its steps are taken for commands that may fail."""
    return Definition(saga.saga, saga.version, tuple(StepDefinition(name=step.step) for step in steps))


def milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _step_of(step: StepRow) -> StepState:
    return StepState(
        name=step.step,
        status=StepStatus(step.status),
        attempts=step.attempts,
        compensation_attempts=step.compensation_attempts,
        effect_revision=step.effect_revision,
        due_at_ms=_milliseconds(step.due_at),
        due=None if step.waiting_for is None else Due(step.waiting_for),
        unanswered=(step.attempts,) if step.in_doubt else (),
        output=step.output,
        fault=_fault_of(step.error_code, step.error_message),
        started_at_ms=_milliseconds(step.started_at),
        ended_at_ms=_milliseconds(step.ended_at),
        probes=step.probes,
    )


def _milliseconds(at: datetime | None) -> int | None:
    return None if at is None else milliseconds(at)


def _fault_of(code: str | None, message: str | None, step: str | None = None) -> Fault | None:
    return None if code is None else Fault(code, message or "", step)
