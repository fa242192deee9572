"""Connections for reading what both servers have, made when they are needed.

A process starts while a server is away, and answers what it can.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.postgres_errors import postgres_errors_in_words
from saga_service.admin.redis_errors import redis_errors_in_words
from saga_service.admin.server_access import read_plain_values
from saga_service.base.postgres import Prepare, close_pool, new_pool
from saga_service.settings import Settings
from saga_service.streams.connection import RedisClient, connected

APPLICATION_NAME = "saga_service http"
ACQUIRE_S_MAX = 2.0
"""How long a request waits for a connection that others have. Whoever would wait longer is better told."""


class ServerPools:
    """Fulfils `admin.server_access.Servers`."""

    def __init__(self, settings: Settings, readers: asyncpg.Pool, client: RedisClient) -> None:
        self.settings = settings
        self._readers = readers
        self._client = client

    @asynccontextmanager
    async def postgres(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection for a while. Raises Failure where Postgres cannot be used, or no connection is free in time."""
        with postgres_errors_in_words(self.settings):
            connection = await self._acquired()
            try:
                # Whatever a connection does, its proxy does too.
                yield cast(asyncpg.Connection, connection)
            finally:
                await self._readers.release(connection)

    async def _acquired(self) -> PoolConnectionProxy:
        try:
            return await self._readers.acquire(timeout=ACQUIRE_S_MAX)
        except TimeoutError:
            if self._readers.get_size() < self._readers.get_max_size():
                raise
            raise Failure(
                "every connection to Postgres is in use", "ask again in a moment", kind=FailureKind.UNREACHABLE
            ) from None

    @asynccontextmanager
    async def redis(self) -> AsyncIterator[RedisClient]:
        """The client for a while. Raises Failure where Redis cannot be used."""
        with redis_errors_in_words(self.settings):
            yield self._client


@asynccontextmanager
async def server_pools(settings: Settings, size_max: int) -> AsyncIterator[ServerPools]:
    """Connections that are closed at the end."""
    async with AsyncExitStack() as stack:
        readers = await opened_pool(stack, settings, read_plain_values, size_max)
        yield ServerPools(settings, readers, connected(stack, settings.redis_url.get_secret_value()))


async def opened_pool(
    stack: AsyncExitStack, settings: Settings, prepare: Prepare | None, size_max: int
) -> asyncpg.Pool:
    """A pool that is closed with the stack. Nothing is connected yet."""
    pool = await new_pool(
        settings.postgres_dsn.get_secret_value(),
        size_min=0,
        size_max=size_max,
        application_name=APPLICATION_NAME,
        statement_timeout_s=settings.postgres_timeout_ms / 1000,
        statement_cache_size=settings.postgres_statement_cache_size,
        prepare=prepare,
    )
    stack.push_async_callback(close_pool, pool)
    return pool
