"""Requests of people's commands, as rows that any replica takes in: operations, signals, and replayed requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import asyncpg
import orjson

from saga_service.core.ids import SagaId
from saga_service.core.state import JsonObject
from saga_service.core.vocabulary import Operation, Resolution
from saga_service.store import queries
from saga_service.store.pool import borrowed
from saga_service.wire.encryption import EVENT, Cipher, write_data
from saga_service.wire.transport import OWN_TYPES_PREFIX


class OperationCall(NamedTuple):
    """An operation with its arguments, whatever saga it is for."""

    operation: Operation
    actor: str
    reason: str | None = None
    step: str | None = None
    resolution: Resolution | None = None
    output: JsonObject | None = None


class Result(NamedTuple):
    """The result of a request. The verdict is applied, repeated or refused."""

    verdict: str
    reason: str


def written_output(operation: Operation, output: JsonObject, cipher: Cipher | None, saga_id: SagaId) -> str:
    """The output that an operation gives to a step, as it is stored. Encrypted, it fits this saga alone."""
    return write_data(output, cipher, EVENT, f"{OWN_TYPES_PREFIX}{operation.value}", saga_id)


class PostgresRequests:
    """Makes requests and reads their results.

    All methods raise StoreUnavailable where Postgres cannot be reached, StoreRefused where the database refuses.
    """

    def __init__(self, pool: asyncpg.Pool, cipher: Cipher | None = None) -> None:
        self._pool = pool
        self._cipher = cipher

    async def operate(self, saga_ids: Sequence[SagaId], call: OperationCall) -> list[int]:
        """Request one operation of each saga, in one statement; the requests' ids, in the order of the sagas."""
        outputs = [
            None if call.output is None else written_output(call.operation, call.output, self._cipher, saga_id)
            for saga_id in saga_ids
        ]
        arguments = (call.operation.value, call.actor, call.reason, call.step, call.resolution, outputs)
        async with borrowed(self._pool) as connection:
            rows = await connection.fetch(queries.OPERATE, saga_ids, *arguments)
        return [row["request_id"] for row in rows]

    async def signal(
        self,
        saga_id: SagaId,
        name: str,
        data: JsonObject,
        signal_id: str | None,
        step: str | None = None,
        actor: str | None = None,
    ) -> int:
        """Signal a saga; the request's id. Without `signal_id` it is a new signal each time.

        Without `step` it is for any step that waits for a signal of this name.
        """
        written = write_data(data, self._cipher, EVENT, name, saga_id)
        async with borrowed(self._pool) as connection:
            request_id: int = await connection.fetchval(queries.SIGNAL, name, saga_id, written, signal_id, step, actor)
            return request_id

    async def results(self, request_ids: Sequence[int]) -> dict[int, Result]:
        """The results that are there, by the requests' ids."""
        async with borrowed(self._pool) as connection:
            rows = await connection.fetch(queries.REQUEST_RESULTS, request_ids)
        return {row["request_id"]: Result(row["verdict"], row["reason"]) for row in rows}

    async def replay(self, fields: Mapping[int, Mapping[str, str]], at_ms: int) -> dict[int, int]:
        """Make requests again out of dead letters that were such, and note those as replayed, in one transaction.

        `fields` has the fields of each request by the number of its dead letter. Returns the new request's id by that
        number, without dead letters that do not exist.
        """
        written = [orjson.dumps(each).decode() for each in fields.values()]
        async with borrowed(self._pool) as connection:
            made = await connection.fetchrow(queries.REPLAY_REQUESTS, list(fields), at_ms, written)
        assert made is not None, "a select of aggregates has one row"
        return dict(zip(made["dead_letters"] or (), made["requests"] or (), strict=True))
