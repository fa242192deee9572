"""Retention: ended sagas, replayed dead letters and ended jobs are removed once kept for long enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import asyncpg

from saga_service.base.postgres import STATEMENT_TIMEOUT_S
from saga_service.core.ids import SagaId
from saga_service.store import queries
from saga_service.store.pool import borrowed


class WrittenSaga(NamedTuple):
    """A saga that an archive has. It may be removed only while it is at this revision."""

    id: SagaId
    revision: int


class PostgresRemoval:
    """Removes in small batches, one transaction each.

    Rows that somebody else holds are passed over, so that several replicas can remove at once. A saga or a dead letter
    stays for a day after its end or its replay, by the database's clock. All methods raise StoreUnavailable where
    Postgres cannot be reached.
    """

    def __init__(self, pool: asyncpg.Pool, *, acquire_timeout_s: float = STATEMENT_TIMEOUT_S) -> None:
        self._pool = pool
        self._acquire_timeout_s = acquire_timeout_s

    async def remove_ended(self, before_ms: int, limit: int, *, since_ms: int = 0) -> tuple[int, int | None]:
        """Remove at most `limit` sagas that ended before `before_ms`, the oldest first.

        Returns how many were removed, and when the last of them had ended. That moment as the next call's `since_ms`
        spares it the rows that the earlier calls have seen.
        """
        async with borrowed(self._pool, self._acquire_timeout_s) as connection:
            row = await connection.fetchrow(queries.REMOVE_ENDED, since_ms, before_ms, limit)
        assert row is not None, "the function returns one row"
        return row["removed"], row["reached_ms"]

    async def remove_written(self, sagas: Sequence[WrittenSaga], before_ms: int) -> int:
        """Remove the sagas that are still as written and ended before `before_ms`; how many were removed."""
        async with borrowed(self._pool, self._acquire_timeout_s) as connection:
            removed: int = await connection.fetchval(
                queries.REMOVE_WRITTEN,
                [saga.id for saga in sagas],
                [saga.revision for saga in sagas],
                before_ms,
            )
            return removed

    async def remove_replayed(self, before_ms: int, limit: int) -> int:
        """Remove at most `limit` dead letters last replayed before `before_ms`; how many were removed."""
        async with borrowed(self._pool, self._acquire_timeout_s) as connection:
            removed: int = await connection.fetchval(queries.REMOVE_REPLAYED, before_ms, limit)
            return removed

    async def remove_jobs(self, ended_before_ms: int, expired_before_ms: int, limit: int) -> int:
        """Remove at most `limit` items of a job that ended, or expired unconfirmed, before these moments.

        Returns how many went: `limit` where there may be more to remove.
        """
        async with borrowed(self._pool, self._acquire_timeout_s) as connection:
            removed: int = await connection.fetchval(queries.REMOVE_JOBS, ended_before_ms, expired_before_ms, limit)
            return removed
