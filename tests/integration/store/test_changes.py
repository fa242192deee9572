"""The feed of changes: every commit that changes sagas is in it once, and a reader who keeps snapshots misses none."""

from __future__ import annotations

import asyncpg

from saga_service.base.clock import now_ms
from saga_service.engine.ports import Batch
from saga_service.store.postgres_store import PostgresStore
from saga_service.store.retention import PostgresRemoval
from tests.support.ended_sagas import DAY_MS, put
from tests.support.store_batches import batch, start, state_of, succeed

CHANGED = """
select saga_id::text, is_removal from saga.changes
where transaction_id >= pg_snapshot_xmin($1::text::pg_snapshot)
    and not pg_visible_in_snapshot(transaction_id, $1::text::pg_snapshot)
order by transaction_id, saga_id
"""


async def snapshot_of(pool: asyncpg.Pool | asyncpg.Connection) -> str:
    return str(await pool.fetchval("select pg_current_snapshot()::text"))


async def changed_since(pool: asyncpg.Pool | asyncpg.Connection, snapshot: str) -> list[tuple[str, bool]]:
    return [tuple(row) for row in await pool.fetch(CHANGED, snapshot)]


async def test_a_commit_tells_which_sagas_it_started_and_moved(store: PostgresStore, pool: asyncpg.Pool) -> None:
    before = await snapshot_of(pool)
    first, second = sorted((start("one"), start("two")), key=lambda made: state_of(made).id)
    await store.commit(batch(first, second))
    assert await changed_since(pool, before) == [(state_of(each).id, False) for each in (first, second)]

    between = await snapshot_of(pool)
    await store.commit(batch(succeed(second)))
    assert await changed_since(pool, between) == [(state_of(second).id, False)]


async def test_a_commit_that_changes_no_saga_tells_nothing(store: PostgresStore, pool: asyncpg.Pool) -> None:
    await store.commit(Batch(published=[1]))
    assert await pool.fetchval("select count(*) from saga_private.changes") == 0


async def test_a_removal_is_told_as_one(store: PostgresStore, pool: asyncpg.Pool) -> None:
    removed = [await put(pool, key, ended_at_ms=now_ms() - 3 * DAY_MS) for key in ("one", "two")]
    before = await snapshot_of(pool)
    await PostgresRemoval(pool).remove_ended(now_ms() - 2 * DAY_MS, 100)
    assert await changed_since(pool, before) == sorted((each, True) for each in removed)


async def test_what_is_committed_later_though_it_began_earlier_is_told_once(
    store: PostgresStore, pool: asyncpg.Pool, postgres_dsn: str
) -> None:
    slow: asyncpg.Connection = await asyncpg.connect(postgres_dsn)
    try:
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute("insert into saga_private.changes (saga_ids) values (array[gen_random_uuid()])")
        quick = start("quick")
        await store.commit(batch(quick))
        seen = await snapshot_of(pool)

        assert await changed_since(pool, seen) == [], "the quick one is seen, the slow one not committed"
        await transaction.commit()
        [(told, _)] = await changed_since(pool, seen)
        assert told != state_of(quick).id
        assert await changed_since(pool, await snapshot_of(pool)) == []
    finally:
        await slow.close()


async def test_changes_are_forgotten_after_two_minutes(store: PostgresStore, pool: asyncpg.Pool) -> None:
    await store.commit(batch(start("old")))
    await pool.execute("update saga_private.changes set at = now() - interval '121 seconds'")
    await store.commit(batch(start("new")))
    await store.forget_changes()
    assert [row["saga_ids"] for row in await pool.fetch("select saga_ids::text[] from saga_private.changes")] == [
        [state_of(start("new")).id]
    ]
