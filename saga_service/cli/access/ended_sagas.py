"""Ended sagas with their steps and history, page by page, read from the contract's views."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from asyncpg import Connection

PAGE_SAGAS_MAX = 100
"""The sagas in memory at once; an input or an output may have a megabyte."""

ArchivedSaga = dict[str, Any]
"""All columns of `saga.sagas`, those of later versions too, and `steps` and `history`, each a list of its view's rows.

`Any`: what columns hold."""
Columns = Mapping[str, Mapping[str, str]]
"""By view: each column's type, as Postgres names it."""
WriteSagas = Callable[[Sequence[ArchivedSaga]], None]
IdAndRevision = tuple[str, int]

_VIEWS = ("sagas", "steps", "history")
_SAGA_COLUMNS = ("saga_id", "saga")
"""Columns of the saga that the views of steps and history repeat."""

# By the index on ended sagas: in the order of their ends, each page after the last saga of the one before.
PAGE_OF_SAGAS = """
select * from saga.sagas
where (ended_at, id) > ($1::timestamptz, $2::uuid) and ended_at < $3::timestamptz
    and status in ('completed', 'compensated') and ($4::text is null or saga = $4::text)
order by ended_at, id limit $5
"""
_STEPS = "select * from saga.steps where saga_id = any($1::uuid[]) order by saga_id, position"
_HISTORY = "select * from saga.history where saga_id = any($1::uuid[]) order by saga_id, revision"
_COLUMNS = """
select relname, attname, format_type(atttypid, atttypmod) as kind
from pg_attribute join pg_class on pg_class.oid = attrelid
where relnamespace = 'saga'::regnamespace and relname = any($1::text[]) and attnum > 0
order by attnum
"""
_BEFORE_FIRST = (datetime(1, 1, 1, tzinfo=UTC), "00000000-0000-0000-0000-000000000000")


async def ended_sagas(
    connection: Connection, ended_before: datetime, saga: str | None
) -> AsyncIterator[list[ArchivedSaga]]:
    """Pages of the sagas that ended before this moment, in the order of their ends. `saga` names one definition."""
    after = _BEFORE_FIRST
    while page := await _page(connection, after, ended_before, saga):
        yield page
        after = (page[-1]["ended_at"], page[-1]["id"])


async def columns_of_the_views(connection: Connection) -> dict[str, dict[str, str]]:
    """The columns of `sagas`, `steps` and `history`, and the type of each."""
    columns: dict[str, dict[str, str]] = {view: {} for view in _VIEWS}
    for row in await connection.fetch(_COLUMNS, list(_VIEWS)):
        columns[row["relname"]][row["attname"]] = row["kind"]
    return {view: _without_saga_columns(found) if view != "sagas" else found for view, found in columns.items()}


async def _page(
    connection: Connection, after: tuple[datetime, str], ended_before: datetime, saga: str | None
) -> list[ArchivedSaga]:
    # One moment for all three, and over with the page: no transaction stays open while a file is written.
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        sagas = [dict(row) for row in await connection.fetch(PAGE_OF_SAGAS, *after, ended_before, saga, PAGE_SAGAS_MAX)]
        ids = [each["id"] for each in sagas]
        steps = _by_saga(ids, await connection.fetch(_STEPS, ids))
        history = _by_saga(ids, await connection.fetch(_HISTORY, ids))
    return [{**each, "steps": steps[each["id"]], "history": history[each["id"]]} for each in sagas]


def _by_saga(ids: Iterable[str], rows: Iterable[Any]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {saga_id: [] for saga_id in ids}
    for row in rows:
        found[row["saga_id"]].append(_without_saga_columns(dict(row)))
    return found


def _without_saga_columns(columns: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in columns.items() if name not in _SAGA_COLUMNS}
