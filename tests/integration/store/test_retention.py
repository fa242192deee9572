"""What is kept long enough goes, with all that hangs on it; what still owes or is owed something never does."""

from __future__ import annotations

import asyncio
import time

import asyncpg
import pytest

from saga_service.engine.failures import RevisionConflict
from saga_service.store.postgres_store import PostgresStore
from saga_service.store.retention import PostgresRemoval, WrittenSaga
from tests.support.builders import START_MS
from tests.support.ended_sagas import DAY_MS, HOUR_MS, OLD_MS, left, put
from tests.support.store_batches import batch, start, state_of, succeed

BEFORE_MS = OLD_MS + 1
FOR_EVER_MS = 1 << 52

PUT_LETTER = """
insert into saga_private.dead_letters (at_ms, stream, entry_id, reason, preview, raw, replayed_at_ms)
values (1, 'saga:events', $1, 'broken', '{}', '[]', $2)
"""


@pytest.fixture
def removal(pool: asyncpg.Pool) -> PostgresRemoval:
    return PostgresRemoval(pool)


# -------------------------------------------------------------------------------------------------------- ended sagas


async def test_where_there_is_nothing_nothing_is_removed(removal: PostgresRemoval) -> None:
    assert await removal.remove_ended(BEFORE_MS, 10) == (0, None)


@pytest.mark.parametrize(
    ("status", "ended_at_ms", "wake_at_ms", "stays"),
    [
        ("completed", OLD_MS, None, False),
        ("compensated", OLD_MS, None, False),
        ("completed", BEFORE_MS, None, True),
        ("compensated", BEFORE_MS, None, True),
        ("running", None, 1, True),
        ("compensating", None, 1, True),
        ("stuck", None, None, True),
        ("paused", None, None, True),
        # None of these should be; should they be nevertheless, they are not for us to remove.
        ("running", OLD_MS, None, True),
        ("stuck", OLD_MS, None, True),
        ("completed", OLD_MS, 1, True),
        ("completed", None, None, True),
    ],
)
async def test_what_ended_long_enough_ago_goes_and_all_else_stays(
    pool: asyncpg.Pool,
    removal: PostgresRemoval,
    status: str,
    ended_at_ms: int | None,
    wake_at_ms: int | None,
    stays: bool,
) -> None:
    await put(pool, "A-1", status, ended_at_ms, wake_at_ms=wake_at_ms)
    removed, _ = await removal.remove_ended(BEFORE_MS, 10)
    assert removed == (0 if stays else 1)
    assert await left(pool) == (["A-1"] if stays else [])


async def test_the_oldest_go_first_and_no_more_than_are_asked_for(pool: asyncpg.Pool, removal: PostgresRemoval) -> None:
    for number in (3, 1, 4, 2, 5):
        await put(pool, f"A-{number}", ended_at_ms=1_000 + number)
    assert await removal.remove_ended(BEFORE_MS, 2) == (2, 1_002)
    assert await left(pool) == ["A-3", "A-4", "A-5"]
    assert await removal.remove_ended(BEFORE_MS, 2, since_ms=1_002) == (2, 1_004)
    assert await removal.remove_ended(BEFORE_MS, 2, since_ms=1_004) == (1, 1_005)
    assert await left(pool) == []


async def test_sagas_that_ended_in_one_moment_all_go_though_a_batch_ends_among_them(
    pool: asyncpg.Pool, removal: PostgresRemoval
) -> None:
    for number in range(5):
        await put(pool, f"A-{number}", ended_at_ms=1_000)
    assert await removal.remove_ended(BEFORE_MS, 3) == (3, 1_000)
    assert await removal.remove_ended(BEFORE_MS, 3, since_ms=1_000) == (2, 1_000)
    assert await left(pool) == []


async def test_nothing_that_ended_within_a_day_goes_whatever_is_asked_for(
    pool: asyncpg.Pool, removal: PostgresRemoval
) -> None:
    """A replica whose clock is years ahead must not take what has just ended."""
    now_ms = time.time_ns() // 1_000_000
    young = await put(pool, "young", ended_at_ms=now_ms - DAY_MS + HOUR_MS)
    await put(pool, "old", ended_at_ms=now_ms - DAY_MS - HOUR_MS)
    assert await removal.remove_written([WrittenSaga(young, 3)], FOR_EVER_MS) == 0
    assert (await removal.remove_ended(FOR_EVER_MS, 10))[0] == 1
    assert await left(pool) == ["young"]


async def test_several_replicas_remove_at_once_and_each_saga_once(pool: asyncpg.Pool, removal: PostgresRemoval) -> None:
    for number in range(120):
        await put(pool, f"A-{number}", ended_at_ms=1_000 + number // 10)
    await put(pool, "running", "running", None, wake_at_ms=1)
    removed = await asyncio.gather(*(removal.remove_ended(BEFORE_MS, 20) for _ in range(9)))
    assert sum(count for count, _ in removed) == 120
    assert await left(pool) == ["running"]


async def test_a_saga_that_somebody_holds_is_passed_over(pool: asyncpg.Pool, removal: PostgresRemoval) -> None:
    held = await put(pool, "held")
    await put(pool, "free")
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("select from saga_private.sagas where id = $1 for update", held)
        assert (await removal.remove_ended(BEFORE_MS, 10))[0] == 1
        assert await removal.remove_written([WrittenSaga(held, 3)], BEFORE_MS) == 0
    assert await left(pool) == ["held"]


async def test_whoever_had_a_copy_of_a_removed_saga_loses_the_race_and_reads_that_it_is_gone(
    store: PostgresStore, pool: asyncpg.Pool, removal: PostgresRemoval
) -> None:
    """So a late reply becomes a dead letter, and sets nothing going of which half is missing."""
    begun = start("order-1")
    await store.commit(batch(begun))
    await pool.execute(
        "update saga_private.sagas set status = 'compensated', ended_at_ms = $1, wake_at_ms = null", OLD_MS
    )
    assert (await removal.remove_ended(BEFORE_MS, 10))[0] == 1
    with pytest.raises(RevisionConflict):
        await store.commit(batch(succeed(begun)))
    assert await store.load([state_of(begun).id]) == []
    assert await pool.fetchval("select count(*) from saga_private.history") == 0


async def test_a_key_starts_a_new_saga_once_the_old_one_is_removed(
    store: PostgresStore, pool: asyncpg.Pool, removal: PostgresRemoval
) -> None:
    await store.commit(batch(start("order-1")))
    with pytest.raises(RevisionConflict):
        await store.commit(batch(start("order-1")))
    await pool.execute(
        "update saga_private.sagas set status = 'completed', ended_at_ms = $1, wake_at_ms = null", OLD_MS
    )
    await removal.remove_ended(BEFORE_MS, 10)
    await store.commit(batch(start("order-1", at_ms=START_MS + DAY_MS)))
    again = await pool.fetch("select revision, status, created_at_ms from saga_private.sagas")
    assert [tuple(row) for row in again] == [(1, "running", START_MS + DAY_MS)]
    assert await pool.fetchval("select count(*) from saga_private.history") == 1


# ----------------------------------------------------------------------------------------------------- child sagas


@pytest.mark.parametrize(
    ("parent_status", "parent_ended_at_ms"),
    [("running", None), ("compensating", None), ("stuck", None), ("paused", None), ("compensated", BEFORE_MS)],
)
async def test_a_child_stays_as_long_as_its_parent_does(
    pool: asyncpg.Pool, removal: PostgresRemoval, parent_status: str, parent_ended_at_ms: int | None
) -> None:
    """The parent may still have to undo it."""
    await put(pool, "parent", parent_status, parent_ended_at_ms)
    child = await put(pool, "child", child_of="parent")
    assert await removal.remove_ended(BEFORE_MS, 10) == (0, None)
    assert await removal.remove_written([WrittenSaga(child, 3)], BEFORE_MS) == 0
    assert await left(pool) == ["child", "parent"]


@pytest.mark.parametrize("status", ["running", "compensating", "stuck", "paused"])
async def test_a_grandchild_stays_as_long_as_the_topmost_saga_does(
    pool: asyncpg.Pool, removal: PostgresRemoval, status: str
) -> None:
    """Its undo goes all the way down."""
    await put(pool, "root", status, None)
    await put(pool, "child", child_of="root")
    grandchild = await put(pool, "grandchild", child_of="child")
    assert await removal.remove_ended(BEFORE_MS, 10) == (0, None)
    assert await removal.remove_written([WrittenSaga(grandchild, 3)], BEFORE_MS) == 0
    assert await left(pool) == ["child", "grandchild", "root"]


async def test_a_whole_family_that_ended_long_enough_ago_goes(pool: asyncpg.Pool, removal: PostgresRemoval) -> None:
    await put(pool, "root")
    await put(pool, "child", child_of="root")
    await put(pool, "grandchild", child_of="child")
    assert (await removal.remove_ended(BEFORE_MS, 10))[0] == 3


@pytest.mark.parametrize(("child_status", "stays"), [("stuck", True), ("running", True), ("completed", False)])
async def test_a_parent_stays_until_all_its_children_have_ended(
    pool: asyncpg.Pool, removal: PostgresRemoval, child_status: str, stays: bool
) -> None:
    parent = await put(pool, "parent", "compensated", OLD_MS)
    await put(pool, "child", child_status, None if stays else BEFORE_MS, child_of="parent")
    assert await removal.remove_written([WrittenSaga(parent, 3)], BEFORE_MS) == (0 if stays else 1)
    assert await removal.remove_ended(BEFORE_MS, 10) == (0, None)
    assert await left(pool) == (["child", "parent"] if stays else ["child"])


async def test_a_child_goes_with_its_parent_or_after_it(pool: asyncpg.Pool, removal: PostgresRemoval) -> None:
    await put(pool, "parent", ended_at_ms=2_000)
    await put(pool, "child", ended_at_ms=1_000, child_of="parent")
    await put(pool, "orphan", ended_at_ms=1_000, child_of="parent that is gone")
    assert await removal.remove_ended(BEFORE_MS, 10) == (3, 2_000)
    assert await left(pool) == []


async def test_children_that_must_stay_keep_no_others_from_going(pool: asyncpg.Pool, removal: PostgresRemoval) -> None:
    await put(pool, "parent", "running", None, wake_at_ms=1)
    for number in range(5):
        await put(pool, f"child-{number}", ended_at_ms=1_000, child_of="parent")
    await put(pool, "other", ended_at_ms=2_000)
    assert await removal.remove_ended(BEFORE_MS, 2) == (1, 2_000)
    assert await left(pool) == [*(f"child-{number}" for number in range(5)), "parent"]


# ------------------------------------------------------------------------------------ sagas that are written elsewhere


async def test_of_what_was_written_goes_what_is_still_as_it_was_written(
    pool: asyncpg.Pool, removal: PostgresRemoval
) -> None:
    same, moved = await put(pool, "same"), await put(pool, "moved")
    running = await put(pool, "running", "running", None, wake_at_ms=1)
    young = await put(pool, "young", ended_at_ms=BEFORE_MS)
    await put(pool, "not written")
    written = [WrittenSaga(same, 3), WrittenSaga(moved, 2), WrittenSaga(running, 3), WrittenSaga(young, 3)]
    assert await removal.remove_written(written, BEFORE_MS) == 1
    assert await removal.remove_written(written, BEFORE_MS) == 0
    assert await left(pool) == ["moved", "not written", "running", "young"]


async def test_of_nothing_written_nothing_goes(pool: asyncpg.Pool, removal: PostgresRemoval) -> None:
    await put(pool, "A-1")
    assert await removal.remove_written([], BEFORE_MS) == 0
    assert await left(pool) == ["A-1"]


# -------------------------------------------------------------------------------------------------------- dead letters


async def test_only_dead_letters_go_that_were_replayed_long_enough_ago(
    pool: asyncpg.Pool, removal: PostgresRemoval
) -> None:
    now_ms = time.time_ns() // 1_000_000
    for entry_id, replayed_at_ms in {"1-1": None, "2-1": OLD_MS, "3-1": OLD_MS - 1, "4-1": now_ms}.items():
        await pool.execute(PUT_LETTER, entry_id, replayed_at_ms)
    assert await removal.remove_replayed(OLD_MS, 10) == 1
    assert await removal.remove_replayed(FOR_EVER_MS, 10) == 1
    kept = await pool.fetch("select entry_id from saga_private.dead_letters order by id")
    assert [row["entry_id"] for row in kept] == ["1-1", "4-1"]


async def test_dead_letters_go_in_small_batches(pool: asyncpg.Pool, removal: PostgresRemoval) -> None:
    for number in range(5):
        await pool.execute(PUT_LETTER, f"{number}-1", 1_000 + number)
    assert [await removal.remove_replayed(BEFORE_MS, 2) for _ in range(4)] == [2, 2, 1, 0]
