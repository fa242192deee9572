"""The registry of workers in Redis: alive while they report, gone by themselves, whatever strangers leave there."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from saga_service.local.servers.redis import EmbeddedRedis
from saga_service.streams.connection import connect
from saga_service.streams.process_registry import NAME_KEPT_MS, REPORT_EXPIRES_MS, ProcessRegistry, own_report
from saga_service.wire.process_report import ProcessReport, write_process_report
from saga_service.wire.transport import StreamNames, StreamRefused

NAMES = StreamNames("shop:")


def worker(name: str = "w-1", **more: object) -> ProcessReport:
    return own_report("worker", name, reads=[("shop:commands:payment", "payment")], **more)


async def test_a_worker_that_reports_is_known_with_all_that_it_says(client: Redis) -> None:
    registry = ProcessRegistry(client, NAMES)
    await registry.report(worker(slots=64, in_flight=3))

    [found] = await registry.reports()

    assert (found.report.name, found.report.slots, found.report.in_flight) == ("w-1", 64, 3)
    assert found.report.reads == [{"stream": "shop:commands:payment", "group": "payment"}]
    assert 0 <= found.age_ms < 5_000
    assert found.report.clock_ahead_ms is not None
    assert abs(found.report.clock_ahead_ms) < 1_000, "one machine has one clock"


async def test_a_report_expires_by_itself_and_a_name_is_forgotten(client: Redis) -> None:
    registry = ProcessRegistry(client, NAMES)
    await client.zadd("shop:processes", {"long-dead": 5})
    await registry.report(worker())

    assert 0 < await client.pttl("shop:process:w-1") <= REPORT_EXPIRES_MS
    assert await client.zrange("shop:processes", 0, -1) == [b"w-1"]
    await client.delete("shop:process:w-1")
    assert await registry.reports() == []


async def test_a_name_is_there_with_the_first_report_and_no_longer_than_reports_last(client: Redis) -> None:
    registry = ProcessRegistry(client, NAMES)
    assert await registry.names() == set()
    await registry.report(worker())
    assert await registry.names() == {"w-1"}
    await client.zincrby("shop:processes", -REPORT_EXPIRES_MS - 1_000, "w-1")
    assert await registry.names() == set()


async def test_the_last_report_takes_the_place_of_the_one_before(client: Redis) -> None:
    registry = ProcessRegistry(client, NAMES)
    await registry.report(worker())
    await registry.report(worker(has_stopped=True))

    assert [found.report.has_stopped for found in await registry.reports()] == [True]


async def test_deployments_of_two_prefixes_know_nothing_of_each_other(client: Redis) -> None:
    await ProcessRegistry(client, StreamNames("other:")).report(worker())
    assert await ProcessRegistry(client, NAMES).reports() == []


async def test_what_strangers_leave_there_hides_no_worker(client: Redis) -> None:
    registry = ProcessRegistry(client, NAMES)
    await registry.report(worker())
    [seconds, _] = await client.execute_command("TIME")
    now_ms = int(seconds) * 1000
    for name, written in {
        "garbage": b"\xff\x00{",
        "borrowed": write_process_report(worker("w-1")),
        "service": write_process_report(own_report("service", "service", reads=[])),
        "\\xff": b"{}",
    }.items():
        await client.zadd("shop:processes", {name: now_ms})
        await client.set(f"shop:process:{name}", written)

    assert [found.report.name for found in await registry.reports()] == ["w-1"]


async def test_a_user_that_may_not_ask_for_the_time_reports_all_the_same(own_redis: EmbeddedRedis) -> None:
    admin = connect(own_redis.url)
    try:
        await admin.execute_command("ACL", "SETUSER", "default", "-time")
        registry = ProcessRegistry(admin, NAMES)
        await registry.report(worker())
        assert b"w-1" in await admin.zrange("shop:processes", 0, -1)
    finally:
        await admin.execute_command("ACL", "SETUSER", "default", "+time")
        await admin.aclose()


async def test_a_user_without_the_rights_is_refused_by_name(own_redis: EmbeddedRedis) -> None:
    admin = connect(own_redis.url)
    try:
        await admin.execute_command("ACL", "SETUSER", "default", "-zadd")
        with pytest.raises(StreamRefused, match=r"(?i)zadd|permissions"):
            await ProcessRegistry(admin, NAMES).report(worker())
    finally:
        await admin.execute_command("ACL", "SETUSER", "default", "+zadd")
        await admin.aclose()


async def test_many_workers_report_at_once(client: Redis) -> None:
    registry = ProcessRegistry(client, NAMES)
    await asyncio.gather(*(registry.report(worker(f"w-{number}")) for number in range(20)))
    assert len(await registry.reports()) == 20
    assert NAME_KEPT_MS > REPORT_EXPIRES_MS
