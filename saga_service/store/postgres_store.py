"""The store on Postgres, for the engine (`load`, `commit`) and for the loops: timers, requests, outbox, recovery.

The definitions that other replicas have registered are read here, for a replica that has not deployed them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from operator import itemgetter
from typing import Any, TypeVar

import asyncpg
import orjson
from asyncpg.pool import PoolConnectionProxy

from saga_service.base.clock import now_ms
from saga_service.base.postgres import STATEMENT_TIMEOUT_S
from saga_service.core.definition import TOMBSTONE, Definition, tombstone
from saga_service.core.events import BusinessKey
from saga_service.core.ids import SagaId
from saga_service.core.state import SagaState
from saga_service.engine.ports import Batch, KeyedSaga, RecoveryPage
from saga_service.store import queries
from saga_service.store.commit import arguments, read_messages, write_messages
from saga_service.store.encryption import decrypted_state
from saga_service.store.pool import borrowed, translated
from saga_service.store.rows import read_request, read_saga
from saga_service.wire.encryption import Cipher
from saga_service.wire.entries import Entry, Message
from saga_service.wire.saga_spec import SagaSpec
from saga_service.wire.transport import SeenStream

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

    async def deployed(self, sagas: Collection[str]) -> dict[str, SagaSpec | None]:
        """The deployed version of each saga, if any is on record; None where this release cannot read it."""
        async with borrowed(self._pool, self._acquire_timeout_s) as connection:
            rows = await connection.fetch(queries.DEPLOYED_DEFINITIONS, sorted(sagas))
        documents = [orjson.loads(row[0]) for row in rows]
        return {document["saga"]: self._read_saga_spec(document) for document in documents}

    async def waiting_for(self, signals: Collection[str]) -> dict[str, list[str]]:
        """The names of the sagas of which any version waits for each of the signals."""
        found: dict[str, list[str]] = {}
        async with borrowed(self._pool, self._acquire_timeout_s) as connection:
            for signal, saga in await connection.fetch(queries.WAITING_FOR, sorted(signals)):
                found.setdefault(signal, []).append(saga)
        return found


ReadDefinition = Callable[[Mapping[str, Any]], Definition]
"""Makes a definition of a stored document. `Any`: a JSON object."""


Result = TypeVar("Result")
RECOVERY_TIMEOUT_S = 300.0


class PostgresStore:
    """Fulfils `engine.ports.Store`, DueSagas, Requests and Outbox.

    All methods raise StoreUnavailable where Postgres cannot be reached.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        read_definition: ReadDefinition,
        *,
        cipher: Cipher | None = None,
        clock_ms: Callable[[], int] = now_ms,
        acquire_timeout_s: float = STATEMENT_TIMEOUT_S,
    ) -> None:
        self._pool = pool
        self._read_definition = read_definition
        self._cipher = cipher
        self._clock_ms = clock_ms
        self._acquire_timeout_s = acquire_timeout_s

    async def load(self, saga_ids: Sequence[SagaId]) -> list[SagaState]:
        """The sagas that exist, in no order. Raises DecryptionFailed."""
        async with self._connection() as connection:
            rows = await connection.fetch(queries.LOAD, saga_ids)
        return [decrypted_state(read_saga(row), self._cipher) for row in rows]

    async def commit(self, batch: Batch) -> int | None:
        """Write all of it or nothing, in one round trip; the id of the outbox row, if there is one.

        Raises RevisionConflict, RequestsAnswered, RequestsOutOfOrder, and StoreRefused. A cancelled caller gets its
        cancellation once Postgres has answered: a commit that was cut off half-way would leave nobody knowing whether
        it happened.
        """
        return await _to_the_end(self._commit(batch))

    async def _commit(self, batch: Batch) -> int | None:
        with translated():
            values = arguments(batch, self._clock_ms(), self._cipher)
        async with self._connection() as connection:
            outbox_id: int | None = await connection.fetchval(queries.COMMIT, *values)
            return outbox_id

    async def probe(self) -> None:
        """Commit something that concerns no saga, under the locks on tables that a batch takes."""
        async with self._connection() as connection:
            await connection.execute(queries.PROBE)

    async def definition(self, saga: str, version: str) -> Definition | None:
        """A version that any replica has registered, and the tombstone of any saga; else None."""
        if version == TOMBSTONE:
            return tombstone(saga)
        async with self._connection() as connection:
            document = await connection.fetchval(queries.DEFINITION, saga, version)
        return None if document is None else self._read_definition(orjson.loads(document))

    async def ids_with_key(self, keys: Sequence[BusinessKey]) -> list[KeyedSaga]:
        """The sagas with these keys, of each kind two at most for each key."""
        async with self._connection() as connection:
            rows = await connection.fetch(
                queries.IDS_WITH_KEY, [each.saga for each in keys], [each.key for each in keys]
            )
        return [KeyedSaga(BusinessKey(saga, key), SagaId(saga_id), ended) for saga, key, saga_id, ended in rows]

    async def remember_definitions(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Register the definitions of a replica that starts; any replica can then end the sagas that begin with them.

        A version that is registered already keeps its document, for a version never changes. `Any`: a JSON object.
        """
        given = [(self._read_definition(document), document) for document in documents]
        compensations = [
            {step.name: step.compensation or f"undo of {step.action}" for step in definition.steps if step.is_undoable}
            for definition, _ in given
        ]
        async with self._connection() as connection:
            await connection.execute(
                queries.REMEMBER_DEFINITIONS,
                [definition.name for definition, _ in given],
                [definition.version for definition, _ in given],
                [orjson.dumps(commands).decode() for commands in compensations],
                [orjson.dumps(document).decode() for _, document in given],
            )

    async def still_deployed(self, definitions: Sequence[Definition]) -> None:
        """Note that a running replica has these versions."""
        async with self._connection() as connection:
            await connection.execute(
                queries.STILL_DEPLOYED,
                [definition.name for definition in definitions],
                [definition.version for definition in definitions],
            )

    async def deployment(self, stream_prefix: str, consumer_group: str) -> tuple[str, str]:
        """The prefix of streams and the consumer group that the database belongs to: these, if it belongs to none."""
        async with self._connection() as connection:
            await connection.execute(queries.RECORD_DEPLOYMENT, stream_prefix, consumer_group)
            row = await connection.fetchrow(queries.DEPLOYMENT)
        assert row is not None, "one was recorded"
        return row["stream_prefix"], row["consumer_group"]

    async def claim_due(self, now_ms: int, limit: int, lease_ms: int) -> tuple[list[SagaId], int | None]:
        """Sagas whose timer is due, the longest overdue first; and the moment of the next one after them.

        No replica gets them again before the lease is over. If `limit` of them come back there may be more.
        """
        async with self._connection() as connection:
            row = await connection.fetchrow(queries.CLAIM_DUE, now_ms, limit, lease_ms)
        assert row is not None, "the function returns one row"
        return row["saga_ids"], row["next_due_at_ms"]

    async def some_in_flight(self, sagas_max: int) -> list[SagaId]:
        """Any sagas that have a timer, or wait for a person."""
        async with self._connection() as connection:
            rows = await connection.fetch(queries.SOME_IN_FLIGHT, sagas_max)
        return [row[0] for row in rows]

    async def see_streams(self, seen: Sequence[SeenStream], now_ms: int, found_by: str) -> list[str]:
        """Record what was seen of streams just now; the names of those that are found lost by it."""
        columns = list(zip(*seen, strict=True)) or [()] * len(SeenStream._fields)
        async with self._connection() as connection:
            lost: list[str] = await connection.fetchval(queries.SEE_STREAMS, *columns, now_ms, found_by)
        return lost

    async def continue_recovery(self, now_ms: int, found_before_ms: int, sagas_max: int) -> RecoveryPage:
        """Make the requests of one page of sagas that send again what was lost.

        Losses found after `found_before_ms` are left for later.
        """
        async with self._connection() as connection:
            # The first page of a recovery writes down all sagas in flight: seven seconds for a million.
            row = await connection.fetchrow(
                queries.CONTINUE_RECOVERY, now_ms, found_before_ms, sagas_max, timeout=RECOVERY_TIMEOUT_S
            )
        assert row is not None, "the function returns one row"
        return RecoveryPage(*row)

    async def claim_requests(self, now_ms: int, limit: int, lease_ms: int) -> list[Entry]:
        """Open requests and deferred entries that are due, by their ids, and of one saga in their order.

        No replica gets them again before the lease is over.
        """
        async with self._connection() as connection:
            rows = await connection.fetch(queries.CLAIM_REQUESTS, now_ms, limit, lease_ms)
        return [read_request(*row) for row in sorted(rows, key=itemgetter(0))]

    async def forget_answered(self, before_ms: int) -> None:
        """Delete requests whose result was there before `before_ms`."""
        async with self._connection() as connection:
            await connection.execute(queries.DELETE_ANSWERED, before_ms)

    async def forget_changes(self) -> None:
        """Delete what readers were to be told for a while: which sagas each commit of the last minutes has changed."""
        async with self._connection() as connection:
            await connection.execute(queries.FORGET_CHANGES)

    async def claim_unpublished(self, now_ms: int, older_than_ms: int, limit: int) -> list[tuple[int, list[Message]]]:
        """Outbox rows that are unpublished for so long, oldest first. No replica gets them for as long again."""
        async with self._connection() as connection:
            rows = await connection.fetch(queries.CLAIM_UNPUBLISHED, now_ms, older_than_ms, limit)
        return [(row[0], read_messages(row[1])) for row in sorted(rows, key=itemgetter(0))]

    async def forget_published(self, outbox_ids: Sequence[int]) -> None:
        """Delete outbox rows whose messages Redis has taken."""
        async with self._connection() as connection:
            await connection.execute(queries.DELETE_PUBLISHED, outbox_ids)

    async def keep_unpublished(self, outbox_id: int, messages: Sequence[Message]) -> None:
        """Let an outbox row hold these messages alone."""
        async with self._connection() as connection:
            await connection.execute(queries.KEEP_UNPUBLISHED, outbox_id, write_messages(messages))

    def _connection(self) -> AbstractAsyncContextManager[PoolConnectionProxy]:
        return borrowed(self._pool, self._acquire_timeout_s)


async def _to_the_end(work: Awaitable[Result]) -> Result:
    """Wait for `work` even where the waiting task is cancelled, and only then let the cancellation through."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise
