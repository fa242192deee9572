"""When the link to Postgres breaks: an answer within a bound, nothing half done, and on it goes once it is back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit, urlunsplit

import asyncpg
import pytest

from saga_service.base.postgres import close_pool
from saga_service.engine.failures import RevisionConflict, StoreUnavailable
from saga_service.store.pool import create_pool
from saga_service.store.postgres_store import PostgresDefinitionRegistry, PostgresStore
from saga_service.store.retention import PostgresRemoval
from tests.support.locks import waits_for_locks
from tests.support.store_batches import ORDER, batch, row_counts, start, state_of, succeed

PATIENCE_SECONDS = 0.5
BOUND_SECONDS = 5.0
TURNS_OF_THE_LOOP = 20


class Proxy:
    """Stands between the store and Postgres, and can hold back or cut what passes.

    `cut_answer` is set by a test: from then on whatever Postgres answers is dropped and the link is cut.
    """

    def __init__(self) -> None:
        self.flows = asyncio.Event()
        self.flows.set()
        self.cut_answer = False
        self.answers_cut = 0
        self._links: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def before(self, dsn: str) -> AsyncIterator[str]:
        """A DSN that leads through here to the database of `dsn`."""
        parts = urlsplit(dsn)
        sockets = parse_qs(parts.query).get("host", [None])[0]

        async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            if sockets is not None:
                return await asyncio.open_unix_connection(f"{sockets}/.s.PGSQL.{parts.port or 5432}")
            return await asyncio.open_connection(parts.hostname, parts.port or 5432)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._links.add(task)
            try:
                there_reader, there_writer = await connect()
                await self._link(reader, writer, there_reader, there_writer)
            finally:
                self._links.discard(task)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()[:2]
        user = parts.netloc.rpartition("@")[0]
        try:
            yield urlunsplit(parts._replace(netloc=f"{user}@{host}:{port}", query="sslmode=disable"))
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*self._links, return_exceptions=True)

    def cut(self) -> None:
        """Cut every link there is; new ones are let through."""
        for link in self._links:
            link.cancel()

    async def _link(
        self,
        here_reader: asyncio.StreamReader,
        here_writer: asyncio.StreamWriter,
        there_reader: asyncio.StreamReader,
        there_writer: asyncio.StreamWriter,
    ) -> None:
        tasks = [
            asyncio.create_task(self._pass(here_reader, there_writer, answers=False)),
            asyncio.create_task(self._pass(there_reader, here_writer, answers=True)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            here_writer.transport.abort()
            there_writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        while data := await reader.read(65_536):
            await self.flows.wait()
            if answers and self.cut_answer:
                self.answers_cut += 1
                return
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def store_behind(proxy: Proxy, dsn: str) -> AsyncIterator[PostgresStore]:
    async with proxy.before(dsn) as proxied:
        pool = await create_pool(proxied, 2, connect_timeout_s=PATIENCE_SECONDS, statement_timeout_s=PATIENCE_SECONDS)
        try:
            yield PostgresStore(pool, lambda document: ORDER, acquire_timeout_s=2 * PATIENCE_SECONDS)
        finally:
            await close_pool(pool)


async def test_a_link_that_dies_after_the_commit_leaves_exactly_one_transition(
    postgres_dsn: str, pool: asyncpg.Pool
) -> None:
    """Nobody knows then whether it happened; it did, and the second try finds out (A5)."""
    proxy, begun = Proxy(), start("order-1")
    async with store_behind(proxy, postgres_dsn) as store:
        await store.commit(batch(begun))
        moved = batch(succeed(begun))
        proxy.cut_answer = True
        with pytest.raises(StoreUnavailable):
            await store.commit(moved)
        assert proxy.answers_cut == 1
        proxy.cut_answer = False
        with pytest.raises(RevisionConflict):
            await store.commit(moved)
        assert await store.load([state_of(begun).id]) == [succeed(begun).state]
    assert await row_counts(pool) == {"sagas": 1, "history": 2, "outbox": 2, "dead_letters": 0}


async def test_connections_that_were_killed_are_replaced(pool: asyncpg.Pool, store: PostgresStore) -> None:
    begun = start("order-1")
    await store.commit(batch(begun))
    async with pool.acquire() as survivor:
        others = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
        await survivor.execute(f"{others} and pid <> pg_backend_pid()")
        outcomes = [await _outcome(store.load([state_of(begun).id])) for _ in range(10)]
    assert set(outcomes) <= {"done", "unavailable"}
    assert outcomes[-1] == "done"


async def test_a_network_that_swallows_everything_is_reported_within_a_bound_and_recovers(postgres_dsn: str) -> None:
    proxy, begun = Proxy(), start("order-1")
    async with store_behind(proxy, postgres_dsn) as store:
        await store.commit(batch(begun))
        proxy.flows.clear()
        began = time.monotonic()
        # More at once than the pool has connections: those who wait for one get their answer too.
        outcomes = await asyncio.gather(*(_outcome(store.load([state_of(begun).id])) for _ in range(6)))
        assert outcomes == ["unavailable"] * 6
        assert time.monotonic() - began < BOUND_SECONDS
        proxy.flows.set()
        assert await store.load([state_of(begun).id]) == [begun.state]


async def test_a_server_that_is_not_there_is_reported_and_found_again(postgres_dsn: str) -> None:
    proxy, begun = Proxy(), start("order-1")
    async with store_behind(proxy, postgres_dsn) as store:
        await store.commit(batch(begun))
        proxy.cut_answer = True
        proxy.cut()
        assert [await _outcome(store.load([state_of(begun).id])) for _ in range(3)] == ["unavailable"] * 3
        proxy.cut_answer = False
        assert await store.load([state_of(begun).id]) == [begun.state]


async def test_a_cancelled_caller_waits_for_its_commit(pool: asyncpg.Pool, store: PostgresStore) -> None:
    begun = start("order-1")
    await store.commit(batch(begun))
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("select from saga_private.sagas for update")
        committing = asyncio.create_task(store.commit(batch(succeed(begun))))
        await waits_for_locks(pool)
        committing.cancel()
        for _ in range(TURNS_OF_THE_LOOP):
            await asyncio.sleep(0)
        assert not committing.done(), "it may neither end nor be undone while Postgres is at it"
        await transaction.rollback()
    with pytest.raises(asyncio.CancelledError):
        await committing
    assert await store.load([state_of(begun).id]) == [succeed(begun).state]


async def _outcome(work: object) -> str:
    assert asyncio.iscoroutine(work)
    try:
        await work
    except StoreUnavailable:
        return "unavailable"
    return "done"


async def test_a_wait_for_a_free_connection_ends_with_its_bound(postgres_dsn: str) -> None:
    pool = await create_pool(postgres_dsn, 1)
    async with pool.acquire():
        users = (
            PostgresStore(pool, lambda document: ORDER, acquire_timeout_s=0.05).load([]),
            PostgresRemoval(pool, acquire_timeout_s=0.05).remove_ended(0, 1),
            PostgresDefinitionRegistry(pool, lambda document: None, acquire_timeout_s=0.05).deployed([]),
        )
        began = time.monotonic()
        assert [await _outcome(user) for user in users] == ["unavailable"] * 3
        assert time.monotonic() - began < BOUND_SECONDS
    await close_pool(pool)
