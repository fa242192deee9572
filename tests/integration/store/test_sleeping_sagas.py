"""A hundred thousand sagas that sleep cost their rows, and nothing of what goes on beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from saga_service.base.postgres import close_pool
from saga_service.engine.ports import Batch
from saga_service.store.pool import create_pool
from saga_service.store.postgres_store import PostgresStore
from tests.support.builders import START_MS
from tests.support.store_batches import ORDER, add, batch, start, state_of, succeed

SLEEPERS = 100_000
WAKE_MS = START_MS + 1_000_000_000
FILL = """
insert into saga_private.sagas (
    id, created_at_ms, saga, version, key, input, status, revision, updated_at_ms, wake_at_ms, steps
)
select
    gen_random_uuid(), $2, 'order', 'v1', 'sleeper-' || number, '{}', 'running', 1, $2, $3 + number,
    '[["rest","waiting",0,0,null,"sleep",1000001000000000,false,null,null,1,null]]'
from generate_series(1, $1::integer) as number
"""
READ_SO_FAR = """
select
    (select coalesce(sum(seq_tup_read), 0) from pg_stat_user_tables where schemaname = 'saga_private')::bigint
    + (select coalesce(sum(idx_tup_read), 0) from pg_stat_user_indexes where schemaname = 'saga_private')::bigint
"""


@pytest.fixture
async def sleeping(postgres_dsn: str) -> AsyncIterator[asyncpg.Pool]:
    """On one connection, which counts what it reads by itself."""
    pool = await create_pool(postgres_dsn, 1)
    await pool.execute(FILL, SLEEPERS, START_MS, WAKE_MS)
    yield pool
    await close_pool(pool)


async def _read_so_far(pool: asyncpg.Pool) -> int:
    async with pool.acquire() as connection:
        await connection.execute("select pg_stat_force_next_flush()")
        # The counts are those of the end of the statement before.
        await connection.execute("select 1")
        read: int = await connection.fetchval(READ_SO_FAR)
        return read


async def _work(store: PostgresStore, number: int) -> None:
    """What a replica asks for while it works."""
    begun = start(f"round-{number}")
    outbox_id = await store.commit(batch(begun))
    following = Batch(published=[outbox_id] if outbox_id else [])
    add(following, [succeed(begun)])
    await store.commit(following)
    await store.load([state_of(begun).id])
    await store.claim_requests(START_MS, 100, 1_000)
    await store.claim_unpublished(START_MS, 50, 20)


async def test_who_works_beside_sleeping_sagas_reads_none_of_them(sleeping: asyncpg.Pool) -> None:
    store = PostgresStore(sleeping, lambda document: ORDER)
    await _work(store, 0)
    before = await _read_so_far(sleeping)
    for number in range(1, 11):
        await _work(store, number)
        assert await store.claim_due(WAKE_MS, 100, 1_000) != ([], None), "the ones that just began"
    assert await _read_so_far(sleeping) - before < 1_000, "some rows for each round, of 100,000"


async def test_of_sleeping_sagas_those_are_read_that_wake(sleeping: asyncpg.Pool) -> None:
    store = PostgresStore(sleeping, lambda document: ORDER)
    assert await store.claim_due(WAKE_MS, 100, 1_000) == ([], WAKE_MS + 1)
    before = await _read_so_far(sleeping)
    woken, next_ms = await store.claim_due(WAKE_MS + 20, 100, 60_000)
    assert (len(woken), next_ms) == (20, WAKE_MS + 21)
    assert await _read_so_far(sleeping) - before < 500
