"""The inbox in the handlers' own database: its address, creating its table, opening it for a run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from structlog.typing import FilteringBoundLogger

from saga_service.base.address import postgres_problem
from saga_service.base.liveness import moved, waiting
from saga_service.base.postgres import (
    CONNECTION_ERRORS,
    STATEMENT_CACHE_SIZE,
    STATEMENT_TIMEOUT_S,
    close_pool,
    describe,
    is_worth_waiting,
    new_pool,
    one_line,
)
from saga_service.worker.inbox.connection import InboxUnavailable, inbox_errors
from saga_service.worker.inbox.exactly_once import EXISTS, REMOVE_OLD, PostgresExactlyOnce, creation_script

CONNECTIONS_MAX_DEFAULT = 10
KEPT_DAYS_DEFAULT = 30
REMOVED_AT_ONCE_MAX = 1_000
REMOVAL_PERIOD_S = 3_600.0
APPLICATION_NAME = "saga_service worker"


class InboxNotCreated(Exception):
    """The inbox has no table, or its role no right to it; the text says what to do."""


class PostgresInbox:
    """The record of a worker's effects, in the handlers' own database, which need not be the service's.

    `at` is its address, or a pool that the author makes and closes; no connection of such a pool may be used by
    anything that could wait for a handler. `connections_max` is how many connections one process opens: a transactional
    handler has one for as long as it runs. `kept_days` is how long rows are kept, None for ever; it must be longer than
    any saga takes, for a removed row counts as if it had never been. Nothing is opened before the worker runs.

    A handler that changes its session must do so with SET LOCAL: sessions are not reset between two commands. Raises
    ValueError for an address or a number that cannot work.
    """

    def __init__(
        self,
        at: str | asyncpg.Pool,
        *,
        connections_max: int = CONNECTIONS_MAX_DEFAULT,
        kept_days: int | None = KEPT_DAYS_DEFAULT,
        statement_cache_size: int = STATEMENT_CACHE_SIZE,
    ) -> None:
        problem = postgres_problem(at) if isinstance(at, str) else None
        if problem is not None:
            raise ValueError(f"the address of the inbox {problem}")
        if connections_max < 1:
            raise ValueError(f"connections_max must be at least 1, but is {connections_max}")
        if kept_days is not None and kept_days < 1:
            raise ValueError(f"kept_days must be at least 1, or None to keep all, but is {kept_days}")
        self._at = at
        self._connections_max = connections_max
        self._kept_days = kept_days
        self._statement_cache_size = statement_cache_size

    @property
    def address(self) -> str | None:
        """The address that was given, with its password; None where a pool was given."""
        return self._at if isinstance(self._at, str) else None

    async def create_tables(self) -> None:
        """Create schema, table and index where they are missing, which needs the right to do so.

        Any number of processes may do so at once. Raises what asyncpg raises.
        """
        async with self._pool() as pool, pool.acquire() as connection, connection.transaction():
            await connection.execute(creation_script(), timeout=STATEMENT_TIMEOUT_S)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[OpenInbox]:
        """Open the inbox for one run of a worker, without connecting yet."""
        async with self._pool() as pool:
            yield OpenInbox(pool, self._kept_days)

    @asynccontextmanager
    async def _pool(self) -> AsyncIterator[asyncpg.Pool]:
        if not isinstance(self._at, str):
            yield self._at
            return
        pool = new_pool(
            self._at,
            size_min=0,
            size_max=self._connections_max,
            application_name=APPLICATION_NAME,
            statement_cache_size=self._statement_cache_size,
        )
        try:
            yield await pool
        finally:
            await close_pool(pool)


class OpenInbox:
    def __init__(self, pool: asyncpg.Pool, kept_days: int | None) -> None:
        self._pool = pool
        self._kept_days = kept_days
        self.exactly_once = PostgresExactlyOnce(pool)

    async def check(self) -> None:
        """Check that the table is there.

        Raises InboxNotCreated where a person has to mend something, and InboxUnavailable where Postgres cannot be
        reached now.
        """
        try:
            exists = await self._pool.fetchval(EXISTS, timeout=STATEMENT_TIMEOUT_S)
        except CONNECTION_ERRORS as error:
            if is_worth_waiting(error):
                raise InboxUnavailable(describe(error)) from error
            raise InboxNotCreated(f"the inbox's database cannot be used: {one_line(error)}") from error
        if not exists:
            raise InboxNotCreated(
                "the inbox's database has no table saga_worker.inbox that this role can see; "
                "run: saga-service worker-migrate MODULE:WORKER"
            )

    async def remove_old(self) -> int:
        """Remove the rows that were kept long enough and return how many. Raises InboxUnavailable and PostgresError."""
        if self._kept_days is None:
            return 0
        removed = 0
        while True:
            moved()
            with inbox_errors():
                batch: int = await self._pool.fetchval(
                    REMOVE_OLD, self._kept_days, REMOVED_AT_ONCE_MAX, timeout=STATEMENT_TIMEOUT_S
                )
            removed += batch
            if batch < REMOVED_AT_ONCE_MAX:
                return removed

    async def run_upkeep(self, log: FilteringBoundLogger) -> None:
        """Remove old rows from time to time; an outage ends nothing."""
        while True:
            # Jitter, so that the workers of a service do not all do it at once; rows that others hold are skipped.
            with waiting():
                await asyncio.sleep(REMOVAL_PERIOD_S * random.uniform(0.5, 1.0))
            try:
                if removed := await self.remove_old():
                    log.info("old rows of the inbox were removed", rows=removed)
            except (InboxUnavailable, asyncpg.PostgresError) as error:
                log.warning("old rows of the inbox could not be removed; trying again later", error=str(error))
