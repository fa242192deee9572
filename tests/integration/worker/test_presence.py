"""A worker that runs says so in Redis, and works on where it may not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from saga_service.local.servers.redis import EmbeddedRedis
from saga_service.streams.connection import connect
from saga_service.streams.process_registry import ProcessRegistry
from saga_service.wire.process_report import ProcessReport
from saga_service.worker import Worker, WorkerOptions, run_workers
from tests.support.waiting import eventually
from tests.support.workers import NAMES, add_originals, message, replies_in


@asynccontextmanager
async def working(redis_url: str) -> AsyncIterator[None]:
    worker = Worker("payment", concurrency=3)

    @worker.handler("payment.charge")
    async def charge(data: dict[str, object]) -> None:
        return

    options, stop = WorkerOptions(redis_url=redis_url, consumer_name="w-1", read_block_ms=100), asyncio.Event()
    task = asyncio.create_task(run_workers([worker], options, stop=stop))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(20):
            await task


async def reported(client: Redis) -> list[ProcessReport]:
    return [found.report for found in await ProcessRegistry(client, NAMES).reports()]


async def test_a_worker_says_what_it_reads_and_which_handlers_it_has(any_redis_url: str, client: Redis) -> None:
    async with working(any_redis_url):
        await eventually(lambda: reported(client))
        [report] = await reported(client)
    assert (report.name, report.kind, report.slots, report.in_flight) == ("w-1", "worker", 3, 0)
    assert report.reads == [{"stream": "saga:commands:payment", "group": "payment"}]
    [service] = report.services
    assert (service["service"], [handler["type"] for handler in service["handlers"]]) == ("payment", ["payment.charge"])


async def test_a_worker_that_ends_in_good_order_says_so(any_redis_url: str, client: Redis) -> None:
    async with working(any_redis_url):
        await eventually(lambda: reported(client))
    assert [report.has_stopped for report in await reported(client)] == [True]


@pytest.mark.parametrize("right", ["set", "zadd"])
async def test_a_worker_that_may_not_report_says_so_once_and_works_on(own_redis: EmbeddedRedis, right: str) -> None:
    client = connect(own_redis.url)
    try:
        await client.execute_command("ACL", "SETUSER", "default", f"-{right}")
        with capture_logs() as logs:
            async with working(own_redis.url):
                await add_originals(client, message(1))
                await eventually(lambda: replies_in(client))
        refused = [line for line in logs if line["event"].startswith("this process cannot report to redis")]
        assert len(refused) == 1
        assert "+zadd" in refused[0]["rights_needed"]
    finally:
        await client.aclose()
