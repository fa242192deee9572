"""Locks that somebody else keeps, and time-outs short enough for a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from tests.support.waiting import eventually

Sessions = asyncpg.Pool | asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
WRITING_FUNCTIONS = ("commit_batch", "probe")
"""Functions that have a `lock_timeout` of their own."""


async def shorten_lock_timeouts(connection: asyncpg.Connection | asyncpg.Pool, timeout_ms: int) -> None:
    """From the next call on, in this database. Sessions keep nothing."""
    signatures = await connection.fetch(
        "select oid::regprocedure::text as signature from pg_proc"
        " where pronamespace = 'saga_private'::regnamespace and proname = any($1::text[])",
        WRITING_FUNCTIONS,
    )
    assert len(signatures) == len(WRITING_FUNCTIONS)
    for row in signatures:
        await connection.execute(f"alter function {row['signature']} set lock_timeout = '{timeout_ms}ms'")


async def waits_for_locks(sessions: Sessions, count: int = 1) -> None:
    """Until so many sessions of this database wait for locks. The one that looks must not be in a transaction."""

    async def so_many() -> bool:
        return bool(await sessions.fetchval(WAITING) == count)

    await eventually(so_many, what=f"{count} sessions wait for a lock")


@asynccontextmanager
async def somebody_locks(dsn: str, statement: str, *values: object) -> AsyncIterator[None]:
    """A session that has taken locks by this statement, and whose transaction nobody ends meanwhile."""
    somebody: asyncpg.Connection = await asyncpg.connect(dsn)
    try:
        async with somebody.transaction():
            await somebody.execute(statement, *values)
            yield
    finally:
        await somebody.close()
