"""Jobs read no table from end to end, also by plans that were made while the tables were empty, and are kept."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import orjson
import pytest

from saga_service.admin.jobs import _OF_VERDICT
from saga_service.base.clock import now_ms
from saga_service.base.postgres import close_pool
from saga_service.core.ids import SagaId
from saga_service.core.vocabulary import Operation
from saga_service.engine.ports import Batch, LetterOperation
from saga_service.store.jobs import PostgresJobs, PreviewedJob
from saga_service.store.pool import create_pool
from saga_service.store.postgres_store import PostgresStore
from saga_service.store.requests import OperationCall
from saga_service.store.retention import PostgresRemoval
from saga_service.wire.dead_letters import dead_letter
from saga_service.wire.entries import Entry
from tests.support.store_batches import ORDER

ROUNDS = 8
"""More than the five after which Postgres may settle for one plan."""
ONE = SagaId("00000000-0000-0000-0000-000000000001")
PAUSE = OperationCall(Operation.PAUSE, "ada", "a look")
FILL = """
with filled as (
    insert into saga_private.jobs (
        operation, actor, reason, filters, confirm_sha256, items, previewed_at_ms, expires_at_ms, moved_at_ms,
        confirmed_at_ms, ended_at_ms, reached, applied
    )
    select 'pause', 'ada', 'a look', '{}', '', 40, 1, 2, 1, 1, 5000000000000, 40, 40 from generate_series(1, 500)
    returning id
)
insert into saga_private.job_items (job_id, position, saga_id, request_id, requested_at_ms, verdict)
select id, position, gen_random_uuid(), position, 1, 'applied' from filled, generate_series(1, 40) as position
"""
FILL_OTHERS = """
insert into saga_private.sagas (
    id, created_at_ms, saga, version, key, input, status, revision, updated_at_ms, ended_at_ms, steps
)
select
    ('00000000-0000-0000-0000-' || lpad(number::text, 12, '0'))::uuid, 1, 'order', 'v1', 'key-' || number, '{}',
    'completed', 1, 1, 1, '[]'
from generate_series(1, 5000) as number;
insert into saga_private.requests (at_ms, due_at_ms, fields, addressed_id)
select 1, 9000000000000, '{}', gen_random_uuid() from generate_series(1, 5000);
insert into saga_private.requests (at_ms, fields, wants_result, verdict, answered_at_ms)
select 1, '{}', true, 'applied', 8000000000000 from generate_series(1, 5000);
insert into saga_private.dead_letters (at_ms, stream, entry_id, reason, preview, raw)
select 1, 'old', number::text, 'broken', '{}', '[]' from generate_series(1, 5000) as number;
"""


@pytest.fixture
async def one_connection(postgres_dsn: str) -> AsyncIterator[asyncpg.Pool]:
    """Whose plans, once made, are kept."""
    pool = await create_pool(postgres_dsn, 1)
    yield pool
    await close_pool(pool)


async def _scans(pool: asyncpg.Pool) -> dict[str, int]:
    """How often each table was read from end to end since the database was made."""
    await pool.execute("select pg_stat_force_next_flush()")
    rows = await pool.fetch(
        "select relname, seq_scan from pg_stat_user_tables where schemaname = 'saga_private'"
        " and relname in ('jobs', 'job_items', 'sagas', 'requests', 'dead_letters')"
    )
    return {row["relname"]: row["seq_scan"] for row in rows}


async def _confirmed(jobs: PostgresJobs, job: PreviewedJob) -> int:
    assert (await jobs.confirm(job.job_id, job.confirm, "ada")).verdict == "applied"
    return job.job_id


async def _one_round(pool: asyncpg.Pool, number: int) -> None:
    """Everything that is asked of Postgres for jobs."""
    store, jobs = PostgresStore(pool, lambda document: ORDER), PostgresJobs(pool)
    made = [await _confirmed(jobs, await jobs.preview_sagas(PAUSE, [ONE], {}))]
    turn = await jobs.take_turn(now_ms(), 0, 100)
    assert turn is not None
    assert await jobs.request(turn, now_ms()) == 1
    letters = [dead_letter(Entry("saga:events", f"{number}-{each}", {b"n": b"1"}), "no data", 1) for each in (1, 2)]
    await store.commit(Batch(dead_letters=letters))
    newest = await pool.fetch("select id from saga_private.dead_letters order by id desc limit 2")
    for operation in LetterOperation:
        preview = await jobs.preview_letters(operation, "ada", "x", [row["id"] for row in newest], {})
        made.append(await _confirmed(jobs, preview))
    for _ in range(3):
        turn = await jobs.take_turn(now_ms(), 0, 100)
        if turn is not None and turn.operation == LetterOperation.DROP:
            await jobs.drop_letters(turn, now_ms())
        elif turn is not None:
            await jobs.begin_letters(turn, now_ms())
    for job_id in made:
        await pool.execute("update saga_private.jobs set ended_at_ms = 1 where id = $1", job_id)
    assert await PostgresRemoval(pool).remove_jobs(2, 2, 10) == 10
    await store.forget_answered(1)


async def _fill(pool: asyncpg.Pool) -> None:
    await pool.execute(FILL)
    await pool.execute(FILL_OTHERS)


async def _rounds_scan_nothing(pool: asyncpg.Pool) -> None:
    before = await _scans(pool)
    for number in range(ROUNDS):
        await _one_round(pool, 100 + number)
    assert await _scans(pool) == before


async def test_a_plan_made_on_empty_tables_does_not_scan_them_when_they_are_full(one_connection: asyncpg.Pool) -> None:
    for number in range(ROUNDS):
        await _one_round(one_connection, number)
    await _fill(one_connection)
    await _rounds_scan_nothing(one_connection)


async def test_a_plan_made_on_full_tables_does_not_scan_them(one_connection: asyncpg.Pool) -> None:
    await _fill(one_connection)
    await one_connection.execute("vacuum analyze")
    await _rounds_scan_nothing(one_connection)


LARGE_JOB = """
with made as (
    insert into saga_private.jobs (
        operation, actor, reason, filters, confirm_sha256, items, previewed_at_ms, expires_at_ms, moved_at_ms,
        confirmed_at_ms, reached, applied
    )
    values ('pause', 'ada', 'a look', '{}', '', 20000, 1, 2, 1, 1, 10010, 10000) returning id
)
insert into saga_private.job_items (job_id, position, saga_id, request_id, requested_at_ms, verdict)
select
    id, position, gen_random_uuid(), case when position <= 10010 then 900000 + position end,
    case when position <= 10010 then 1 end, case when position <= 10000 then 'applied' end
from made, generate_series(1, 20000) as position
"""


async def _entries_read(pool: asyncpg.Pool) -> int:
    await pool.execute("select pg_stat_force_next_flush()")
    query = "select sum(idx_tup_read) from pg_stat_user_indexes where relname = 'job_items'"
    return int(await pool.fetchval(query))


@pytest.mark.parametrize("is_analyzed", [False, True])
async def test_a_turn_reads_what_is_open_and_what_comes_next_and_not_the_whole_job(
    one_connection: asyncpg.Pool, *, is_analyzed: bool
) -> None:
    """Whatever Postgres had learnt of the tables when it made its plans."""
    jobs = PostgresJobs(one_connection)
    for number in range(ROUNDS):
        await _one_round(one_connection, number)
    await one_connection.execute(LARGE_JOB)
    await one_connection.execute(
        "insert into saga_private.requests (id, at_ms, fields) overriding system value"
        " select 900000 + number, 1, '{}' from generate_series(10001, 10010) as number"
    )
    if is_analyzed:
        await one_connection.execute("analyze")
    for at_ms in range(1, ROUNDS + 1):
        before = await _entries_read(one_connection)
        turn = await jobs.take_turn(at_ms, 0, 30)
        assert turn is not None
        assert (turn.reached, len(turn.saga_ids)) == (10_010 + 20 * (at_ms - 1), 20)
        assert await jobs.request(turn, at_ms) == 20
        assert await _entries_read(one_connection) - before <= 200


async def test_a_page_of_items_reads_no_other_job(one_connection: asyncpg.Pool) -> None:
    await _fill(one_connection)
    await one_connection.execute("vacuum analyze")
    for condition in _OF_VERDICT.values():
        query = f"select * from saga.job_items where job_id = 7 and position > 3 {condition} order by position limit 9"
        left = [orjson.loads(await one_connection.fetchval(f"explain (format json) {query}"))[0]["Plan"]]
        conditions = []
        while left:
            node = left.pop()
            left.extend(node.get("Plans", []))
            assert node["Node Type"] != "Seq Scan"
            conditions.append(node.get("Index Cond", ""))
        assert any("job_id = 7" in each for each in conditions)
