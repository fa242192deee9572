"""What other replicas have put on record, for whoever has not deployed it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import asyncpg
import orjson

from saga_service.store import queries
from saga_service.store.pool import borrowed
from saga_service.wire.saga_spec import SagaSpec

ReadBlueprint = Callable[[Mapping[str, Any]], SagaSpec | None]
"""Makes a blueprint of a stored document, or nothing where this release cannot. `Any`: a JSON object."""


class PostgresDefinitionRegistry:
    """Fulfils `engine.ports.Records`."""

    def __init__(self, pool: asyncpg.Pool, read_blueprint: ReadBlueprint) -> None:
        self._pool = pool
        self._read_blueprint = read_blueprint

    async def newest(self, sagas: Collection[str]) -> dict[str, SagaSpec | None]:
        """Of those of these sagas that are on record the version that was put there last."""
        async with borrowed(self._pool) as connection:
            rows = await connection.fetch(queries.NEWEST_DEFINITION, sorted(sagas))
        documents = [orjson.loads(row[0]) for row in rows]
        return {document["saga"]: self._read_blueprint(document) for document in documents}

    async def waiting_for(self, signals: Collection[str]) -> dict[str, list[str]]:
        """The names of the sagas of which some version waits for each of these signals."""
        found: dict[str, list[str]] = {}
        async with borrowed(self._pool) as connection:
            for signal, saga in await connection.fetch(queries.WAITING_FOR, sorted(signals)):
                found.setdefault(signal, []).append(saga)
        return found
