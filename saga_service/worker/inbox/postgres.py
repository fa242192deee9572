"""The inbox in the handlers' own database: where it is, making its table, opening it for a run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from structlog.typing import FilteringBoundLogger

from saga_service.worker.inbox.connection import InboxNotMade, InboxUnavailable, inbox_errors
from saga_service.worker.inbox.exactly_once import OnceByPostgres
from saga_service.worker.inbox.table import CREATE, EXISTS, REMOVE

CONNECTIONS_MAX_DEFAULT = 10
KEPT_DAYS_DEFAULT = 30
CONNECT_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_S = 15.0
CLOSE_TIMEOUT_S = 5.0
REMOVED_AT_ONCE_MAX = 1_000
REMOVAL_PERIOD_S = 3_600.0
APPLICATION_NAME = "saga_service worker"


class PostgresInbox:
    """Where a worker's handlers have their effects recorded: their own database, which need not be the service's.

    `at` is its address, or a pool that the author has made and closes; such a pool's connections must not be shared
    with anything that could wait for a handler. `connections_max` is how many one process opens: a transactional
    handler has one for as long as it runs. `kept_days` is how long rows are kept, None for ever; it must be longer than
    any saga takes, for what is removed is not known any more. Nothing is opened before the worker runs.

    Raises ValueError where a number cannot work.
    """

    def __init__(
        self,
        at: str | asyncpg.Pool,
        *,
        connections_max: int = CONNECTIONS_MAX_DEFAULT,
        kept_days: int | None = KEPT_DAYS_DEFAULT,
        statement_cache_size: int = 100,
    ) -> None:
        if connections_max < 1:
            raise ValueError(f"connections_max must be at least 1, but is {connections_max}")
        if kept_days is not None and kept_days < 1:
            raise ValueError(f"kept_days must be at least 1, or None to keep all, but is {kept_days}")
        self._at = at
        self._connections_max = connections_max
        self._kept_days = kept_days
        self._statement_cache_size = statement_cache_size

    async def create_tables(self) -> None:
        """Make schema, table and index if they are not there. Any number may do so at once; needs the right to create.

        Raises what asyncpg raises.
        """
        async with self._pool() as pool, pool.acquire() as connection, connection.transaction():
            for statement in CREATE:
                await connection.execute(statement, timeout=STATEMENT_TIMEOUT_S)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[OpenInbox]:
        """For one run of a worker. Connects to nothing yet."""
        async with self._pool() as pool:
            yield OpenInbox(pool, self._kept_days)

    @asynccontextmanager
    async def _pool(self) -> AsyncIterator[asyncpg.Pool]:
        if not isinstance(self._at, str):
            yield self._at
            return
        pool = asyncpg.create_pool(
            self._at,
            min_size=0,
            max_size=self._connections_max,
            timeout=CONNECT_TIMEOUT_S,
            statement_cache_size=self._statement_cache_size,
            server_settings={"application_name": APPLICATION_NAME},
            reset=_leave_as_it_is,
        )
        async with _closed_in_time(pool):
            yield await pool


class OpenInbox:
    def __init__(self, pool: asyncpg.Pool, kept_days: int | None) -> None:
        self._pool = pool
        self._kept_days = kept_days
        self.once = OnceByPostgres(pool)

    async def check(self) -> None:
        """Raises InboxNotMade, and InboxUnavailable where Postgres cannot be reached now."""
        try:
            with inbox_errors():
                exists = await self._pool.fetchval(EXISTS, timeout=STATEMENT_TIMEOUT_S)
        except (asyncpg.PostgresError, asyncpg.ClientConfigurationError) as error:
            raise InboxNotMade(f"the inbox's database cannot be used: {error}") from error
        if not exists:
            raise InboxNotMade(
                "the inbox's database has no table saga_worker.inbox that this role can see; "
                "run: saga-service worker-migrate MODULE:WORKER"
            )

    async def remove_old(self) -> int:
        """Remove the rows that were kept long enough; how many. Raises what asyncpg raises, and InboxUnavailable."""
        if self._kept_days is None:
            return 0
        removed = 0
        while True:
            with inbox_errors():
                batch: int = await self._pool.fetchval(
                    REMOVE, self._kept_days, REMOVED_AT_ONCE_MAX, timeout=STATEMENT_TIMEOUT_S
                )
            removed += batch
            if batch < REMOVED_AT_ONCE_MAX:
                return removed

    async def run_upkeep(self, log: FilteringBoundLogger) -> None:
        """Remove old rows from time to time; an outage ends nothing."""
        while True:
            # Jitter, so that the workers of a service do not all do it at once; rows that others hold are passed over.
            await asyncio.sleep(REMOVAL_PERIOD_S * random.uniform(0.5, 1.0))
            try:
                if removed := await self.remove_old():
                    log.info("old rows of the inbox were removed", rows=removed)
            except (InboxUnavailable, asyncpg.PostgresError) as error:
                log.warning("old rows of the inbox could not be removed; they are tried again", error=str(error))


@asynccontextmanager
async def _closed_in_time(pool: asyncpg.Pool) -> AsyncIterator[None]:
    try:
        yield
    finally:
        try:
            await asyncio.wait_for(pool.close(), CLOSE_TIMEOUT_S)
        except TimeoutError:
            pool.terminate()


async def _leave_as_it_is(_connection: object) -> None:
    """A round trip saved for every command. What a handler sets for the session stays: SET LOCAL is for handlers."""
