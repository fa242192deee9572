"""A lock that a stranger keeps: what waits for it gives up by itself, and the probe tells one row from all."""

from __future__ import annotations

import asyncpg
import pytest

from saga_service.core.ids import SagaId
from saga_service.engine.failures import StoreTimedOut
from saga_service.engine.ports import Batch, Deferred
from saga_service.store.postgres_store import PostgresStore
from saga_service.wire.dead_letters import dead_letter
from saga_service.wire.entries import RequestRow
from saga_service.wire.fields import MOMENT_MS_MAX
from tests.support.builders import START_MS, TIMEOUT_MS, entry
from tests.support.locks import shorten_lock_timeouts, somebody_locks
from tests.support.store_batches import batch, start, state_of, succeed

LOCK_ROW = "select from saga_private.sagas where id = $1 for update"


@pytest.fixture
async def impatient(pool: asyncpg.Pool, store: PostgresStore) -> PostgresStore:
    await shorten_lock_timeouts(pool, 100)
    return store


async def test_a_commit_gives_up_a_row_that_somebody_keeps_locked(impatient: PostgresStore, postgres_dsn: str) -> None:
    began = [start("order-1"), start("order-2")]
    await impatient.commit(batch(*began))
    async with somebody_locks(postgres_dsn, LOCK_ROW, state_of(began[0]).id):
        with pytest.raises(StoreTimedOut, match="lock timeout"):
            await impatient.commit(batch(succeed(began[0])))
        await impatient.commit(batch(succeed(began[1])))
        await impatient.probe()
    await impatient.commit(batch(succeed(began[0])))


@pytest.mark.parametrize("mode", ["access exclusive", "share"])
@pytest.mark.parametrize("table", ["sagas", "history", "outbox", "dead_letters", "requests"])
async def test_the_probe_fails_where_no_batch_could_be_committed(
    impatient: PostgresStore, postgres_dsn: str, table: str, mode: str
) -> None:
    async with somebody_locks(postgres_dsn, f"lock table saga_private.{table} in {mode} mode"):
        with pytest.raises(StoreTimedOut, match="lock timeout"):
            await impatient.probe()
    await impatient.probe()


async def test_the_probe_leaves_nothing_behind(impatient: PostgresStore) -> None:
    await impatient.probe()
    assert await impatient.claim_unpublished(START_MS, 0, 10) == []


async def test_a_deferral_gives_up_a_request_that_somebody_keeps_locked(
    impatient: PostgresStore, postgres_dsn: str
) -> None:
    came = entry({"type": "approved"}, "saga:events", "1-0")
    await impatient.commit(Batch(deferred=[Deferred(came, 0)]))
    [kept] = await impatient.claim_requests(START_MS, 10, 10_000)
    assert isinstance(kept.request, RequestRow)
    async with somebody_locks(postgres_dsn, "select from saga_private.requests for update"):
        with pytest.raises(StoreTimedOut, match="lock timeout"):
            await impatient.commit(Batch(deferred=[Deferred(kept, START_MS)]))


async def test_a_saga_whose_timer_is_parked_is_due_no_more(store: PostgresStore, pool: asyncpg.Pool) -> None:
    began = start("order-1")
    await store.commit(batch(began))
    parked = SagaId(state_of(began).id)
    letter = dead_letter(entry({"type": "saga.wake"}, "saga.timers", f"{parked}:1"), "a bug", START_MS)
    await store.commit(Batch(dead_letters=[letter], parked=[parked]))
    assert await store.claim_due(START_MS + 100 * TIMEOUT_MS, 10, 1_000) == ([], MOMENT_MS_MAX)
    assert await store.some_in_flight(10) == [parked], "what it has in flight is sent again all the same"
    assert await pool.fetchval("select stream from saga.dead_letters") == "saga.timers"
    assert await pool.fetchval("select count(next_check_at) from saga.sagas") == 1, "a moment that can be shown"
