"""Removing what has ended, or reading it for an archive, reads no whole table, nor the same rows again and again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import asyncpg
import orjson
import pytest

from saga_service.base.postgres import close_pool
from saga_service.cli.access.archive import PAGE_OF_SAGAS
from saga_service.core.ids import SagaId
from saga_service.store.pool import create_pool
from saga_service.store.retention import PostgresRemoval, WrittenSaga

SAGAS = 20_000
ROUNDS = 8
"""More than the five after which Postgres may settle for one plan."""
FOR_EVER_MS = 1 << 52

FILL = """
insert into saga_private.sagas (
    id, created_at_ms, saga, version, key, input, status, revision, updated_at_ms, ended_at_ms, wake_at_ms, steps
)
select
    gen_random_uuid(), number, 'order', 'v1', 'key-' || number, '{}',
    case when number % 10 = 0 then 'running' else 'completed' end, 1, number,
    case when number % 10 > 0 then 1000000 + number end, case when number % 10 = 0 then 2000000 end, '[]'
from generate_series(1, $1::integer) as number
"""
FILL_HISTORY = """
insert into saga_private.history (saga_id, revision, at_ms, event, status)
select id, 1, 1, 'started', 'running' from saga_private.sagas
"""
FILL_DEAD_LETTERS = """
insert into saga_private.dead_letters (at_ms, stream, entry_id, reason, preview, raw, replayed_at_ms)
select 1, 'saga:events', number::text, 'broken', '{}', '[]', case when number % 2 = 0 then 1000000 + number end
from generate_series(1, 5000) as number
"""
ADOPT = "update saga_private.sagas set parent_id = (select id from saga_private.sagas where key = 'key-10')"


NOBODY = SagaId("00000000-0000-0000-0000-000000000000")


@pytest.fixture
async def one_connection(postgres_dsn: str) -> AsyncIterator[asyncpg.Pool]:
    """Whose plans, once made, are kept."""
    pool = await create_pool(postgres_dsn, 1)
    yield pool
    await close_pool(pool)


async def _fill(pool: asyncpg.Pool) -> None:
    await pool.execute(FILL, SAGAS)
    await pool.execute(FILL_HISTORY)
    await pool.execute(FILL_DEAD_LETTERS)


async def _scans(pool: asyncpg.Pool) -> dict[str, int]:
    """How often each table was read from end to end since the database was made."""
    await pool.execute("select pg_stat_force_next_flush()")
    rows = await pool.fetch(
        "select relname, seq_scan from pg_stat_user_tables where schemaname = 'saga_private'"
        " and relname in ('sagas', 'history', 'dead_letters')"
    )
    return {row["relname"]: row["seq_scan"] for row in rows}


async def _entries_read(pool: asyncpg.Pool, index: str) -> int:
    await pool.execute("select pg_stat_force_next_flush()")
    read: int = await pool.fetchval("select idx_tup_read from pg_stat_user_indexes where indexrelname = $1", index)
    return read


async def _ended_ids(pool: asyncpg.Pool) -> list[SagaId]:
    return [SagaId(row[0]) for row in await pool.fetch("select id::text from saga_private.sagas where ended_at_ms > 0")]


async def _one_round(pool: asyncpg.Pool, written: Sequence[SagaId] = ()) -> int:
    """Everything that is removed in all the ways there are; how much went."""
    removal = PostgresRemoval(pool)
    by_file = await removal.remove_written([WrittenSaga(saga_id, 1) for saga_id in written], FOR_EVER_MS)
    by_age, _ = await removal.remove_ended(FOR_EVER_MS, 10)
    return by_file + by_age + await removal.remove_replayed(FOR_EVER_MS, 10)


async def _rounds(pool: asyncpg.Pool) -> list[int]:
    written = sorted(await _ended_ids(pool))
    before = await _scans(pool)
    removed = [await _one_round(pool, written[10 * number : 10 * number + 10]) for number in range(ROUNDS)]
    assert await _scans(pool) == before
    return removed


async def test_a_plan_made_on_empty_tables_does_not_scan_them_when_they_are_full(one_connection: asyncpg.Pool) -> None:
    for _ in range(ROUNDS):
        assert await _one_round(one_connection) == 0
    await _fill(one_connection)
    assert min(await _rounds(one_connection)) >= 20


async def test_a_plan_made_on_full_tables_does_not_scan_them(one_connection: asyncpg.Pool) -> None:
    await _fill(one_connection)
    await one_connection.execute("vacuum analyze")
    assert min(await _rounds(one_connection)) >= 20


async def test_sagas_that_must_stay_are_looked_at_once_in_a_run(one_connection: asyncpg.Pool) -> None:
    await one_connection.execute(FILL, 2_000)
    await one_connection.execute(ADOPT)
    await one_connection.execute("update saga_private.sagas set parent_id = null where ended_at_ms > 1001000")
    await one_connection.execute("vacuum analyze")
    before = await _entries_read(one_connection, "sagas_ended")
    removal = PostgresRemoval(one_connection)
    total, removed, since_ms = 0, 50, 0
    while removed == 50:
        removed, reached_ms = await removal.remove_ended(FOR_EVER_MS, 50, since_ms=since_ms)
        total, since_ms = total + removed, reached_ms or since_ms
    assert total == 900
    assert await _entries_read(one_connection, "sagas_ended") - before < 1_800 + 2 * (total // 50) + 10


async def test_an_archive_reads_its_pages_by_the_index(one_connection: asyncpg.Pool) -> None:
    await _fill(one_connection)
    await one_connection.execute("vacuum analyze")
    after, before = datetime.fromtimestamp(1_005, UTC), datetime.fromtimestamp(1_015, UTC)
    plan = await one_connection.fetchval(f"explain (format json) {PAGE_OF_SAGAS}", after, NOBODY, before, None, 100)
    nodes: list[tuple[str, str | None]] = []
    left = [orjson.loads(plan)[0]["Plan"]]
    while left:
        node = left.pop()
        # What a stuck saga is stuck at is looked for within its own row, and of stuck sagas alone.
        left.extend(each for each in node.get("Plans", []) if each["Parent Relationship"] != "SubPlan")
        nodes.append((node["Node Type"], node.get("Index Name")))
    assert nodes == [("Limit", None), ("Index Scan", "sagas_ended")]
