"""Parts of the service on real servers; Redis in two versions, the ladder's and the oldest that the service works with.

- `client`     a client of an empty Redis; the test runs once for each version
- `own_redis`  a Redis of the test's own, to configure, kill and start again; once for each version
- `pool`       connections to a fresh database with all migrations applied
- `store`      the store on it, which reads every stored definition as the order saga
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from saga_service.base.postgres import close_pool
from saga_service.local.servers.programs import redis_server
from saga_service.local.servers.redis import EmbeddedRedis
from saga_service.store.pool import create_pool
from saga_service.store.postgres_store import PostgresStore
from saga_service.streams.connection import connect
from tests.support.databases import connections_left_in_redis, empty_redis
from tests.support.floor_redis import floor_redis_server
from tests.support.store_batches import ORDER

LADDER, FLOOR = "the ladder's Redis", "Redis 6.2"
POSTGRES_CONNECTIONS_MAX = 4


@pytest.fixture(scope="session")
def floor_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path_factory.mktemp("floor"), floor_redis_server())
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=[LADDER, FLOOR])
def any_redis_url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == LADDER:
        yield request.getfixturevalue("redis_url")
        return
    url = request.getfixturevalue("floor_redis").url
    empty_redis(url)
    yield url
    left = connections_left_in_redis(url)
    assert not left, f"the test left open: {left}"


@pytest.fixture
async def client(any_redis_url: str) -> AsyncIterator[Redis]:
    client = connect(any_redis_url)
    yield client
    await client.aclose()


@pytest.fixture(params=["Valkey", FLOOR])
def own_redis(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path, redis_server() if request.param == "Valkey" else floor_redis_server())
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def own_client(own_redis: EmbeddedRedis) -> AsyncIterator[Redis]:
    client = connect(own_redis.url)
    yield client
    await client.aclose()


@pytest.fixture
async def pool(postgres_dsn: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await create_pool(postgres_dsn, POSTGRES_CONNECTIONS_MAX)
    yield pool
    await close_pool(pool)


@pytest.fixture
def store(pool: asyncpg.Pool) -> PostgresStore:
    return PostgresStore(pool, lambda document: ORDER)
