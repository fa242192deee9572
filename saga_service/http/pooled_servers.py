"""Postgres and Redis for a process that answers many requests: pools and a client, connected when they are needed.

The process starts while a server is away, and answers what it can.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Annotated, cast

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from fastapi import Depends, Request

from saga_service.admin.dead_letters import Replay
from saga_service.admin.encryption import cipher_of
from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.postgres_errors import postgres_errors_in_words, store_errors_in_words
from saga_service.admin.redis_errors import redis_errors_in_words
from saga_service.admin.server_access import read_plain_values
from saga_service.base.postgres import Prepare, close_pool, new_pool
from saga_service.settings import Settings
from saga_service.store.dead_letters import DeadLetterBox
from saga_service.store.http_access import HttpAccess
from saga_service.store.requests import PostgresRequests
from saga_service.streams.connection import RedisClient, connected

APPLICATION_NAME = "saga_service http"
ACQUIRE_S_MAX = 2.0
"""How long a request waits for a connection that others have. Whoever would wait longer is better told."""


class PooledServers:
    """Fulfils `admin.server_access.Servers`, makes requests to sagas, and replays and drops dead letters."""

    def __init__(self, settings: Settings, readers: asyncpg.Pool, writers: asyncpg.Pool, client: RedisClient) -> None:
        self.settings = settings
        self.cipher = cipher_of(settings)
        self._readers = readers
        self._writers = writers
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

    @contextmanager
    def requests(self) -> Iterator[PostgresRequests]:
        """Requests to sagas: operations and signals. Raises Failure where Postgres cannot be used."""
        with self._writing():
            yield PostgresRequests(self._writers, self.cipher)

    @contextmanager
    def dead_letters(self) -> Iterator[DeadLetterBox]:
        """The stored dead letters, to drop them. Raises Failure where Postgres cannot be used."""
        with self._writing():
            yield DeadLetterBox(self._writers)

    @contextmanager
    def replay(self) -> Iterator[Replay]:
        """What puts dead letters back. Raises Failure where Postgres or Redis cannot be used."""
        with self._writing(), redis_errors_in_words(self.settings):
            box, requests = DeadLetterBox(self._writers), PostgresRequests(self._writers, self.cipher)
            yield Replay(box, requests, self._client)

    @contextmanager
    def http_access(self) -> Iterator[HttpAccess]:
        """What all processes know together of callers. Raises Failure where Postgres cannot be used."""
        with self._writing():
            yield HttpAccess(self._writers)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with postgres_errors_in_words(self.settings), store_errors_in_words(self.settings):
            yield


@asynccontextmanager
async def pooled_servers(settings: Settings) -> AsyncIterator[PooledServers]:
    """Servers whose connections are closed at the end. Nothing is connected yet.

    Raises Failure where the cipher that the settings name cannot be had.
    """
    async with AsyncExitStack() as stack:
        readers = await _opened(stack, settings, read_plain_values)
        writers = await _opened(stack, settings, None)
        yield PooledServers(settings, readers, writers, connected(stack, settings.redis_url.get_secret_value()))


async def _opened(stack: AsyncExitStack, settings: Settings, prepare: Prepare | None) -> asyncpg.Pool:
    pool = await new_pool(
        settings.postgres_dsn.get_secret_value(),
        size_min=0,
        size_max=max(2, settings.postgres_pool_size // 2),
        application_name=APPLICATION_NAME,
        statement_timeout_s=settings.postgres_timeout_ms / 1000,
        statement_cache_size=settings.postgres_statement_cache_size,
        prepare=prepare,
    )
    stack.push_async_callback(close_pool, pool)
    return pool


def servers_of(request: Request) -> PooledServers:
    """The servers of the application that a request has come to."""
    servers = request.app.state.servers
    assert isinstance(servers, PooledServers), "the application is started before it answers"
    return servers


ServersOfRequest = Annotated[PooledServers, Depends(servers_of)]
"""What a route takes to reach Postgres and Redis."""
