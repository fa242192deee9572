"""The gauges of the state: right, without a look at sagas that have ended, and for a role that may only read."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from saga_service.base.postgres import close_pool
from saga_service.store import queries
from saga_service.store.pool import create_pool
from tests.support.databases import Databases

Gauges = dict[tuple[str, ...], float | None]

FILL = """
insert into saga_private.sagas (
    id, created_at_ms, saga, version, input, status, revision, updated_at_ms, wake_at_ms, ended_at_ms, steps
)
select
    gen_random_uuid(), 1000 * number, saga, 'v1', '{}', status, 3, 1000 * number + 500, wake_at_ms, ended_at_ms, steps
from generate_series(1, $1::integer) as number, (values
    ('order', 'running', 9000000, null, '[["reserve","dispatched",1,0,null,"timeout",9000000,[],null,null,1]]'::json),
    ('order', 'stuck', null, null, '[["reserve","compensation_failed",1,1,2,null,null,[],null,null,1,2]]'),
    ('trip', 'completed', null, 5000, '[["flight","succeeded",1,0,2,null,null,[],null,null,1,2]]')
) as given (saga, status, wake_at_ms, ended_at_ms, steps)
"""
FILL_HISTORY = """
insert into saga_private.history (saga_id, revision, at_ms, event, status)
select
    id, turn.number, created_at_ms + 100 * turn.number, 'event',
    case turn.number when 1 then 'running' else 'stuck' end
from saga_private.sagas, generate_series(1, 3) as turn (number) where status = 'stuck'
"""


@pytest.fixture
async def pool(postgres_dsn: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await create_pool(postgres_dsn, 1)
    yield pool
    await close_pool(pool)


async def gauges(connection: asyncpg.Pool | asyncpg.Connection) -> Gauges:
    rows = await connection.fetch(queries.STATE_METRICS)
    return {(row["metric"].removeprefix("saga_"), *row["labels"]): row["value"] for row in rows}


async def test_an_empty_deployment_has_nothing_in_flight_and_nothing_that_waits(pool: asyncpg.Pool) -> None:
    assert await gauges(pool) == {
        ("next_timer_timestamp_seconds",): None,
        ("outbox_rows",): 0,
        ("oldest_outbox_timestamp_seconds",): None,
        ("requests_waiting",): 0,
        ("oldest_request_timestamp_seconds",): None,
    }


async def test_sagas_in_flight_what_is_owed_and_what_waits_are_counted_with_the_oldest_of_each(
    pool: asyncpg.Pool,
) -> None:
    await pool.execute(FILL, 3)
    await pool.execute(FILL_HISTORY)
    await pool.execute("insert into saga_private.outbox (claimed_at_ms, messages) values (7000, '[]'), (6000, '[]')")
    await pool.execute(
        "insert into saga_private.dead_letters (at_ms, stream, entry_id, reason, preview, raw, replayed_at_ms)"
        " values (2000, 'saga:events', '1', 'x', '{}', '[]', null), (1000, 'saga:events', '2', 'x', '{}', '[]', 5),"
        " (3000, 'orders', '3', 'x', '{}', '[]', null)"
    )
    await pool.execute(
        "insert into saga_private.requests (at_ms, fields, answered_at_ms) values (4000, '{}', null), (1, '{}', 2)"
    )
    await pool.execute(
        "insert into saga_private.processes (kind, name, host, version, reads, services, definitions, seen_at,"
        " has_stopped) values ('worker', 'w', 'h', '1', '[{\"stream\": \"orders\", \"group\": \"g\"}]', '[]',"
        " '{}', now(), false), ('worker', 'lost', 'h', '1', '[{\"stream\": \"old\"}]', '[]', '{}',"
        " now() - interval '1 hour', false)"
    )
    await pool.execute("insert into saga_private.streams (stream, carries) values ('saga:replies', '*')")
    assert await gauges(pool) == {
        ("in_flight", "order", "running"): 3,
        ("in_flight", "order", "stuck"): 3,
        ("oldest_start_timestamp_seconds", "order", "running"): 1.0,
        ("oldest_start_timestamp_seconds", "order", "stuck"): 1.0,
        ("oldest_change_timestamp_seconds", "order", "running"): 1.5,
        ("oldest_change_timestamp_seconds", "order", "stuck"): 1.5,
        ("next_timer_timestamp_seconds",): 9000.0,
        ("compensation_debt", "order"): 3,
        ("oldest_debt_timestamp_seconds", "order"): 1.2,
        ("dead_letters_waiting", "saga:events"): 1,
        ("dead_letters_waiting", "orders"): 1,
        ("oldest_dead_letter_timestamp_seconds", "saga:events"): 2.0,
        ("oldest_dead_letter_timestamp_seconds", "orders"): 3.0,
        ("outbox_rows",): 2,
        ("oldest_outbox_timestamp_seconds",): 6.0,
        ("requests_waiting",): 1,
        ("oldest_request_timestamp_seconds",): 4.0,
        ("processes", "worker"): 1,
        ("stream", "saga:replies"): 1,
        ("stream", "orders"): 1,
    }


async def rows_read(pool: asyncpg.Pool) -> int:
    """Rows of sagas that were looked at since the database was made."""
    await pool.execute("select pg_stat_force_next_flush()")
    return int(
        await pool.fetchval(
            "select seq_tup_read + idx_tup_fetch from pg_stat_user_tables where relid = 'saga_private.sagas'::regclass"
        )
    )


@pytest.mark.parametrize("is_analyzed", [False, True])
async def test_sagas_that_have_ended_are_not_read_whatever_the_plan_was_made_on(
    pool: asyncpg.Pool, *, is_analyzed: bool
) -> None:
    await gauges(pool)
    await pool.execute(FILL, 30)
    await pool.execute(f"{FILL} where status = 'completed'", 20_000)
    if is_analyzed:
        await pool.execute("analyze")
    before = await rows_read(pool)
    counted = await gauges(pool)
    assert counted["in_flight", "order", "running"] == 30
    # Those that are in flight, for each of the few parts of the query that need them.
    assert await rows_read(pool) - before <= 6 * 60


async def test_a_role_that_may_only_read_has_the_gauges_and_nobody_else(
    databases: Databases, postgres_dsn: str
) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    try:
        await connection.execute("set role saga_reader")
        assert ("outbox_rows",) in await gauges(connection)
        await connection.execute("reset role; set role saga_client")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await gauges(connection)
    finally:
        await connection.close()
