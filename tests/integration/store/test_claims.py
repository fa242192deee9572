"""What is due, unsent or in flight is handed to one replica at a time, and again if that one never comes back."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from saga_service.core.ids import SagaId
from saga_service.core.vocabulary import SagaStatus
from saga_service.engine.ports import Batch, Write
from saga_service.store.postgres_store import PostgresStore
from tests.support.builders import START_MS, TIMEOUT_MS
from tests.support.store_batches import ORDER, batch, start, state_of, succeed

DUE_MS = START_MS + TIMEOUT_MS
LEASE_MS = 10_000


async def _started(store: PostgresStore, count: int, *, apart_ms: int = 0) -> list[SagaId]:
    made = [start(f"order-{number}", at_ms=START_MS + number * apart_ms) for number in range(count)]
    await store.commit(batch(*made))
    return [state_of(each).id for each in made]


# -------------------------------------------------------------------------------------------------------------- timers


async def test_nothing_is_due_before_its_time(store: PostgresStore) -> None:
    await _started(store, 3, apart_ms=100)
    assert await store.claim_due(DUE_MS - 1, 10, LEASE_MS) == ([], DUE_MS)


async def test_with_no_saga_there_is_no_next_moment(store: PostgresStore) -> None:
    assert await store.claim_due(DUE_MS, 10, LEASE_MS) == ([], None)


async def test_the_longest_overdue_come_first_and_the_next_moment_is_told(store: PostgresStore) -> None:
    saga_ids = await _started(store, 4, apart_ms=100)
    claimed, next_due_at_ms = await store.claim_due(DUE_MS + 100, 10, LEASE_MS)
    assert set(claimed) == set(saga_ids[:2])
    assert next_due_at_ms == DUE_MS + 200
    assert await store.claim_due(DUE_MS + 300, 1, LEASE_MS) == ([saga_ids[2]], DUE_MS + 100 + LEASE_MS)


async def test_what_is_claimed_is_not_handed_out_again_before_the_lease_is_over(store: PostgresStore) -> None:
    saga_ids = await _started(store, 2)
    claimed, next_due_at_ms = await store.claim_due(DUE_MS, 10, LEASE_MS)
    assert sorted(claimed) == sorted(saga_ids)
    assert next_due_at_ms is None
    assert await store.claim_due(DUE_MS + LEASE_MS - 1, 10, LEASE_MS) == ([], DUE_MS + LEASE_MS)
    again, _ = await store.claim_due(DUE_MS + LEASE_MS, 10, LEASE_MS)
    assert sorted(again) == sorted(saga_ids)


async def test_due_sagas_are_handed_to_one_replica_each(store: PostgresStore) -> None:
    saga_ids = await _started(store, 400)
    claims = await asyncio.gather(*(store.claim_due(DUE_MS, 60, LEASE_MS) for _ in range(12)))
    claimed = [saga_id for some, _ in claims for saga_id in some]
    assert sorted(claimed) == sorted(saga_ids)


async def test_a_saga_that_somebody_writes_at_this_moment_is_passed_over(
    store: PostgresStore, pool: asyncpg.Pool
) -> None:
    locked, free = await _started(store, 2)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("select from saga_private.sagas where id = $1 for update", locked)
        claimed, _ = await store.claim_due(DUE_MS, 10, LEASE_MS)
    assert claimed == [free]


async def test_a_claim_does_not_make_the_holder_of_a_copy_lose_its_race(store: PostgresStore) -> None:
    begun = start("order-1")
    await store.commit(batch(begun))
    await store.claim_due(DUE_MS, 10, LEASE_MS)
    moved = succeed(begun)
    await store.commit(batch(moved))
    assert await store.load([state_of(moved).id]) == [moved.state]


# -------------------------------------------------------------------------------------------------------------- outbox


async def test_an_unsent_row_is_found_once_it_is_old_enough(pool: asyncpg.Pool) -> None:
    store = PostgresStore(pool, lambda document: ORDER, clock_ms=lambda: 50_000)
    made = batch(start("order-1"))
    outbox_id = await store.commit(made)
    assert await store.claim_unpublished(50_999, 1_000, 10) == []
    assert await store.claim_unpublished(51_000, 1_000, 10) == [(outbox_id, made.messages)]


async def test_an_unsent_row_is_claimed_once_until_its_lease_is_over(pool: asyncpg.Pool) -> None:
    store = PostgresStore(pool, lambda document: ORDER, clock_ms=lambda: 50_000)
    await store.commit(batch(start("order-1")))
    assert len(await store.claim_unpublished(51_000, 1_000, 10)) == 1
    assert await store.claim_unpublished(51_999, 1_000, 10) == []
    assert len(await store.claim_unpublished(52_000, 1_000, 10)) == 1


async def test_unsent_rows_are_handed_to_one_replica_each_and_oldest_first(pool: asyncpg.Pool) -> None:
    store = PostgresStore(pool, lambda document: ORDER, clock_ms=lambda: 50_000)
    outbox_ids = [await store.commit(batch(start(f"order-{number}"))) for number in range(30)]
    claims = await asyncio.gather(*(store.claim_unpublished(60_000, 1_000, 5) for _ in range(9)))
    claimed = [[outbox_id for outbox_id, _ in some] for some in claims]
    assert all(some == sorted(some) for some in claimed)
    assert sorted(outbox_id for some in claimed for outbox_id in some) == outbox_ids


async def test_a_row_that_commits_late_is_still_found(pool: asyncpg.Pool) -> None:
    """A lower id may become visible after a higher one: nothing may rely on a cursor (A9)."""
    store = PostgresStore(pool, lambda document: ORDER, clock_ms=lambda: 50_000)
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        late = await connection.fetchval(
            "insert into saga_private.outbox (claimed_at_ms, messages) values (50000, '[]') returning id"
        )
        deferred = await store.commit(batch(start("order-1")))
        assert deferred is not None
        assert late < deferred
        assert [outbox_id for outbox_id, _ in await store.claim_unpublished(60_000, 1_000, 10)] == [deferred]
        await store.forget_published([deferred])
        await transaction.commit()
    assert await store.claim_unpublished(60_000, 1_000, 10) == [(late, [])]


async def test_forgotten_rows_are_gone_and_unknown_ones_do_no_harm(store: PostgresStore, pool: asyncpg.Pool) -> None:
    outbox_id = await store.commit(batch(start("order-1")))
    assert outbox_id is not None
    await store.forget_published([outbox_id, outbox_id + 1])
    assert await pool.fetchval("select count(*) from saga_private.outbox") == 0


# ----------------------------------------------------------------------------------------------------------- in flight


async def test_no_more_sagas_in_flight_are_read_than_are_asked_for(store: PostgresStore) -> None:
    saga_ids = await _started(store, 25)
    found = await store.some_in_flight(10)
    assert len(set(found)) == 10
    assert set(found) <= set(saga_ids)


@pytest.mark.parametrize(
    ("status", "wake_at_ms", "found"),
    [
        (SagaStatus.RUNNING, DUE_MS, True),
        (SagaStatus.COMPENSATING, DUE_MS, True),
        # Its child was called off, perhaps, and that message is lost as well.
        (SagaStatus.STUCK, None, True),
        (SagaStatus.STUCK, DUE_MS, True),
        (SagaStatus.PAUSED, None, True),
        (SagaStatus.COMPLETED, None, False),
        (SagaStatus.COMPENSATED, None, False),
    ],
)
async def test_only_sagas_with_something_under_way_are_in_flight(
    store: PostgresStore, status: SagaStatus, wake_at_ms: int | None, found: bool
) -> None:
    state = state_of(start("order-1"))._replace(status=status, wake_at_ms=wake_at_ms)
    await store.commit(Batch(writes=[Write(state, 0)]))
    assert await store.some_in_flight(10) == ([state.id] if found else [])
