"""Definitions that other replicas have registered, for a replica that has not deployed them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import asyncpg
import orjson

from saga_service.base.postgres import STATEMENT_TIMEOUT_S
from saga_service.store import queries
from saga_service.store.pool import borrowed
from saga_service.wire.saga_spec import SagaSpec

ReadSagaSpec = Callable[[Mapping[str, Any]], SagaSpec | None]
"""Makes a saga spec of a stored document, or None where this release cannot. `Any`: a JSON object."""


class PostgresDefinitionRegistry:
    """Fulfils `engine.ports.DefinitionRegistry`."""

    def __init__(
        self, pool: asyncpg.Pool, read_saga_spec: ReadSagaSpec, *, acquire_timeout_s: float = STATEMENT_TIMEOUT_S
    ) -> None:
        self._pool = pool
        self._read_saga_spec = read_saga_spec
        self._acquire_timeout_s = acquire_timeout_s

    async def newest(self, sagas: Collection[str]) -> dict[str, SagaSpec | None]:
        """The version that was registered last of each saga, if any was; None where this release cannot read it."""
        async with borrowed(self._pool, self._acquire_timeout_s) as connection:
            rows = await connection.fetch(queries.NEWEST_DEFINITION, sorted(sagas))
        documents = [orjson.loads(row[0]) for row in rows]
        return {document["saga"]: self._read_saga_spec(document) for document in documents}

    async def waiting_for(self, signals: Collection[str]) -> dict[str, list[str]]:
        """The names of the sagas of which any version waits for each of the signals."""
        found: dict[str, list[str]] = {}
        async with borrowed(self._pool, self._acquire_timeout_s) as connection:
            for signal, saga in await connection.fetch(queries.WAITING_FOR, sorted(signals)):
                found.setdefault(signal, []).append(saga)
        return found
