"""Removing what was kept long enough: ended sagas with their history, and dead letters that were replayed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import asyncpg

from saga_service.core.ids import SagaId
from saga_service.store.pool import borrowed

REMOVE_ENDED = "select removed, reached_ms from saga_private.remove_ended($1, $2, $3)"
REMOVE_WRITTEN = "select saga_private.remove_written($1, $2, $3)"
REMOVE_REPLAYED = "select saga_private.remove_replayed($1, $2)"


class WrittenSaga(NamedTuple):
    """A saga as somebody else keeps it now: it may only go while it is at this revision."""

    id: SagaId
    revision: int


class PostgresRemoval:
    """Each call is one small transaction. What somebody else holds is passed over, so that several replicas can remove
    at once. Nothing goes that ended, or was replayed, less than a day ago by the database's clock.

    All raise StoreUnavailable where Postgres cannot be reached.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def remove_ended(self, before_ms: int, limit: int, *, since_ms: int = 0) -> tuple[int, int | None]:
        """Remove at most `limit` sagas that ended before this moment, the oldest first; how many went, and when the
        last of them had ended.

        Handing that back as `since_ms` saves the next call from looking at what the earlier ones have looked at.
        """
        async with borrowed(self._pool) as connection:
            row = await connection.fetchrow(REMOVE_ENDED, since_ms, before_ms, limit)
        assert row is not None, "the function returns one row"
        return row["removed"], row["reached_ms"]

    async def remove_written(self, sagas: Sequence[WrittenSaga], before_ms: int) -> int:
        """Remove those of these sagas that are as they were written, and ended before this moment; how many went."""
        async with borrowed(self._pool) as connection:
            removed: int = await connection.fetchval(
                REMOVE_WRITTEN, [saga.id for saga in sagas], [saga.revision for saga in sagas], before_ms
            )
            return removed

    async def remove_replayed(self, before_ms: int, limit: int) -> int:
        """Remove at most `limit` dead letters that were last replayed before this moment; how many went."""
        async with borrowed(self._pool) as connection:
            removed: int = await connection.fetchval(REMOVE_REPLAYED, before_ms, limit)
            return removed
