"""Postgres and Redis for a process that answers many requests: pools and a client, connected when they are needed.

The process starts while a server is away, and answers what it can.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Annotated, cast

import asyncpg
from fastapi import Depends, Request

from saga_service.admin.dead_letters import Replay
from saga_service.admin.encryption import cipher_of
from saga_service.admin.postgres_errors import postgres_errors_in_words, store_errors_in_words
from saga_service.admin.redis_errors import redis_errors_in_words
from saga_service.admin.server_access import read_plain_values
from saga_service.http.server_pools import ACQUIRE_S_MAX, ServerPools, opened_pool
from saga_service.settings import Settings
from saga_service.store.dead_letters import DeadLetterBox
from saga_service.store.http_access import HttpAccess
from saga_service.store.jobs import PostgresJobs
from saga_service.store.requests import PostgresRequests
from saga_service.streams.connection import RedisClient, connected


class PooledServers(ServerPools):
    """Reads both servers, makes requests to sagas, and replays and drops dead letters."""

    def __init__(
        self,
        settings: Settings,
        readers: asyncpg.Pool,
        writers: asyncpg.Pool,
        watchers: asyncpg.Pool,
        client: RedisClient,
    ) -> None:
        super().__init__(settings, readers, client)
        self.cipher = cipher_of(settings)
        self._writers = writers
        self._watchers = watchers
        self.counting = asyncio.Semaphore(max(1, readers.get_max_size() // 2))
        """Counts of lists that may be under way at once. A large table takes each of them a second, and whoever asks
        for many lists must leave connections for what others ask."""

    @asynccontextmanager
    async def postgres_to_watch(self) -> AsyncIterator[asyncpg.Connection]:
        """The connection of the one reader of live events, which no request takes. Raises Failure as `postgres`."""
        with postgres_errors_in_words(self.settings):
            async with self._watchers.acquire(timeout=ACQUIRE_S_MAX) as connection:
                # Whatever a connection does, its proxy does too.
                yield cast(asyncpg.Connection, connection)

    @contextmanager
    def requests(self) -> Iterator[PostgresRequests]:
        """Requests to sagas: operations and signals. Raises Failure where Postgres cannot be used."""
        with self._writing():
            yield PostgresRequests(self._writers, self.cipher)

    @contextmanager
    def jobs(self) -> Iterator[PostgresJobs]:
        """Jobs, to preview, confirm and stop them. Raises Failure where Postgres cannot be used."""
        with self._writing():
            yield PostgresJobs(self._writers, self.cipher)

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
        size_max = max(2, settings.postgres_pool_size // 2)
        readers = await opened_pool(stack, settings, read_plain_values, size_max)
        writers = await opened_pool(stack, settings, None, size_max)
        watchers = await opened_pool(stack, settings, read_plain_values, 1)
        client = connected(stack, settings.redis_url.get_secret_value())
        yield PooledServers(settings, readers, writers, watchers, client)


def servers_of(request: Request) -> PooledServers:
    """The servers of the application that a request has come to."""
    servers = request.app.state.servers
    assert isinstance(servers, PooledServers), "the application is started before it answers"
    return servers


ServersOfRequest = Annotated[PooledServers, Depends(servers_of)]
"""What a route takes to reach Postgres and Redis."""
