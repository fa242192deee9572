"""What other replicas have put on record, for whoever has not deployed it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import asyncpg
import orjson

from saga_service.store import queries
from saga_service.store.pool import borrowed
from saga_service.wire.blueprint import Blueprint


class PostgresRecords:
    """Fulfils `engine.ports.Records`. `read_blueprint` makes a blueprint of a stored document.

    `Any`: a JSON object.
    """

    def __init__(self, pool: asyncpg.Pool, read_blueprint: Callable[[Mapping[str, Any]], Blueprint]) -> None:
        self._pool = pool
        self._read_blueprint = read_blueprint

    async def newest(self, saga: str) -> Blueprint | None:
        """The version of this saga that was put on record last."""
        async with borrowed(self._pool) as connection:
            document = await connection.fetchval(queries.NEWEST_DEFINITION, saga)
        return None if document is None else self._read_blueprint(orjson.loads(document))

    async def waiting_for(self, signal: str) -> list[str]:
        """The names of the sagas of which some version waits for this signal."""
        async with borrowed(self._pool) as connection:
            return [row[0] for row in await connection.fetch(queries.WAITING_FOR, signal)]
