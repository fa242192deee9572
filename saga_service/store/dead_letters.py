"""What a person does with dead letters: put one back on its stream, or drop it."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from saga_service.store.pool import borrowed
from saga_service.wire.dead_letters import DeadLetter

_COLUMNS = "stream, entry_id, reason, at_ms, preview::text as preview, raw"
_FIND = f"select {_COLUMNS} from saga_private.dead_letters where id = $1"
_MARK_REPLAYED = "update saga_private.dead_letters set replayed_at_ms = $2 where id = any($1::bigint[]) returning id"
_DROP = "delete from saga_private.dead_letters where id = any($1::bigint[]) returning id"


class DeadLetterBox:
    """The stored dead letters, by their number. Raises StoreUnavailable where Postgres cannot be reached."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def dead_letter(self, number: int) -> DeadLetter | None:
        """One of them, or None where there is none of this number. Its `raw` holds what a replay puts back."""
        async with borrowed(self._pool) as connection:
            row = await connection.fetchrow(_FIND, number)
        return None if row is None else DeadLetter(**row)

    async def mark_replayed(self, numbers: Sequence[int], at_ms: int) -> list[int]:
        """Note that they were put on their stream again; the numbers of those that exist."""
        return await self._numbers(_MARK_REPLAYED, numbers, at_ms)

    async def drop_dead_letters(self, numbers: Sequence[int]) -> list[int]:
        """Delete them for good; the numbers of those that existed."""
        return await self._numbers(_DROP, numbers)

    async def _numbers(self, query: str, *values: object) -> list[int]:
        async with borrowed(self._pool) as connection:
            rows = await connection.fetch(query, *values)
        return sorted(row[0] for row in rows)
