"""Rows of the views, as a test needs them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from saga_service.admin.views import DebtRow, HistoryRow, SagaRow, SagaStory, SignalRow, StepRow
from saga_service.core.ids import SagaId
from saga_service.core.state import Fault, SagaState, StepState
from saga_service.core.vocabulary import Course, Due, SagaStatus, StepStatus

NOW = datetime(2026, 1, 31, 23, 59, 59, 900_000, tzinfo=UTC)
SAGA_ID = "5fc78230-6705-8a70-9e7f-d493631ce20d"


def saga(status: str, **changes: Any) -> SagaRow:  # Any: the row's own fields
    row: dict[str, Any] = {
        "id": SAGA_ID,
        "saga": "order",
        "version": "v1",
        "key": "A-17",
        "status": status,
        "revision": 3,
        "input": {},
        "error_code": None,
        "error_message": None,
        "error_step": None,
        "created_at": NOW - timedelta(minutes=2),
        "updated_at": NOW - timedelta(seconds=30),
        "ended_at": None,
        "course": "forward",
        "deadline_at": None,
        "parent_id": None,
        "parent_step": None,
        "stuck_step": None,
        "stuck_code": None,
        "stuck_message": None,
    }
    return SagaRow(**row | changes)


def step(name: str, status: str, **changes: Any) -> StepRow:  # Any: the row's own fields
    row: dict[str, Any] = {
        "position": 1,
        "step": name,
        "status": status,
        "attempts": 1,
        "compensation_attempts": 0,
        "effect_revision": None,
        "waiting_for": None,
        "due_at": None,
        "in_doubt": False,
        "output": None,
        "error_code": None,
        "error_message": None,
        "started_at": NOW,
        "ended_at": None,
        "probes": 0,
        "signal": None,
        "kind": None,
        "task": None,
        "action": None,
        "compensation": None,
    }
    return StepRow(**row | changes)


def entry(event: str, at: datetime, status: str = "running", **changes: Any) -> HistoryRow:  # Any: likewise
    row: dict[str, Any] = {
        "revision": 1,
        "at": at,
        "event": event,
        "status": status,
        "step": "charge",
        "direction": "action",
        "attempt": 2,
        "sent": [],
        "error_code": None,
        "error_message": None,
        "actor": None,
        "reason": None,
    }
    return HistoryRow(**row | changes)


def story(
    saga: SagaRow,
    *steps: StepRow,
    history: Sequence[HistoryRow] = (),
    debt: Sequence[DebtRow] = (),
    signals: Sequence[SignalRow] = (),
    children: Sequence[SagaRow] = (),
) -> SagaStory:
    return SagaStory(
        saga, list(steps), list(history) or [entry("started", NOW)], list(debt), list(signals), list(children)
    )


def state_of(saga: SagaRow, steps: Sequence[StepRow]) -> SagaState:
    """A state that fits these rows."""
    return SagaState(
        id=SagaId(saga.id),
        saga=saga.saga,
        version=saga.version,
        key=saga.key,
        status=SagaStatus(saga.status),
        revision=saga.revision,
        input=saga.input,
        steps=tuple(_step_of(step) for step in steps),
        created_at_ms=_ms(saga.created_at),
        updated_at_ms=_ms(saga.updated_at),
        ended_at_ms=_optional_ms(saga.ended_at),
        fault=_fault_of(saga.error_code, saga.error_message, saga.error_step),
        course=Course(saga.course),
        deadline_ms=_optional_ms(saga.deadline_at),
    )


def _step_of(step: StepRow) -> StepState:
    return StepState(
        name=step.step,
        status=StepStatus(step.status),
        attempts=step.attempts,
        compensation_attempts=step.compensation_attempts,
        effect_revision=step.effect_revision,
        due_at_ms=_optional_ms(step.due_at),
        due=Due(step.waiting_for) if step.waiting_for in set(Due) else None,
        unanswered=(step.attempts,) if step.in_doubt else (),
        output=step.output,
        fault=_fault_of(step.error_code, step.error_message),
        started_at_ms=_optional_ms(step.started_at),
        ended_at_ms=_optional_ms(step.ended_at),
        probes=step.probes,
    )


def _optional_ms(at: datetime | None) -> int | None:
    return None if at is None else _ms(at)


def _fault_of(code: str | None, message: str | None, step: str | None = None) -> Fault | None:
    return None if code is None else Fault(code, message or "", step)


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
