"""Rows of the inbox, to and from Postgres."""

from __future__ import annotations

from typing import NamedTuple

from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy

from saga_service.wire.commands import ReceivedCommand
from saga_service.worker.inbox.sql import TAKE, TAKE_IN_TRANSACTION, WRITE
from saga_service.worker.inbox.verdicts import Mark, Row, Side

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
