"""`doctor` on who is alive, on groups that nobody reads, and with users that may see only a part."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis import Redis

from saga_service import Saga, Step
from saga_service.definitions import check_saga
from saga_service.engine.ports import Batch
from saga_service.local.servers.redis import EmbeddedRedis
from saga_service.wire.process_report import ProcessReport
from tests.support.command_line import Ran, report, run_aside, store

SERVICE = ProcessReport(kind="service", name="s-1", definitions={"order": "v1"}, clock_ahead_ms=0)
ORDER = check_saga(Saga("order", steps=[Step("charge", action="payment.charge")]))
OURS = ("saga:events", "saga:replies", "saga:dead-letter")


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, postgres_dsn: str, redis_url: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAGA_POSTGRES_DSN", postgres_dsn)
    monkeypatch.setenv("SAGA_REDIS_URL", redis_url)


@pytest.fixture
async def running(postgres_dsn: str, redis_url: str) -> AsyncIterator[Redis]:
    """A deployment whose service is alive and reads, and that has nothing to do."""
    await report(postgres_dsn, SERVICE)
    with Redis.from_url(redis_url) as client:
        for stream in OURS:
            client.xgroup_create(stream, "saga-service", "0", mkstream=True)
        yield client


def findings_of(ran: Ran, check: str) -> list[dict[str, Any]]:
    return [finding for finding in ran.json if finding["check"] == check]


def problems(ran: Ran) -> list[tuple[str, str, str]]:
    return [(each["check"], each["text"], each["advice"]) for each in ran.json if each["verdict"] == "problem"]


async def test_a_deployment_that_runs_has_no_problem_and_is_named(running: Redis) -> None:
    ran = await run_aside("doctor", "--json")
    assert problems(ran) == []
    assert findings_of(ran, "replicas")[0]["text"] == "1 alive: s-1"
    assert findings_of(ran, "clocks")[0]["text"].startswith("agree within 2 s")


async def test_a_database_of_another_deployment_is_named(
    running: Redis, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute(
        "insert into saga_private.deployment (stream_prefix, consumer_group) values ('saga:', 'g')"
    )
    await connection.close()
    monkeypatch.setenv("SAGA_CONSUMER_GROUP", "g")
    assert "deployment" not in [check for check, *_ in problems(await run_aside("doctor", "--json"))]
    monkeypatch.setenv("SAGA_STREAM_PREFIX", "billing:")
    [(text, advice)] = [rest for check, *rest in problems(await run_aside("doctor", "--json")) if check == "deployment"]
    assert text.startswith(
        "the database belongs to SAGA_STREAM_PREFIX=saga: and SAGA_CONSUMER_GROUP=g, and here they are "
    )
    assert advice == "set these here, or give this deployment a database of its own"


async def test_a_service_without_workers_is_found_until_somebody_reads_its_stream(
    running: Redis, postgres_dsn: str
) -> None:
    await store(postgres_dsn, Batch(), ORDER.document)
    without = await run_aside("doctor", "--json")
    running.xgroup_create("saga:commands:payment", "payment", "0", mkstream=True)
    # Redis 7.0 knows a consumer from its first entry on.
    entry_id = running.xadd("saga:commands:payment", {"n": 1})
    running.xreadgroup("payment", "in-another-language", {"saga:commands:payment": ">"})
    running.xack("saga:commands:payment", "payment", entry_id)
    read = await run_aside("doctor", "--json")

    assert [check for check, *_ in problems(without)] == ["handlers"]
    assert "payment" in problems(without)[0][1]
    assert problems(read) == []


async def test_a_clock_that_is_ahead_is_named(running: Redis, postgres_dsn: str) -> None:
    await report(postgres_dsn, ProcessReport(kind="worker", name="w-1", clock_ahead_ms=30_000))
    ran = await run_aside("doctor", "--json")
    [(check, text, _)] = problems(ran)
    assert (check, text) == ("clocks", "differ from Redis': worker w-1 30.0 s ahead")


@pytest.mark.parametrize("stream", ["saga:replies", "saga:outcomes", "saga:commands:payment"])
async def test_a_group_that_nobody_reads_and_that_keeps_a_stream_is_named_with_the_command_that_removes_it(
    running: Redis, stream: str
) -> None:
    long_ago_ms = time.time_ns() // 1_000_000 - 600_000
    own = "payment" if "commands" in stream else "saga-service"
    for number in (1, 2):
        running.xadd(stream, {"n": number}, id=f"{long_ago_ms}-{number}")
    if stream != "saga:outcomes":
        running.xgroup_create(stream, own, "$") if "commands" in stream else running.xgroup_setid(stream, own, "$")
    running.xgroup_create(stream, "an old audit", "0")

    ran = await run_aside("doctor", "--json")

    [(text, advice)] = [(text, advice) for check, text, advice in problems(ran) if check == stream]
    assert text.startswith("nobody reads group 'an old audit': ")
    assert "unread, the oldest since 10 min" in text
    assert advice.endswith(f"redis-cli XGROUP DESTROY {stream} 'an old audit'")


async def test_a_group_of_others_that_is_read_is_only_told_to_be_behind(running: Redis) -> None:
    running.xadd("saga:replies", {"n": 1}, id=f"{time.time_ns() // 1_000_000 - 600_000}-1")
    running.xgroup_setid("saga:replies", "saga-service", "$")
    running.xgroup_create("saga:replies", "audit", "0")
    running.xreadgroup("audit", "slow", {"saga:replies": ">"})

    [(_, text, advice)] = problems(await run_aside("doctor", "--json"))

    assert text == "group 'audit': none unread, 1 pending, the oldest since 10 min"
    assert "XGROUP DESTROY" not in advice


@pytest.mark.parametrize(
    ("right", "check", "still_seen"),
    [
        ("info", "redis version", "saga:replies"),
        ("xinfo", "streams", "redis"),
        ("scan", "streams of commands", "saga:replies"),
        ("command", "redis", "saga:replies"),
        ("config", None, "redis"),
        ("time", None, "saga:replies"),
    ],
)
async def test_a_redis_user_without_a_right_sees_the_rest_and_is_told_which_right(
    own_redis: EmbeddedRedis,
    postgres_dsn: str,
    monkeypatch: pytest.MonkeyPatch,
    right: str,
    check: str | None,
    still_seen: str,
) -> None:
    await report(postgres_dsn, SERVICE)
    with Redis.from_url(own_redis.url) as client:
        for stream in OURS:
            client.xgroup_create(stream, "saga-service", "0", mkstream=True)
        client.execute_command("ACL", "SETUSER", "default", f"-{right}")
    monkeypatch.setenv("SAGA_REDIS_URL", own_redis.url)

    ran = await run_aside("doctor", "--json")

    assert findings_of(ran, still_seen)
    assert [found for found, *_ in problems(ran)] == ([] if check is None else [check])
    if check is not None:
        [(_, text, advice)] = problems(ran)
        assert f"'{right}" in text
        assert f"ACL SETUSER <user> +{right}" in advice
        assert "password" not in f"{text}{advice}"


async def test_a_role_that_may_only_read_sees_all_that_the_views_tell(
    running: Redis, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGA_POSTGRES_DSN", f"{postgres_dsn}{'&' if '?' in postgres_dsn else '?'}role=saga_reader")

    ran = await run_aside("doctor", "--json")

    assert {check for check, *_ in problems(ran)} == {"schema"}
    assert findings_of(ran, "stuck sagas")[0]["text"] == "none"
    assert findings_of(ran, "replicas")[0]["text"] == "1 alive: s-1"


async def test_a_redis_user_who_may_not_list_streams_sees_those_of_the_services_that_are_needed(
    own_redis: EmbeddedRedis, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await report(postgres_dsn, SERVICE)
    await store(postgres_dsn, Batch(), ORDER.document)
    with Redis.from_url(own_redis.url) as client:
        client.xgroup_create("saga:commands:payment", "payment", "0", mkstream=True)
        client.execute_command("ACL", "SETUSER", "default", "-scan")
    monkeypatch.setenv("SAGA_REDIS_URL", own_redis.url)

    [finding] = findings_of(await run_aside("doctor", "--json"), "saga:commands:payment")

    assert finding["text"] == "group 'payment': none unread, none pending"
