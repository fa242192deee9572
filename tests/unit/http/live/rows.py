"""Rows of the views, and what a look may find."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from saga_service.admin.changes import Changes, Cursor
from saga_service.admin.views import HistoryRow, SagaSummary

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CURSOR = Cursor(NOW, "5:5:")
SAGA = SagaSummary(
    id="id-1",
    saga="order",
    version="v1",
    key="A-1",
    status="running",
    revision=3,
    error_code=None,
    error_message=None,
    error_step=None,
    created_at=NOW,
    updated_at=NOW,
    ended_at=None,
    course="forward",
    deadline_at=None,
    parent_id=None,
    parent_step=None,
    stuck_step=None,
    stuck_code=None,
    stuck_message=None,
)


def saga(number: int, status: str = "running", *, revision: int = 3) -> SagaSummary:
    ended_at = NOW if status in ("completed", "compensated") else None
    return replace(SAGA, id=f"id-{number}", key=f"A-{number}", status=status, revision=revision, ended_at=ended_at)


def line(revision: int, error_message: str | None = None) -> HistoryRow:
    return HistoryRow(revision, NOW, "paused", "paused", None, None, None, [], None, error_message, None, None)


def found(
    *sagas: SagaSummary, lines: dict[str, list[HistoryRow]] | None = None, removed: frozenset[str] = frozenset()
) -> Changes:
    """What a look has found."""
    return Changes(CURSOR, len(sagas), {each.id: each for each in sagas}, removed, lines or {}, {}, {})
