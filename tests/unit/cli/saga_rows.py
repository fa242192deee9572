"""Rows of the views, as a test needs them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from saga_service.cli.access.views import DebtRow, HistoryRow, SagaRow, SagaStory, SignalRow, StepRow

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
