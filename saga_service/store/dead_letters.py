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

    async def dead_letter(self, number: int) -> DeadLetter | None:
        """The dead letter of this number, or None. Its `raw` holds the entry that a replay puts back."""
        async with borrowed(self._pool) as connection:
            row = await connection.fetchrow(queries.DEAD_LETTER, number)
        return None if row is None else DeadLetter(**row)

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
