"""What people ask of sagas, as rows that any service takes in: verbs, signals, and requests that are put back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import asyncpg
import orjson

from saga_service.core.ids import SagaId
from saga_service.core.state import JsonObject
from saga_service.core.vocabulary import Operation, Resolution
from saga_service.store.pool import borrowed
from saga_service.wire.encryption import EVENT, Cipher, write_data
from saga_service.wire.stream_names import OWN_TYPES_PREFIX

ASK = """
select saga.operate($2, saga_id, $3, $4, $5, $6, output::jsonb) as number
from unnest($1::uuid[], $7::text[]) with ordinality as given (saga_id, output, place) order by place
"""
SIGNAL = """
select saga.signal($1, $2::uuid, $3::text::jsonb, id => $4, wants_result => true)
"""
ANSWERS = "select request_id, verdict, reason from saga.request_results($1)"
PUT_BACK = """
with replayed as (update saga_private.dead_letters set replayed_at_ms = $2 where id = $1 returning id)
insert into saga_private.requests (at_ms, fields) select $2, $3::text::json from replayed
returning id
"""


class Asking(NamedTuple):
    """A verb with all that goes with it, whatever saga it is asked of."""

    operation: Operation
    actor: str
    reason: str | None = None
    step: str | None = None
    resolution: Resolution | None = None
    output: JsonObject | None = None


class Answer(NamedTuple):
    """What became of a request: applied, repeated or refused."""

    verdict: str
    reason: str


class PostgresRequests:
    """Raises StoreUnavailable where Postgres cannot be reached, StoreRefused for what it will not take."""

    def __init__(self, pool: asyncpg.Pool, cipher: Cipher | None = None) -> None:
        self._pool = pool
        self._cipher = cipher

    async def ask(self, saga_ids: Sequence[SagaId], asking: Asking) -> list[int]:
        """Ask the same of each saga, in one statement; the requests' numbers, in the order of the sagas."""
        outputs = [self._output(asking, saga_id) for saga_id in saga_ids]
        rest = (asking.operation.value, asking.actor, asking.reason, asking.step, asking.resolution, outputs)
        async with borrowed(self._pool) as connection:
            rows = await connection.fetch(ASK, saga_ids, *rest)
        return [row["number"] for row in rows]

    def _output(self, asking: Asking, saga_id: SagaId) -> str | None:
        if asking.output is None:
            return None
        # Encrypted, it fits one saga alone.
        return write_data(asking.output, self._cipher, EVENT, f"{OWN_TYPES_PREFIX}{asking.operation.value}", saga_id)

    async def signal(self, saga_id: SagaId, name: str, data: JsonObject, signal_id: str | None) -> int:
        """Tell a saga something; the request's number. Without an id it is a signal of its own each time."""
        written = write_data(data, self._cipher, EVENT, name, saga_id)
        async with borrowed(self._pool) as connection:
            number: int = await connection.fetchval(SIGNAL, name, saga_id, written, signal_id)
            return number

    async def answers(self, numbers: Sequence[int]) -> dict[int, Answer]:
        """The answers that are there, by the requests' numbers."""
        async with borrowed(self._pool) as connection:
            rows = await connection.fetch(ANSWERS, numbers)
        return {row["request_id"]: Answer(row["verdict"], row["reason"]) for row in rows}

    async def put_back(self, dead_letter: int, fields: Mapping[str, str], at_ms: int) -> int | None:
        """Make a request again of a dead letter that was one, and note that it was replayed, in one transaction; the
        new request's number, or None where there is no such dead letter."""
        async with borrowed(self._pool) as connection:
            number: int | None = await connection.fetchval(PUT_BACK, dead_letter, at_ms, orjson.dumps(fields).decode())
            return number
