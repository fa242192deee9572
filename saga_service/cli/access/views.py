"""Rows of the contract's views, and the queries that read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, TypeVar

from asyncpg import Connection

Json = Any  # whatever the author's data is


@dataclass(frozen=True, slots=True)
class SagaRow:
    """One row of `saga.sagas`."""

    id: str
    saga: str
    version: str
    key: str | None
    status: str
    revision: int
    input: Json
    error_code: str | None
    error_message: str | None
    error_step: str | None
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None
    course: str
    deadline_at: datetime | None
    parent_id: str | None
    parent_step: str | None
    stuck_step: str | None
    stuck_code: str | None
    stuck_message: str | None


@dataclass(frozen=True, slots=True)
class StepRow:
    """One row of `saga.steps`."""

    position: int
    step: str
    status: str
    attempts: int
    compensation_attempts: int
    effect_revision: int | None
    waiting_for: str | None
    due_at: datetime | None
    in_doubt: bool
    output: Json
    error_code: str | None
    error_message: str | None
    started_at: datetime | None
    ended_at: datetime | None
    probes: int
    signal: str | None
    kind: str | None
    task: str | None
    action: str | None
    compensation: str | None


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One row of `saga.history`."""

    revision: int
    at: datetime
    event: str
    status: str
    step: str | None
    direction: str | None
    attempt: int | None
    sent: list[str]
    error_code: str | None
    error_message: str | None
    actor: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class SignalRow:
    """One row of `saga.signals`."""

    position: int
    name: str
    signal_id: str
    step: str | None
    taken: bool
    data: Json


@dataclass(frozen=True, slots=True)
class DebtRow:
    """One row of `saga.compensation_debt`."""

    undo_order: int | None
    step: str
    status: str
    compensation: str | None
    attempts: int
    error_code: str | None
    error_message: str | None
    effect_at: datetime | None
    outstanding_since: datetime


@dataclass(frozen=True, slots=True)
class DefinitionRow:
    """One row of `saga.definitions`."""

    saga: str
    version: str
    document: Json
    open_sagas: int


@dataclass(frozen=True, slots=True)
class DeadLetterRow:
    """One row of `saga.dead_letters`, without the raw entry."""

    id: int
    stream: str
    entry_id: str
    reason: str
    at: datetime
    saga_id: str | None
    key: str | None
    fields: Json
    replayed_at: datetime | None


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One row of `saga.processes`."""

    kind: str
    name: str
    status: str
    host: str
    pid: int | None
    version: str
    started_at: datetime | None
    last_seen_at: datetime
    reads: Json
    services: Json
    definitions: Json
    slots: int | None
    in_flight: int | None
    handled_per_s: float | None
    clock_ahead_ms: int | None


@dataclass(frozen=True, slots=True)
class SagaStory:
    """One saga with its steps, history, debt, signals and children, as of one moment."""

    saga: SagaRow
    steps: list[StepRow]
    history: list[HistoryRow]
    debt: list[DebtRow]
    signals: list[SignalRow]
    children: list[SagaRow]


_Row = TypeVar("_Row", SagaRow, StepRow, HistoryRow, SignalRow, DebtRow, DefinitionRow, DeadLetterRow, ProcessRow)


async def list_sagas(
    connection: Connection,
    *,
    status: str | None,
    saga: str | None,
    key: str | None,
    parent_id: str | None,
    sagas_max: int,
) -> list[SagaRow]:
    """The sagas that fit, newest first."""
    conditions, values = _conditions({"status": status, "saga": saga, "key": key, "parent_id": parent_id})
    found: list[SagaRow] = []
    for window in _WINDOWS:
        recent = [*conditions, f"created_at > now() - ${len(values) + 1}::interval"] if window else conditions
        given = [*values, window] if window else values
        rest = f"{_where(recent)} order by created_at desc, id limit {sagas_max}"
        found = await _rows(connection, SagaRow, "sagas", rest, given)
        if len(found) == sagas_max:
            break
    return found


# The newest sagas of a large table are found in its last pages; the whole of it is only read where those have too few.
_WINDOWS = (timedelta(hours=1), timedelta(days=1), timedelta(days=31), None)


async def sagas_at_rest_since(connection: Connection, moment: datetime) -> list[SagaRow]:
    """The sagas that have ended, or got stuck, after this moment, in the order in which they did."""
    condition = "where status in ('completed', 'compensated', 'stuck') and updated_at > $1 order by updated_at, id"
    return await _rows(connection, SagaRow, "sagas", condition, [moment])


async def sagas_with_key(connection: Connection, key: str) -> list[SagaRow]:
    """The sagas with this business key, one at most of each definition."""
    return await _rows(connection, SagaRow, "sagas", "where key = $1 order by created_at desc", [key])


async def saga_with_id(connection: Connection, saga_id: str) -> SagaRow | None:
    rows = await _rows(connection, SagaRow, "sagas", "where id = $1", [saga_id])
    return rows[0] if rows else None


async def sagas_with_ids(connection: Connection, saga_ids: Sequence[str]) -> list[SagaRow]:
    """The sagas with these ids. An id without a saga has no row."""
    return await _rows(connection, SagaRow, "sagas", "where id = any($1::uuid[])", [list(saga_ids)])


async def sagas_to_operate(
    connection: Connection,
    *,
    statuses: Sequence[str],
    saga: str | None,
    error_code: str | None,
    unchanged_for: timedelta | None,
    sagas_max: int,
) -> tuple[list[SagaRow], int]:
    """The sagas of these statuses that fit, the longest unchanged first, and the number of all that fit."""
    conditions, values = _conditions({"saga": saga})
    if error_code is not None:
        values.append(error_code)
        conditions.append(f"${len(values)} in (error_code, stuck_code)")
    values.append(list(statuses))
    conditions.append(f"status = any(${len(values)}::text[])")
    if unchanged_for is not None:
        values.append(unchanged_for)
        conditions.append(f"updated_at < now() - ${len(values)}::interval")
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        rest = f"{_where(conditions)} order by updated_at, id limit {sagas_max}"
        found = await _rows(connection, SagaRow, "sagas", rest, values)
        count: int = await connection.fetchval(f"select count(*) from saga.sagas {_where(conditions)}", *values)
    return found, count


async def definitions_of_open_sagas(connection: Connection) -> list[DefinitionRow]:
    """The registered versions that have sagas which have not ended."""
    condition = "where open_sagas > 0 order by saga, first_seen_at"
    return await _rows(connection, DefinitionRow, "definitions", condition, [])


async def definition_document(connection: Connection, saga: str, version: str) -> Json | None:
    """The document of a registered version, None where it is not registered."""
    return await connection.fetchval(
        "select document from saga.definitions where saga = $1 and version = $2", saga, version
    )


async def deployed_document(connection: Connection, saga: str) -> Json | None:
    """The document of the deployed version, None where there is none. `saga.start` reads by it too."""
    return await connection.fetchval("select document from saga.definitions where saga = $1 and is_deployed", saga)


async def deployed_documents(connection: Connection) -> list[Json]:
    """The document of the deployed version of every saga."""
    rows = await connection.fetch("select document from saga.definitions where is_deployed order by saga")
    return [row["document"] for row in rows]


async def story_of(connection: Connection, saga_id: str) -> SagaStory | None:
    """The story of the saga with this id, None where there is none."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        saga = await saga_with_id(connection, saga_id)
        if saga is None:
            return None
        return SagaStory(
            saga,
            await _rows(connection, StepRow, "steps", "where saga_id = $1 order by position", [saga_id]),
            await history_of(connection, saga_id),
            await _rows(connection, DebtRow, "compensation_debt", f"where saga_id = $1 {_AS_UNDONE}", [saga_id]),
            await _rows(connection, SignalRow, "signals", "where saga_id = $1 order by position", [saga_id]),
            await _rows(connection, SagaRow, "sagas", "where parent_id = $1 order by created_at, id", [saga_id]),
        )


# Where there is no one order, the latest effect first.
_AS_UNDONE = "order by undo_order, effect_at desc, step"


async def history_of(connection: Connection, saga_id: str, *, after_revision: int = 0) -> list[HistoryRow]:
    condition = "where saga_id = $1 and revision > $2 order by revision"
    return await _rows(connection, HistoryRow, "history", condition, [saga_id, after_revision])


async def list_dead_letters(
    connection: Connection, *, stream: str | None, with_replayed: bool, letters_max: int
) -> list[DeadLetterRow]:
    """Dead letters, newest first, with those that were replayed if `with_replayed`."""
    conditions, values = _conditions({"stream": stream})
    if not with_replayed:
        conditions.append("replayed_at is null")
    rest = f"{_where(conditions)} order by id desc limit {letters_max}"
    return await _rows(connection, DeadLetterRow, "dead_letters", rest, values)


async def dead_letters_with_ids(connection: Connection, ids: Sequence[int]) -> list[DeadLetterRow]:
    return await _rows(
        connection, DeadLetterRow, "dead_letters", "where id = any($1::bigint[]) order by id", [list(ids)]
    )


async def latest_dead_letter_of(connection: Connection, saga_id: str | None, key: str) -> DeadLetterRow | None:
    """The latest dead letter that names a saga by this id or this business key."""
    condition = "where saga_id = $1 or key = $2 order by id desc limit 1"
    rows = await _rows(connection, DeadLetterRow, "dead_letters", condition, [saga_id, key])
    return rows[0] if rows else None


async def has_open_request(connection: Connection, saga_id: str | None, key: str) -> bool:
    """True if a request for the saga with this id or business key waits for a replica."""
    condition = "answered_at is null and (saga_id = $1 or key = $2)"
    found: bool = await connection.fetchval(
        f"select exists (select from saga.requests where {condition})", saga_id, key
    )
    return found


async def dead_letter_of_entry(connection: Connection, stream: str, entry_id: str) -> DeadLetterRow | None:
    condition = "where stream = $1 and entry_id = $2"
    rows = await _rows(connection, DeadLetterRow, "dead_letters", condition, [stream, entry_id])
    return rows[0] if rows else None


async def list_processes(connection: Connection, *, with_dead: bool = False) -> list[ProcessRow]:
    """The services and workers that are alive; with those of a day that are not if `with_dead`."""
    condition = "" if with_dead else "where status = 'alive'"
    return await _rows(connection, ProcessRow, "processes", f"{condition} order by kind, started_at, name", [])


def _conditions(wanted: dict[str, str | None]) -> tuple[list[str], list[object]]:
    given = {column: value for column, value in wanted.items() if value is not None}
    return [f"{column} = ${place}" for place, column in enumerate(given, start=1)], list(given.values())


def _where(conditions: Sequence[str]) -> str:
    return f"where {' and '.join(conditions)}" if conditions else ""


async def _rows(connection: Connection, kind: type[_Row], view: str, rest: str, values: Sequence[object]) -> list[_Row]:
    found = await connection.fetch(f"select {_columns(kind)} from saga.{view} {rest}", *values)
    return [kind(**dict(row)) for row in found]


def _columns(kind: type[_Row]) -> str:
    return ", ".join(field.name for field in fields(kind))
