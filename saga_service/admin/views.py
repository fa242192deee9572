"""Rows of the contract's views, and the queries that read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from asyncpg import Connection

from saga_service.admin.payloads import PayloadMark

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Json = Any  # whatever JSON can hold
Payload = Annotated[Json, PayloadMark.DATA]
ErrorText = Annotated[str | None, PayloadMark.TEXT]


@dataclass(frozen=True, slots=True)
class SagaSummary:
    """The columns of one row of `saga.sagas` that are small, and may change."""

    id: str
    saga: str
    version: str
    key: str | None
    status: str
    revision: int
    error_code: str | None
    error_message: ErrorText
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
    stuck_message: ErrorText


@dataclass(frozen=True, slots=True)
class SagaRow(SagaSummary):
    """One row of `saga.sagas`."""

    input: Payload


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
    output: Payload
    error_code: str | None
    error_message: ErrorText
    started_at: datetime | None
    ended_at: datetime | None
    probes: int
    signal: str | None
    kind: str | None
    task: str | None
    action: str | None
    compensation: str | None


@dataclass(frozen=True, slots=True)
class AwaitedRow:
    """The columns of one row of `saga.steps` that say what a step waits for."""

    saga_id: str
    step: str
    status: str
    task: str | None
    waiting_for: str
    signal: str | None
    due_at: datetime


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
    error_message: ErrorText
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
    data: Payload


@dataclass(frozen=True, slots=True)
class DebtRow:
    """One row of `saga.compensation_debt`."""

    undo_order: int | None
    step: str
    status: str
    compensation: str | None
    attempts: int
    error_code: str | None
    error_message: ErrorText
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
    reason: Annotated[str, PayloadMark.TEXT]
    at: datetime
    saga_id: str | None
    key: str | None
    fields: Annotated[Json, PayloadMark.ENTRY]
    replayed_at: datetime | None


@dataclass(frozen=True, slots=True)
class OpenRequestRow:
    """The columns of one row of `saga.requests` that say how long a request has waited for a replica."""

    at: datetime
    type: str | None
    attempts: int


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
    """One saga with its parent, steps, history, debt, signals and children, as of one moment."""

    saga: SagaRow
    steps: list[StepRow]
    history: list[HistoryRow]
    debt: list[DebtRow]
    signals: list[SignalRow]
    children: list[SagaRow]
    parent: SagaRow | None = None


_Row = TypeVar("_Row", bound="DataclassInstance")


async def sagas_with_key(
    connection: Connection, key: str, saga: str | None, sagas_max: int, form: str | None = None
) -> list[SagaRow]:
    """The sagas with this business key, of one definition where `saga` names it. Child sagas come last.

    With a `form` only those whose definition writes its keys in that form.
    """
    condition = "where key = $1 and saga = coalesce($2, saga)"
    values = [key, saga]
    if form is not None:
        values.append(form)
        condition += """ and (saga, version) in (
            select saga, version from saga.definitions where document ->> 'key_form' = $3
        )"""
    order = f"order by parent_id is not null, created_at desc limit {sagas_max}"
    return await rows_of(connection, SagaRow, "sagas", f"{condition} {order}", values)


async def awaited_steps(connection: Connection, saga_ids: Sequence[str]) -> list[AwaitedRow]:
    """The steps of these sagas that wait for something, in the order of their definitions."""
    rest = "where saga_id = any($1::uuid[]) and waiting_for is not null order by saga_id, position"
    return await rows_of(connection, AwaitedRow, "steps", rest, [list(saga_ids)])


async def sagas_at_rest_since(connection: Connection, moment: datetime) -> list[SagaRow]:
    """The sagas that have ended, or got stuck, after this moment, in the order in which they did."""
    condition = "where status in ('completed', 'compensated', 'stuck') and updated_at > $1 order by updated_at, id"
    return await rows_of(connection, SagaRow, "sagas", condition, [moment])


async def saga_with_id(connection: Connection, saga_id: str) -> SagaRow | None:
    rows = await rows_of(connection, SagaRow, "sagas", "where id = $1", [saga_id])
    return rows[0] if rows else None


async def sagas_with_ids(connection: Connection, saga_ids: Sequence[str]) -> list[SagaRow]:
    """The sagas with these ids. An id without a saga has no row."""
    return await rows_of(connection, SagaRow, "sagas", "where id = any($1::uuid[])", [list(saga_ids)])


async def definitions_of_open_sagas(connection: Connection) -> list[DefinitionRow]:
    """The registered versions that have sagas which have not ended."""
    condition = "where open_sagas > 0 order by saga, first_seen_at"
    return await rows_of(connection, DefinitionRow, "definitions", condition, [])


async def registered_definitions(connection: Connection) -> list[DefinitionRow]:
    """All registered versions, those of one saga in the order in which they came."""
    return await rows_of(connection, DefinitionRow, "definitions", "order by saga, first_seen_at", [])


async def registered_definition(connection: Connection, saga: str, version: str) -> DefinitionRow | None:
    rows = await rows_of(connection, DefinitionRow, "definitions", "where saga = $1 and version = $2", [saga, version])
    return rows[0] if rows else None


async def definitions_in_force(connection: Connection) -> list[DefinitionRow]:
    """The deployed version of every saga, and the registered versions that have sagas which have not ended."""
    condition = "where is_deployed or open_sagas > 0 order by saga, first_seen_at"
    return await rows_of(connection, DefinitionRow, "definitions", condition, [])


async def definition_document(connection: Connection, saga: str, version: str) -> Json | None:
    """The document of a registered version, None where it is not registered."""
    return await connection.fetchval(
        "select document from saga.definitions where saga = $1 and version = $2", saga, version
    )


async def deployed_document(connection: Connection, saga: str) -> Json | None:
    """The document of the deployed version, None where there is none. `saga.start` reads by it too."""
    return await connection.fetchval("select document from saga.definitions where saga = $1 and is_deployed", saga)


async def registered_names(connection: Connection) -> list[str]:
    """The names of all sagas of which a version is registered."""
    rows = await connection.fetch("select distinct saga from saga.definitions order by saga")
    return [row["saga"] for row in rows]


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
            await rows_of(connection, StepRow, "steps", "where saga_id = $1 order by position", [saga_id]),
            await history_of(connection, saga_id),
            await rows_of(connection, DebtRow, "compensation_debt", f"where saga_id = $1 {_AS_UNDONE}", [saga_id]),
            await rows_of(connection, SignalRow, "signals", "where saga_id = $1 order by position", [saga_id]),
            await rows_of(connection, SagaRow, "sagas", "where parent_id = $1 order by created_at, id", [saga_id]),
            None if saga.parent_id is None else await saga_with_id(connection, saga.parent_id),
        )


# Where there is no one order, the latest effect first.
_AS_UNDONE = "order by undo_order, effect_at desc, step"


async def history_of(
    connection: Connection, saga_id: str, *, after_revision: int = 0, lines_max: int | None = None
) -> list[HistoryRow]:
    condition = "where saga_id = $1 and revision > $2 order by revision limit $3"
    return await rows_of(connection, HistoryRow, "history", condition, [saga_id, after_revision, lines_max])


async def dead_letters_with_ids(connection: Connection, ids: Sequence[int]) -> list[DeadLetterRow]:
    return await rows_of(
        connection, DeadLetterRow, "dead_letters", "where id = any($1::bigint[]) order by id", [list(ids)]
    )


async def latest_dead_letter_of(connection: Connection, saga_id: str | None, key: str) -> DeadLetterRow | None:
    """The latest dead letter that names a saga by this id or this business key."""
    condition = "where saga_id = $1 or key = $2 order by id desc limit 1"
    rows = await rows_of(connection, DeadLetterRow, "dead_letters", condition, [saga_id, key])
    return rows[0] if rows else None


async def open_request_of(connection: Connection, saga_id: str | None, key: str | None) -> OpenRequestRow | None:
    """The first request for the saga with this id or business key that waits for a replica."""
    condition = "where answered_at is null and (saga_id = $1 or key = $2) order by request_id limit 1"
    rows = await rows_of(connection, OpenRequestRow, "requests", condition, [saga_id, key])
    return rows[0] if rows else None


async def dead_letter_of_entry(connection: Connection, stream: str, entry_id: str) -> DeadLetterRow | None:
    condition = "where stream = $1 and entry_id = $2"
    rows = await rows_of(connection, DeadLetterRow, "dead_letters", condition, [stream, entry_id])
    return rows[0] if rows else None


async def list_processes(connection: Connection, *, with_dead: bool = False) -> list[ProcessRow]:
    """The services and workers that are alive; with those of a day that are not if `with_dead`."""
    condition = "" if with_dead else "where status = 'alive'"
    return await rows_of(connection, ProcessRow, "processes", f"{condition} order by kind, started_at, name", [])


async def rows_of(
    connection: Connection, kind: type[_Row], view: str, rest: str, values: Sequence[object]
) -> list[_Row]:
    """Rows of a view of the contract. `rest` is the query behind the view's name."""
    found = await connection.fetch(f"select {_columns(kind)} from saga.{view} {rest}", *values)
    return [kind(**dict(row)) for row in found]


def _columns(kind: type[_Row]) -> str:
    return ", ".join(field.name for field in fields(kind))
