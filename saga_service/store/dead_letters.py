"""Dead letters as a person's commands use them: read one, mark it as replayed, drop it."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from saga_service.store import queries
from saga_service.store.pool import borrowed
from saga_service.wire.dead_letters import DeadLetter


class DeadLetterBox:
    """The stored dead letters, by their number. All methods raise StoreUnavailable where Postgres cannot be reached."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def dead_letters(self, numbers: Sequence[int]) -> dict[int, DeadLetter]:
        """The dead letters that exist, by number, the lowest first. `raw` has the entry that a replay puts back."""
        async with borrowed(self._pool) as connection:
            rows = await connection.fetch(queries.DEAD_LETTERS, numbers)
        return {number: DeadLetter(*columns) for number, *columns in rows}

    async def mark_replayed(self, numbers: Sequence[int], at_ms: int) -> list[int]:
        """Note that their entries were put on their streams again; the numbers of those that exist."""
        return await self._numbers(queries.MARK_REPLAYED, numbers, at_ms)

    async def drop_dead_letters(self, numbers: Sequence[int]) -> list[int]:
        """Delete them for good; the numbers of those that existed."""
        return await self._numbers(queries.DROP_DEAD_LETTERS, numbers)

    async def _numbers(self, query: str, *values: object) -> list[int]:
        async with borrowed(self._pool) as connection:
            rows = await connection.fetch(query, *values)
        return sorted(row[0] for row in rows)
