"""The inbox's table: creating it (`inbox.sql`), taking and writing a row, removing old rows."""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple

from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy

from saga_service.wire.commands import ReceivedCommand
from saga_service.worker.inbox.decisions import Mark, Row, Side

EXISTS = "select to_regclass('saga_worker.inbox') is not null"

# An existing row is written too: that locks it, waits for the lock's holder, and returns what the holder has left. A
# version of 1 means that there was no row.
TAKE = """
    insert into saga_worker.inbox as inbox
        (saga_id, step, action_mark, action_attempt, action_result, undo_mark, undo_attempt, undo_result,
         fenced_until_ms)
    values ($1::text::uuid, $2, $3, $4, $5::text::json, $6, $7, $8::text::json, $9)
    on conflict (saga_id, step) do update set version = inbox.version + 1
    returning version, action_mark, action_attempt, action_result, undo_mark, undo_attempt, undo_result,
        fenced_until_ms
"""

# The row would stay locked by a transaction whose worker is paused or whose link is gone: the server ends such a one.
TAKE_IN_TRANSACTION = f"{TAKE}, set_config('idle_in_transaction_session_timeout', $10, true)"

WRITE = """
    update saga_worker.inbox set version = version + 1,
        action_mark = $4, action_attempt = $5, action_result = $6::text::json,
        undo_mark = $7, undo_attempt = $8, undo_result = $9::text::json, fenced_until_ms = $10
    where saga_id = $1::text::uuid and step = $2 and version = $3
    returning version
"""

REMOVE_OLD = """
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

_FIRST_VERSION = 1


def creation_script() -> str:
    """Return the SQL that creates schema, table and index where they are missing, for one transaction."""
    return files(__package__ or "").joinpath("inbox.sql").read_text()


class TakenRow(NamedTuple):
    row: Row
    version: int
    is_new: bool
    """True if there was no row, and there is one now."""


async def take(connection: PoolConnectionProxy, command: ReceivedCommand, first: Row) -> TakenRow:
    """Return the step's row, which is created as `first` if there is none."""
    return _taken(await connection.fetchrow(TAKE, command.saga_id, command.step, *_columns(first)))


async def take_in_transaction(
    connection: PoolConnectionProxy, command: ReceivedCommand, first: Row, idle_timeout_ms: int
) -> TakenRow:
    """Take the step's row and lock it for the rest of the transaction, which the server ends if it is idle so long."""
    values = (command.saga_id, command.step, *_columns(first), str(idle_timeout_ms))
    return _taken(await connection.fetchrow(TAKE_IN_TRANSACTION, *values))


async def write(connection: PoolConnectionProxy, command: ReceivedCommand, row: Row, version: int) -> int | None:
    """Write the row and return its new version; None if it was taken since `version`: nothing is written then."""
    written: int | None = await connection.fetchval(WRITE, command.saga_id, command.step, version, *_columns(row))
    return written


def _taken(record: Record | None) -> TakenRow:
    assert record is not None, "it is created if it is missing"
    version, action_mark, action_attempt, action_result, undo_mark, undo_attempt, undo_result, fenced_ms = record[:8]
    action = Side(Mark(action_mark), action_attempt, action_result)
    undo = Side(Mark(undo_mark), undo_attempt, undo_result)
    return TakenRow(Row(action, undo, fenced_ms), version, version == _FIRST_VERSION)


def _columns(row: Row) -> tuple[object, ...]:
    return (*row.action, *row.undo, row.fenced_until_ms)
