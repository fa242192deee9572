"""All replicas take locks in one order, so that no two of them wait for each other.

Each test has two commits that need the same rows, and a stranger who holds one of the rows until both wait.
"""

from __future__ import annotations

import asyncio

import asyncpg

from saga_service.engine.failures import RevisionConflict
from saga_service.engine.ports import Batch, Deferred, RequestResult
from saga_service.store.postgres_store import PostgresStore
from saga_service.wire.dead_letters import dead_letter
from saga_service.wire.entries import Entry
from tests.support.locks import somebody_locks, waits_for_locks
from tests.support.store_batches import batch, start, succeed

LOCK_SAGA = "select from saga_private.sagas where id = $1 for update"
LOCK_REQUEST = "select from saga_private.requests where id = $1 for update"


async def _requests(store: PostgresStore, pool: asyncpg.Pool, count: int) -> list[Entry]:
    for number in range(count):
        await pool.execute("select saga.signal('approved', key => $1, saga => 'order')", f"A-{number}")
    return await store.claim_requests(1, count, 10_000)


def _number(entry: Entry) -> int:
    assert entry.request is not None
    return entry.request.number


def _applied(entry: Entry) -> RequestResult:
    return RequestResult(_number(entry), "applied", "", None)


async def test_requests_are_locked_before_sagas(store: PostgresStore, pool: asyncpg.Pool, postgres_dsn: str) -> None:
    first, second = sorted((start("one"), start("two")), key=lambda made: made.history[0].saga_id)
    await store.commit(batch(first, second))
    [request] = await _requests(store, pool, 1)
    answers = batch(succeed(first), succeed(second))
    answers.results.append(_applied(request))
    defers = batch(succeed(first))
    defers.deferred.append(Deferred(request, 90_000))

    async with somebody_locks(postgres_dsn, LOCK_SAGA, second.history[0].saga_id):
        answering = asyncio.create_task(store.commit(answers))
        await waits_for_locks(pool, 1)
        deferring = asyncio.create_task(store.commit(defers))
        await waits_for_locks(pool, 2)

    results = await asyncio.gather(answering, deferring, return_exceptions=True)
    assert isinstance(results[0], int), results
    assert isinstance(results[1], RevisionConflict), results


async def test_requests_are_locked_by_their_number_whatever_becomes_of_them(
    store: PostgresStore, pool: asyncpg.Pool, postgres_dsn: str
) -> None:
    low, high = await _requests(store, pool, 2)
    one = Batch(results=[_applied(high)], deferred=[Deferred(low, 90_000)])
    other = Batch(results=[_applied(low)], deferred=[Deferred(high, 90_000)])

    async with somebody_locks(postgres_dsn, LOCK_REQUEST, _number(high)):
        committing = asyncio.create_task(store.commit(one))
        await waits_for_locks(pool, 1)
        waiting = asyncio.create_task(store.commit(other))
        await waits_for_locks(pool, 2)

    assert tuple(await asyncio.gather(committing, waiting)) == (None, None)


async def test_dead_letters_are_written_by_stream_and_entry(
    store: PostgresStore, pool: asyncpg.Pool, postgres_dsn: str
) -> None:
    first, second, third = (
        dead_letter(Entry("saga:events", f"1700-{number}", {b"a": b"b"}), "broken", 1) for number in (1, 2, 3)
    )
    held = "insert into saga_private.dead_letters (at_ms, stream, entry_id, reason, preview, raw)"

    async with somebody_locks(postgres_dsn, f"{held} values (1, 'saga:events', '1700-2', 'broken', '{{}}', '[]')"):
        committing = asyncio.create_task(store.commit(Batch(dead_letters=[first, second, third])))
        await waits_for_locks(pool, 1)
        waiting = asyncio.create_task(store.commit(Batch(dead_letters=[third, first])))
        await waits_for_locks(pool, 2)

    assert tuple(await asyncio.gather(committing, waiting)) == (None, None)
