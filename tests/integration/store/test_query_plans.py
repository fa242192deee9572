"""No hot query ever reads a whole table: with many rows, and also with a plan that was made while there were none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import orjson
import pytest

from saga_service.base.postgres import close_pool
from saga_service.core.events import BusinessKey
from saga_service.core.ids import SagaId
from saga_service.engine.ports import Asked, Batch, Deferred, RequestResult, Write
from saga_service.store import queries
from saga_service.store.pool import create_pool
from saga_service.store.postgres_store import PostgresStore
from saga_service.wire.entries import Entry
from tests.support.builders import START_MS
from tests.support.databases import Databases, run_apart
from tests.support.store_batches import ORDER, add, batch, start, state_of, succeed

SAGAS = 20_000
FILL = """
insert into saga_private.sagas (
    id, created_at_ms, saga, version, key, input, status, revision, updated_at_ms, wake_at_ms, steps
)
select
    gen_random_uuid(), 1000000 + number, 'order', 'v1', 'key-' || number, '{}',
    case when number % 100 = 0 then 'running' when number % 1000 = 1 then 'stuck' else 'completed' end,
    1, 1000000 + number, case when number % 100 = 0 then 2000000 + number end,
    '[["reserve","succeeded",1,0,2,null,null,false,null,null,1,2]]'
from generate_series(1, $1::integer) as number
"""
FILL_HISTORY = """
insert into saga_private.history (saga_id, revision, at_ms, event, status)
select id, 1, 1000000, 'started', 'running' from saga_private.sagas
on conflict do nothing
"""
FILL_OUTBOX = """
insert into saga_private.outbox (claimed_at_ms, messages) select 1000000 + number, '[]'
from generate_series(1, 5000) as number
"""
FILL_DEAD_LETTERS = """
insert into saga_private.dead_letters (at_ms, stream, entry_id, reason, preview, raw)
select 1, 'saga:events', number::text, 'broken', '{}', '[]' from generate_series(1, 5000) as number
"""
# A row for each version of each saga: more than anybody has.
FILL_DEFINITIONS = """
insert into saga_private.definitions (saga, version, compensations, document)
select 'saga-' || number, 'v1', '{}', '{"steps": []}' from generate_series(1, 5000) as number
"""


FILL_REQUESTS = """
insert into saga_private.requests (at_ms, due_at_ms, fields, addressed_id, addressed_key)
select 1, 9000000000000, '{}', gen_random_uuid(), 'request-' || number
from generate_series(1, 5000) as number
"""


async def _fill(pool: asyncpg.Pool) -> None:
    await pool.execute(FILL, SAGAS)
    for statement in (FILL_HISTORY, FILL_OUTBOX, FILL_DEAD_LETTERS, FILL_DEFINITIONS, FILL_REQUESTS):
        await pool.execute(statement)


@pytest.fixture(scope="module")
def full_dsn(databases: Databases) -> Iterator[str]:
    """A database with many sagas, for all tests of this file that only look at plans."""

    async def fill() -> None:
        async with _one_connection(dsn) as pool:
            await _fill(pool)
            await pool.execute("vacuum analyze")

    dsn = databases.create_migrated()
    run_apart(fill())
    yield dsn
    assert databases.drop(dsn) == []


@pytest.fixture
async def full(full_dsn: str) -> AsyncIterator[asyncpg.Pool]:
    async with _one_connection(full_dsn) as pool:
        yield pool


@asynccontextmanager
async def _one_connection(dsn: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await create_pool(dsn, 1)
    try:
        yield pool
    finally:
        await close_pool(pool)


async def _plan(pool: asyncpg.Pool, query: str, *values: object) -> tuple[set[str], set[str]]:
    """What the plan scans from end to end, and the indexes that it uses."""
    plan = await pool.fetchval(f"explain (format json) {query}", *values)
    scanned: set[str] = set()
    indexes: set[str] = set()
    left = [orjson.loads(plan)[0]["Plan"]]
    while left:
        node = left.pop()
        left.extend(node.get("Plans", []))
        if node["Node Type"] == "Seq Scan":
            scanned.add(node["Relation Name"])
        if "Index Name" in node:
            indexes.add(node["Index Name"])
    return scanned, indexes


NOBODY = SagaId("00000000-0000-0000-0000-000000000000")
HOT_QUERIES = [
    pytest.param(queries.LOAD, ([NOBODY] * 500,), {"sagas_pkey"}, id="load"),
    pytest.param(queries.SOME_IN_FLIGHT, (100,), {"sagas_waking", "sagas_undoing"}, id="some_in_flight"),
]


@pytest.mark.parametrize(("query", "values", "indexes"), HOT_QUERIES)
async def test_a_query_of_the_service_uses_its_index(
    full: asyncpg.Pool, query: str, values: tuple[object, ...], indexes: set[str]
) -> None:
    scanned, used = await _plan(full, query, *values)
    assert scanned == set()
    assert used >= indexes


READERS_QUERIES = [
    pytest.param("select * from saga.sagas where id = $1", {"sagas_pkey"}, id="sagas by id"),
    pytest.param("select * from saga.steps where saga_id = $1", {"sagas_pkey", "definitions_pkey"}, id="steps by saga"),
    pytest.param("select * from saga.history where saga_id = $1 order by revision", {"history_pkey"}, id="history"),
]


@pytest.mark.parametrize(("query", "indexes"), READERS_QUERIES)
async def test_a_reader_who_asks_by_saga_uses_the_primary_key(
    full: asyncpg.Pool, query: str, indexes: set[str]
) -> None:
    assert await _plan(full, query, NOBODY) == (set(), indexes)


async def test_whoever_reads_only_how_steps_stand_pays_nothing_for_what_they_are(full: asyncpg.Pool) -> None:
    query = "select step, status, attempts, output, waiting_for from saga.steps where saga_id = $1"
    assert await _plan(full, query, NOBODY) == (set(), {"sagas_pkey"})


async def test_what_steps_are_costs_one_look_at_the_definition_for_a_saga(full: asyncpg.Pool) -> None:
    query = "select step, kind, task, action, compensation, signal from saga.steps where saga_id = $1"
    plan = await full.fetchval(f"explain (format json) {query}", NOBODY)
    assert plan.count("definitions_pkey") == 1


async def test_whoever_reads_what_definitions_say_does_not_read_sagas(full: asyncpg.Pool) -> None:
    query = "select document from saga.definitions where saga = 'saga-7' and version = 'v1'"
    assert await _plan(full, query) == (set(), {"definitions_pkey"})


async def test_to_count_what_a_version_drives_looks_at_no_saga_that_has_ended(full: asyncpg.Pool) -> None:
    scanned, used = await _plan(full, "select saga, version, open_sagas from saga.definitions")
    assert scanned == {"definitions"}
    assert used == {"sagas_waking", "sagas_undoing"}


async def test_a_reader_who_asks_for_the_debt_of_one_saga_scans_no_table(full: asyncpg.Pool) -> None:
    scanned, used = await _plan(full, "select * from saga.compensation_debt where saga_id = $1", NOBODY)
    assert scanned == set()
    assert used & {"sagas_pkey", "sagas_undoing"}


async def test_a_reader_who_asks_for_all_debt_looks_at_none_but_the_sagas_that_owe(full: asyncpg.Pool) -> None:
    scanned, used = await _plan(full, "select * from saga.compensation_debt")
    assert scanned <= {"definitions"}
    assert used == {"sagas_undoing", "history_pkey"} | (used & {"definitions_pkey"})


@pytest.mark.parametrize("condition", ["key = 'key-77'", "key = 'key-77' and saga = 'order'"])
async def test_a_reader_who_asks_by_business_key_uses_its_index(full: asyncpg.Pool, condition: str) -> None:
    assert await _plan(full, f"select * from saga.sagas where {condition}") == (set(), {"sagas_by_key"})


async def test_a_reader_who_asks_for_a_span_of_time_uses_the_index_by_age(full: asyncpg.Pool) -> None:
    query = "select * from saga.sagas where created_at > to_timestamp(1020)"
    assert await _plan(full, query) == (set(), {"sagas_by_age"})


# ------------------------------------------------------------------------------- plans that were made on empty tables


async def _scans(connection: asyncpg.Connection | asyncpg.Pool) -> dict[str, int]:
    """How often each table was read from end to end since the database was made."""
    await connection.execute("select pg_stat_force_next_flush()")
    rows = await connection.fetch(
        "select relname, seq_scan from pg_stat_user_tables where schemaname = 'saga_private'"
        " and relname in ('sagas', 'history', 'outbox', 'dead_letters', 'requests')"
    )
    return {row["relname"]: row["seq_scan"] for row in rows}


async def _one_round(store: PostgresStore, number: int) -> None:
    """Everything that the service asks of Postgres while it works."""
    started = start(f"round-{number}")
    outbox_id = await store.commit(batch(started))
    following = Batch(published=[outbox_id] if outbox_id else [])
    add(following, [succeed(started)])
    await store.commit(following)
    await store.commit(Batch(writes=[Write(state_of(succeed(started)), 2)]))
    await store.load([state_of(started).id])
    await store.claim_due(START_MS, 100, 1_000)
    await store.ids_with_key([BusinessKey("order", f"key-{number}")])
    await store.commit(
        Batch(
            deferred=[
                Deferred(
                    Entry("saga:events", f"{number}-0", {b"type": b"approved"}),
                    START_MS,
                    Asked(state_of(started).id, None),
                )
            ]
        )
    )
    results = [
        RequestResult(entry.request.number, "applied", "", None)
        for entry in await store.claim_requests(START_MS, 100, 1_000)
        if entry.request is not None
    ]
    await store.commit(Batch(results=results, asked=[Asked(state_of(started).id, f"round-{number}")]))
    await store.claim_unpublished(START_MS, 50, 20)
    await store.forget_published([1, 2, 3])


async def _one_page_of_a_recovery(pool: asyncpg.Pool, store: PostgresStore) -> None:
    await pool.execute(
        "insert into saga_private.streams (stream, carries, lost_at_ms) values ('saga:replies', '*', $1)"
        " on conflict (stream) do update set lost_at_ms = $1",
        START_MS,
    )
    await store.continue_recovery(START_MS, START_MS, 20)
    await pool.execute("delete from saga_private.requests where stream = 'saga.recovery'")


ROUNDS = 8
"""More than the five after which Postgres may settle for one plan."""


async def test_a_plan_made_on_full_tables_does_not_scan_them(full: asyncpg.Pool) -> None:
    store = PostgresStore(full, lambda document: ORDER)
    before = await _scans(full)
    for number in range(ROUNDS):
        await _one_round(store, number)
        await _one_page_of_a_recovery(full, store)
    assert await _scans(full) == before


async def test_a_plan_made_on_empty_tables_does_not_scan_them_when_they_are_full(postgres_dsn: str) -> None:
    async with _one_connection(postgres_dsn) as pool:
        store = PostgresStore(pool, lambda document: ORDER)
        for number in range(ROUNDS):
            await _one_round(store, number)
            await _one_page_of_a_recovery(pool, store)
        await _fill(pool)
        before = await _scans(pool)
        for number in range(ROUNDS, 2 * ROUNDS):
            await _one_round(store, number)
            await _one_page_of_a_recovery(pool, store)
        assert await _scans(pool) == before


async def test_a_step_touches_no_index(postgres_dsn: str) -> None:
    """HOT: the new row lies on the same page, and every index still finds it by the old one."""
    async with _one_connection(postgres_dsn) as pool:
        store = PostgresStore(pool, lambda document: ORDER)
        transitions = [start(f"order-{number}", saga_input={"amount": number}) for number in range(200)]
        await store.commit(batch(*transitions))
        for _ in range(2):
            transitions = [succeed(each) for each in transitions]
            await store.commit(batch(*transitions))
        await pool.execute("select pg_stat_force_next_flush()")
        counted = await pool.fetchrow(
            "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relid = 'saga_private.sagas'::regclass"
        )
        assert counted is not None
        assert counted["n_tup_upd"] == 400
        assert counted["n_tup_hot_upd"] >= 0.9 * 400


OF_ONE_SAGA = 1_000
"""Requests of one saga that are open at once."""


async def _index_entries_read(pool: asyncpg.Pool) -> int:
    await pool.execute("select pg_stat_force_next_flush()")
    return int(
        await pool.fetchval(
            "select sum(idx_tup_read) from pg_stat_user_indexes"
            " where indexrelname in ('requests_by_id', 'requests_by_key')"
        )
    )


@pytest.mark.parametrize("is_analyzed", [False, True])
async def test_many_requests_of_one_saga_are_looked_at_once_by_a_claim_and_once_by_its_commit(
    postgres_dsn: str, is_analyzed: bool
) -> None:
    async with _one_connection(postgres_dsn) as pool:
        store = PostgresStore(pool, lambda document: ORDER)
        # As long as somebody's snapshot is older than an answer, each look passes what is answered: autovacuum has one.
        await pool.execute("alter table saga_private.requests set (autovacuum_enabled = off)")
        await pool.execute(
            "insert into saga_private.requests (at_ms, fields, addressed_id, addressed_key)"
            " select 1, '{}', $1, 'one' from generate_series(1, $2::integer)",
            NOBODY,
            OF_ONE_SAGA,
        )
        # Whatever Postgres has learnt of the table meanwhile.
        if is_analyzed:
            await pool.execute("analyze saga_private.requests")
        for _ in range(2):
            before = await _index_entries_read(pool)
            claimed = await store.claim_requests(START_MS, OF_ONE_SAGA // 2, 1_000)
            numbers = [each.request.number for each in claimed if each.request is not None]
            assert len(numbers) == OF_ONE_SAGA // 2
            # By both indexes: a look at the first for each that is due, and one at all for what is left out.
            assert await _index_entries_read(pool) - before <= 8 * OF_ONE_SAGA
            before = await _index_entries_read(pool)
            await store.commit(Batch(results=[RequestResult(number, "applied", "", None) for number in numbers]))
            assert await _index_entries_read(pool) - before <= 8 * OF_ONE_SAGA
