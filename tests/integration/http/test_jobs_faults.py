"""Jobs while a server is away: they wait, say so, and go on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from redis.asyncio import Redis

from saga_service.base.postgres import close_pool
from saga_service.local.servers import EmbeddedServers
from saga_service.store.pool import create_pool
from saga_service.store.schema.migrate import migrate
from saga_service.streams.connection import connect
from saga_service.wire.process_report import ProcessReport
from tests.integration.http.conftest import Api, open_api
from tests.integration.http.test_jobs import (
    CATALOG,
    ORDER,
    confirmed,
    ended,
    job_of,
    keep_letters,
    keep_orders,
    preview,
    preview_of_letters,
)
from tests.support.command_line import report
from tests.support.replica import answering, carrying_jobs
from tests.support.waiting import eventually

SAGAS = 200


@pytest.fixture
async def dsn(killable_servers: EmbeddedServers) -> str:
    await migrate(killable_servers.postgres_dsn)
    return killable_servers.postgres_dsn


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[asyncpg.Pool]:
    opened = await create_pool(dsn, 4)
    yield opened
    await close_pool(opened)


@pytest.fixture
async def client(killable_servers: EmbeddedServers) -> AsyncIterator[Redis]:
    opened = connect(killable_servers.redis_url)
    yield opened
    await opened.aclose()


@pytest.fixture
async def api(killable_servers: EmbeddedServers, dsn: str) -> AsyncIterator[Api]:
    async with open_api(dsn, killable_servers.redis_url) as opened:
        yield opened


async def test_a_postgres_that_goes_away_in_the_middle_costs_time_and_no_saga_its_operation(
    api: Api, killable_servers: EmbeddedServers, dsn: str, pool: asyncpg.Pool, client: Redis
) -> None:
    await keep_orders(dsn, SAGAS)
    job = await preview(api)
    await confirmed(api, job)
    async with answering(pool, CATALOG, [ORDER]), carrying_jobs(pool, client, open_max=10):

        async def some_are_paused() -> bool:
            return bool(0 < (await job_of(api, job))["applied"] < SAGAS)

        await eventually(some_are_paused)
        killable_servers.postgres.kill()
        away = await api.get(f"/v1/jobs/{job['id']}")
        assert (away.status_code, away.json()["type"]) == (503, "urn:saga-service:problem:unreachable")
        killable_servers.postgres.start()
        shown = await ended(api, job)

    assert (shown["applied"], shown["repeated"], shown["refused"], shown["open"]) == (SAGAS, 0, 0, 0)
    paused = await pool.fetch("select count(*) from saga.history where event = 'pause_requested' group by saga_id")
    assert [row["count"] for row in paused] == [1] * SAGAS


async def test_while_redis_is_away_a_replay_waits_and_says_so_and_then_goes_on(
    api: Api, killable_servers: EmbeddedServers, dsn: str, pool: asyncpg.Pool, client: Redis
) -> None:
    await keep_letters(dsn, *["saga:events"] * 3)
    await report(dsn, ProcessReport(kind="service", name="replica-1"))
    job = await preview_of_letters(api, "replay")
    killable_servers.redis.kill()
    await confirmed(api, job)
    async with carrying_jobs(pool, client):

        async def says_so() -> bool:
            return "Redis does not do its part" in ((await job_of(api, job))["problem"] or "")

        await eventually(says_so)
        killable_servers.redis.start()
        shown = await ended(api, job)
    assert (shown["applied"], shown["problem"]) == (3, None)
    assert await client.execute_command("XLEN", "saga:events") == 3
