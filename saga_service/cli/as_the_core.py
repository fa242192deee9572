"""A saga as the core has it, out of what the views tell: what may be asked of it, and what would be undone, is then the
core's to say, and nobody else's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from saga_service.cli.reading import SagaRow, StepRow
from saga_service.core.definition import Definition, StepDefinition
from saga_service.core.ids import SagaId
from saga_service.core.state import Course, Due, Fault, SagaState, SagaStatus, StepState, StepStatus


def state_of(saga: SagaRow, steps: Sequence[StepRow]) -> SagaState:
    """All of it that decides what becomes of the saga next.

    Which attempts were left without an answer the views do not tell, only whether any was: the latest stands for them.
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


def _step_of(step: StepRow) -> StepState:
    return StepState(
        name=step.step,
        status=StepStatus(step.status),
        attempts=step.attempts,
        compensation_attempts=step.compensation_attempts,
        finished_order=step.finished_order,
        due_at_ms=_milliseconds(step.due_at),
        due=None if step.waiting_for is None else Due(step.waiting_for),
        unanswered=(step.attempts,) if step.in_doubt else (),
        output=step.output,
        fault=_fault_of(step.error_code, step.error_message),
        started_at_ms=_milliseconds(step.started_at),
        ended_at_ms=_milliseconds(step.ended_at),
        probes=step.probes,
    )


def assumed_definition(saga: SagaRow, steps: Sequence[StepRow]) -> Definition:
    """For a saga whose definition is not on record: as if its steps were commands that may fail."""
    return Definition(saga.saga, saga.version, tuple(StepDefinition(name=step.step) for step in steps))


def milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _milliseconds(at: datetime | None) -> int | None:
    return None if at is None else milliseconds(at)


def _fault_of(code: str | None, message: str | None, step: str | None = None) -> Fault | None:
    return None if code is None else Fault(code, message or "", step)
