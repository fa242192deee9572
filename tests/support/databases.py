"""A fresh database and an empty Redis for every test, and a look at what the test left open."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import redis

CLOSING_SECONDS_MAX = 2.0
"""A connection that a test closed may be known to the server for a moment longer."""
POLL_SECONDS = 0.02

T = TypeVar("T")


def run_apart(work: Coroutine[Any, Any, T]) -> T:  # Any: what a coroutine is sent and yields is its own affair
    """Run a coroutine to its end on a loop of its own, whatever loop the test uses."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


class Databases:
    """Makes databases beside the one given: blank ones, and copies of a migrated one, which take no migration."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._numbers = itertools.count(1)
        self._template: str | None = None

    def create_blank(self) -> str:
        return run_apart(self._create(template=None))

    def create_migrated(self) -> str:
        from saga_service.store.schema.migrate import migrate

        if self._template is None:
            dsn = self.create_blank()
            run_apart(migrate(dsn))
            self._template = _database_of(dsn)
        return run_apart(self._create(self._template))

    def drop(self, dsn: str) -> list[str]:
        """Drop the database; the connections that were still open on it."""
        return run_apart(self._drop(_database_of(dsn)))

    def drop_template(self) -> None:
        if self._template is not None:
            run_apart(self._drop(self._template))

    def version(self) -> str:
        return run_apart(self._fetch_version())

    async def _create(self, template: str | None) -> str:
        name = f"saga_test_{os.getpid()}_{next(self._numbers)}"
        copy = f' template "{template}"' if template else ""
        await self._with_connection(lambda connection: connection.execute(f'create database "{name}"{copy}'))
        return urlunsplit(urlsplit(self._dsn)._replace(path=f"/{name}"))

    async def _drop(self, name: str) -> list[str]:
        async def look_and_drop(connection: asyncpg.Connection) -> list[str]:
            deadline = time.monotonic() + CLOSING_SECONDS_MAX
            # What a server knows of its connections can only be looked at, not waited for.
            while (left := await _connections_to(connection, name)) and time.monotonic() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)
            await connection.execute(f'drop database "{name}" with (force)')
            return left

        return await self._with_connection(look_and_drop)

    async def _fetch_version(self) -> str:
        return str(await self._with_connection(lambda connection: connection.fetchval("show server_version")))

    async def _with_connection(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        connection: asyncpg.Connection = await asyncpg.connect(self._dsn)
        try:
            return await work(connection)
        finally:
            await connection.close()


async def _connections_to(connection: asyncpg.Connection, database: str) -> list[str]:
    rows = await connection.fetch(
        "select application_name, state, query from pg_stat_activity where datname = $1 and backend_type = $2",
        database,
        "client backend",
    )
    return [f"Postgres connection '{row['application_name']}', {row['state']}: {row['query'][:100]}" for row in rows]


def _database_of(dsn: str) -> str:
    return urlsplit(dsn).path.removeprefix("/")


def empty_redis(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.flushdb()


def connections_left_in_redis(url: str) -> list[str]:
    with redis.Redis.from_url(url) as client:
        deadline = time.monotonic() + CLOSING_SECONDS_MAX
        while (left := _other_clients(client)) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
    return left


def _other_clients(client: redis.Redis) -> list[str]:
    own = client.client_id()
    database = str(client.get_connection_kwargs().get("db", 0))
    clients = [other for other in client.client_list() if other["id"] != str(own) and other["db"] == database]
    return [f"Redis connection '{other['name']}' from {other['addr']}, last: {other['cmd']}" for other in clients]


def redis_version(url: str) -> str:
    with redis.Redis.from_url(url) as client:
        facts = client.info("server")
    if "valkey_version" in facts:
        return f"Valkey {facts['valkey_version']}"
    return f"Redis {facts['redis_version']}"
