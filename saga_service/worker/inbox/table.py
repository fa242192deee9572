"""All the SQL of the inbox: its table, what takes and writes a row, and what removes old ones."""

from __future__ import annotations

from typing import NamedTuple

from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy

from saga_service.wire.commands import ReceivedCommand
from saga_service.worker.inbox.decisions import Mark, Row, Side

MARKS = "('never', 'begun', 'done', 'rejected')"

CREATE = (
    # Ten replicas may start at once, and IF NOT EXISTS alone does not bear that. The lock goes with the transaction, so
    # it works behind a pooling proxy too.
    "select pg_advisory_xact_lock(hashtextextended('saga_worker.inbox', 0))",
    "create schema if not exists saga_worker",
    f"""
    create table if not exists saga_worker.inbox (
        saga_id         uuid        not null,
        step            text        not null,
        version         integer     not null default 1,
        action_mark     text        not null check (action_mark in {MARKS}),
        action_attempt  integer     not null,
        action_result   json,
        undo_mark       text        not null check (undo_mark in {MARKS}),
        undo_attempt    integer     not null,
        undo_result     json,
        closed_until_ms bigint      not null,
        created_at      timestamptz not null default now(),
        primary key (saga_id, step)
    ) with (fillfactor = 70)
    """,
    # A row is written again with its result: nothing indexed changes by that, so it stays on its page.
    "create index if not exists inbox_created_at on saga_worker.inbox (created_at)",
    "comment on table saga_worker.inbox is"
    " 'What handlers of saga_service have begun and done, one row for each step of a saga'",
    "comment on column saga_worker.inbox.version is 'Rises whenever a command looks at the row'",
    "comment on column saga_worker.inbox.action_result is 'What the action returned, or its error if it was rejected'",
    "comment on column saga_worker.inbox.closed_until_ms is"
    " 'A probe was told that the action did not happen: none begins whose deadline is not after this'",
)

EXISTS = "select to_regclass('saga_worker.inbox') is not null"

_COLUMNS = "version, action_mark, action_attempt, action_result, undo_mark, undo_attempt, undo_result, closed_until_ms"

# Also where the row is there it is written, for that locks it, waits for whoever holds it, and returns what that one
# has left. A version of 1 says that there was none.
TAKE = f"""
    insert into saga_worker.inbox as inbox
        (saga_id, step, action_mark, action_attempt, action_result, undo_mark, undo_attempt, undo_result,
         closed_until_ms)
    values ($1::text::uuid, $2, $3, $4, $5::text::json, $6, $7, $8::text::json, $9)
    on conflict (saga_id, step) do update set version = inbox.version + 1
    returning {_COLUMNS}
"""

# In a transaction that a worker has forgotten the row would stay locked: one that is paused, or whose link is gone.
TAKE_IN_TRANSACTION = f"{TAKE}, set_config('idle_in_transaction_session_timeout', $10, true)"

WRITE = """
    update saga_worker.inbox set version = version + 1,
        action_mark = $4, action_attempt = $5, action_result = $6::text::json,
        undo_mark = $7, undo_attempt = $8, undo_result = $9::text::json, closed_until_ms = $10
    where saga_id = $1::text::uuid and step = $2 and version = $3
    returning version
"""

REMOVE = """
    with old as (
        select saga_id, step from saga_worker.inbox
        where created_at < now() - make_interval(days => $1)
        order by created_at limit $2
        for update skip locked
    ), removed as (
        delete from saga_worker.inbox using old
        where inbox.saga_id = old.saga_id and inbox.step = old.step
        returning 1
    )
    select count(*) from removed
"""


# MERGED from worker.inbox.rows:
# Rows of the inbox, to and from Postgres.

_FIRST_VERSION = 1


class Taken(NamedTuple):
    row: Row
    version: int
    is_new: bool
    """It was not there, and is now as it was to be."""


async def take(connection: PoolConnectionProxy, command: ReceivedCommand, first: Row) -> Taken:
    """The step's row, which is made as `first` if there is none."""
    return _taken(await connection.fetchrow(TAKE, command.saga_id, command.step, *_columns(first)))


async def take_in_transaction(
    connection: PoolConnectionProxy, command: ReceivedCommand, first: Row, forgotten_after_ms: int
) -> Taken:
    """The same, locked for the rest of the transaction; the server ends one that lies idle for so long."""
    values = (command.saga_id, command.step, *_columns(first), str(forgotten_after_ms))
    return _taken(await connection.fetchrow(TAKE_IN_TRANSACTION, *values))


async def write(connection: PoolConnectionProxy, command: ReceivedCommand, row: Row, version: int) -> int | None:
    """The row's new version; None if somebody looked at it since `version`, and then nothing is written."""
    written: int | None = await connection.fetchval(WRITE, command.saga_id, command.step, version, *_columns(row))
    return written


def _taken(record: Record | None) -> Taken:
    assert record is not None, "it was made if it was not there"
    version, action_mark, action_attempt, action_result, undo_mark, undo_attempt, undo_result, closed = record[:8]
    row = Row(
        Side(Mark(action_mark), action_attempt, action_result), Side(Mark(undo_mark), undo_attempt, undo_result), closed
    )
    return Taken(row, version, version == _FIRST_VERSION)


def _columns(row: Row) -> tuple[object, ...]:
    return (*row.action, *row.undo, row.closed_until_ms)
