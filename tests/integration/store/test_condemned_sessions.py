"""A session keeps what its server was like when it was made, and is given up where that outlives its cause.

The isolation of transactions is such a default too, but one that the service works with.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest
from structlog.testing import capture_logs

from saga_service.base.postgres import close_pool
from saga_service.engine.failures import StoreConflict, StoreUnavailable
from saga_service.engine.outbox import OutboxRows
from saga_service.store.pool import create_pool
from saga_service.store.postgres_store import PostgresStore
from saga_service.store.retention import PostgresRemoval
from tests.support.builders import PlainBlueprint, PlainCatalog, definition
from tests.support.fakes import saga_id
from tests.support.fakes import start as started
from tests.support.locks import somebody_locks, waits_for_locks
from tests.support.replica import engine_on, process
from tests.support.store_batches import ORDER, batch, no_definition, start, succeed

SESSIONS = 4
READ_ONLY, SERIALIZABLE = "default_transaction_read_only = on", "default_transaction_isolation = 'serializable'"


@asynccontextmanager
async def database_default(dsn: str, setting: str) -> AsyncIterator[None]:
    """While this lasts, new sessions of the database have this setting."""
    connection: asyncpg.Connection = await asyncpg.connect(dsn)
    database, name = urlsplit(dsn).path[1:], setting.partition(" ")[0]
    try:
        await connection.execute(f'alter database "{database}" set {setting}')
        yield
        await connection.execute("set default_transaction_read_only = off")
        await connection.execute(f'alter database "{database}" reset {name}')
    finally:
        await connection.close()


async def all_sessions_of(pool: asyncpg.Pool) -> set[int]:
    """Open every session that the pool may have; their processes."""
    async with asyncio.TaskGroup() as group:
        all_there = asyncio.Barrier(SESSIONS)

        async def one() -> int:
            async with pool.acquire() as connection:
                await all_there.wait()
                return int(connection.get_server_pid())

        tasks = [group.create_task(one()) for _ in range(SESSIONS)]
    return {task.result() for task in tasks}


async def test_sessions_made_while_the_server_was_read_only_are_given_up_at_the_first_error(postgres_dsn: str) -> None:
    async with database_default(postgres_dsn, READ_ONLY):
        pool = await create_pool(postgres_dsn, SESSIONS)
        before = await all_sessions_of(pool)
    store = PostgresStore(pool, lambda document: ORDER)
    try:
        with pytest.raises(StoreUnavailable, match="read-only transaction"):
            await store.commit(batch(start("one")))
        await store.commit(batch(start("one")))
        assert not before & await all_sessions_of(pool)
    finally:
        await close_pool(pool)


async def test_sessions_stay_where_the_error_is_the_statements(pool: asyncpg.Pool) -> None:
    before = await all_sessions_of(pool)
    store = PostgresStore(pool, lambda document: ORDER)
    await store.commit(batch(start("one")))
    with pytest.raises(Exception, match="there already"):
        await store.commit(batch(start("one")))
    assert await all_sessions_of(pool) == before


async def test_conflicts_of_serializable_transactions_are_named_and_tried_again(postgres_dsn: str) -> None:
    """The isolation is a default of the database or of the role, and nothing that the service asks for."""
    order = definition("reserve", "charge")
    catalog = PlainCatalog(PlainBlueprint(order, integers=["amount"]))
    async with database_default(postgres_dsn, SERIALIZABLE):
        pool = await create_pool(postgres_dsn, 8)
    store = PostgresStore(pool, no_definition)
    removal = PostgresRemoval(pool)
    entries = [started(number) for number in range(20)]
    try:
        assert await pool.fetchval("show default_transaction_isolation") == "serializable"
        with capture_logs() as logs:
            await asyncio.gather(
                *(process(engine_on(store, catalog, [order], OutboxRows()), entries) for _ in range(4)),
                *(removal.remove_ended(1, 10) for _ in range(4)),
            )
        assert {state.revision for state in await store.load([saga_id(number) for number in range(20)])} == {1}
    finally:
        await close_pool(pool)
    assert {line["failure"] for line in logs if "failure" in line} <= {
        "another transaction was in the way",
        "another replica was quicker",
    }


async def test_a_serialization_failure_is_no_outage(postgres_dsn: str, pool: asyncpg.Pool) -> None:
    first = start("one")
    await PostgresStore(pool, no_definition).commit(batch(first))
    async with database_default(postgres_dsn, SERIALIZABLE):
        other = await create_pool(postgres_dsn, 1)
    try:
        async with somebody_locks(postgres_dsn, "update saga_private.sagas set key = 'other'"):
            committing = asyncio.create_task(PostgresStore(other, no_definition).commit(batch(succeed(first))))
            await waits_for_locks(pool)
        with pytest.raises(StoreConflict, match="could not serialize access"):
            await committing
    finally:
        await close_pool(other)
