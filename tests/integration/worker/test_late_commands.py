"""Commands that are too late for a worker, and those that it does not know, on a real server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from saga_service.base import clock
from saga_service.core.vocabulary import Outcome
from saga_service.local.servers.redis import EmbeddedRedis
from saga_service.streams.connection import connect
from saga_service.streams.pipeline import Command, add, send
from saga_service.wire.transport import TransportUnavailable
from saga_service.worker import Worker, WorkerOptions, run_workers
from saga_service.worker import handover as handover_module
from saga_service.worker.copies import MARK_KEPT_MS
from saga_service.worker.redis_clock import RedisClock
from tests.support.waiting import eventually
from tests.support.workers import GROUP, NAMES, STREAM, add_originals, message, replies_in

TOO_LATE_MS = -5_000


@pytest.fixture
def options(any_redis_url: str) -> WorkerOptions:
    return WorkerOptions(redis_url=any_redis_url, read_block_ms=100, reclaim_period_ms=100)


@asynccontextmanager
async def at_work(options: WorkerOptions, *types: str) -> AsyncIterator[list[str]]:
    """A worker with handlers of these types; the types that it carried out."""
    carried_out: list[str] = []
    worker = Worker("payment")

    def handle(command_type: str) -> None:
        @worker.handler(command_type)
        async def carry_out(data: dict[str, Any]) -> None:
            carried_out.append(command_type)

    for command_type in types:
        handle(command_type)
    stop = asyncio.Event()
    task = asyncio.create_task(run_workers([worker], replace(options, consumer_name=f"of {types}"), stop=stop))
    try:
        yield carried_out
    finally:
        stop.set()
        async with asyncio.timeout(20):
            await task


async def codes(client: Redis) -> list[str | None]:
    return [reply.fault.code if reply.fault else None for reply in await replies_in(client)]


def logs_in(folder: Path) -> list[Path]:
    return list(folder.rglob("*.aof"))


def is_in_time(flat: list[bytes]) -> bool:
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    return clock.now_ms() <= int(fields[b"deadline"])


async def nothing_is_pending(client: Redis) -> bool:
    rows = await client.execute_command("XINFO", "GROUPS", STREAM)
    if not rows:
        return False
    row = rows[0]
    group = dict(zip(row[::2], row[1::2], strict=True))
    last = (await client.execute_command("XREVRANGE", STREAM, "+", "-", "COUNT", 1))[0][0]
    return bool(group[b"pending"] == 0 and group[b"last-delivered-id"] == last)


async def test_a_command_that_is_read_after_its_deadline_is_said_never_to_have_begun(
    client: Redis, options: WorkerOptions
) -> None:
    await add_originals(client, *(message(number, deadline_in_ms=TOO_LATE_MS) for number in range(50)))
    async with at_work(options, "payment.charge") as carried_out:
        await eventually(lambda: nothing_is_pending(client))
    assert carried_out == []
    assert await codes(client) == ["not_begun_in_time"] * 50


async def test_nothing_is_said_of_a_late_copy_and_of_one_that_another_worker_was_given(
    client: Redis, options: WorkerOptions
) -> None:
    await client.execute_command("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    await add_originals(client, message(1, deadline_in_ms=TOO_LATE_MS))
    await client.execute_command("XREADGROUP", "GROUP", GROUP, "one that died", "STREAMS", STREAM, ">")
    await send(client, [add(message(2, deadline_in_ms=TOO_LATE_MS))])
    async with at_work(replace(options, reclaim_idle_ms=100), "payment.charge"):
        await eventually(lambda: nothing_is_pending(client))
    assert await codes(client) == []


async def test_nothing_is_said_where_redis_has_forgotten_who_was_given_a_command(
    own_redis: EmbeddedRedis, tmp_path: Path
) -> None:
    client = connect(own_redis.url)
    await client.execute_command("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    await add_originals(client, message(1, deadline_in_ms=2_000))
    # Redis may put a write off for as long as the disk is busy.
    await eventually(lambda: any(b"original" in file.read_bytes() for file in logs_in(tmp_path)))
    before = {file: file.stat().st_size for file in logs_in(tmp_path)}
    given = await client.execute_command("XREADGROUP", "GROUP", GROUP, "one that begins", "STREAMS", STREAM, ">")
    assert len(given[0][1]) == 1
    own_redis.kill()
    for file, size_bytes in before.items():
        os.truncate(file, size_bytes)
    own_redis.start()
    await eventually(lambda: not is_in_time(given[0][1][0][1]))
    options = WorkerOptions(redis_url=own_redis.url, read_block_ms=100, reclaim_period_ms=100)
    async with at_work(options, "payment.charge"):
        await eventually(lambda: nothing_is_pending(client))
    assert await codes(client) == []
    await client.aclose()


async def test_a_connection_that_is_made_anew_knows_the_new_run_of_the_server(own_redis: EmbeddedRedis) -> None:
    client, ids = connect(own_redis.url, knows_server=True, connections_max=1), []

    def ping(server_id: str | None) -> list[Command]:
        ids.append(server_id)
        return [("PING",)]

    for _ in range(2):
        await send(client, ping)
    assert ids[0] == ids[1] is not None
    own_redis.kill()
    own_redis.start()
    for _ in range(2):
        # The first try may find the link that is gone.
        with suppress(TransportUnavailable):
            await send(client, ping)
    await client.aclose()
    assert ids[-1] not in (ids[0], None)


async def test_a_copy_is_carried_out_and_its_late_original_is_not_denied(client: Redis, options: WorkerOptions) -> None:
    await send(client, [add(message(1))])
    await add_originals(client, message(1, deadline_in_ms=TOO_LATE_MS))
    async with at_work(options, "payment.charge") as carried_out:
        await eventually(lambda: nothing_is_pending(client))
    assert carried_out == ["payment.charge"]
    assert [reply.outcome for reply in await replies_in(client)] == [Outcome.SUCCEEDED]
    [mark] = await client.keys(NAMES.begun("*"))
    assert await client.pttl(mark) > MARK_KEPT_MS, "its original may lie unread for as long"


async def test_a_copy_waits_for_the_right_to_mark_it_and_what_is_missing_is_said_once(own_redis: EmbeddedRedis) -> None:
    """Begun without a mark, it would be denied by whoever reads its late original."""
    client = connect(own_redis.url)
    await client.execute_command("ACL", "SETUSER", "default", "-set")
    with capture_logs() as logs:
        async with at_work(WorkerOptions(redis_url=own_redis.url, read_block_ms=100), "payment.charge") as carried_out:
            await send(client, [add(message(1))])
            await add_originals(client, message(2))
            await eventually(lambda: replies_in(client))
            await eventually(lambda: [line for line in logs if "sent again is held up" in line["event"]])
            assert carried_out == ["payment.charge"]
            await client.execute_command("ACL", "SETUSER", "default", "+set")
            await eventually(lambda: carried_out == ["payment.charge"] * 2)
    await client.aclose()
    [said] = [line for line in logs if "sent again is held up" in line["event"]]
    assert "'set'" in said["error"]


async def test_a_command_that_is_in_time_by_redis_clock_is_carried_out_whatever_the_machine_s_clock_says(
    client: Redis, options: WorkerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis' clock is a minute behind this machine's."""
    monkeypatch.setattr(RedisClock, "now_ms", lambda _: clock.now_ms() - 60_000)
    await add_originals(client, message(1, deadline_in_ms=TOO_LATE_MS))
    async with at_work(options, "payment.charge") as carried_out:
        await eventually(lambda: nothing_is_pending(client))
    assert carried_out == ["payment.charge"]
    assert [reply.outcome for reply in await replies_in(client)] == [Outcome.SUCCEEDED]


async def test_redis_clock_is_asked_before_the_first_command_is_read(
    client: Redis, options: WorkerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine whose clock is a minute ahead."""

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    await send(client, [add(message(1, deadline_in_ms=30_000))])
    now_ms = clock.now_ms
    monkeypatch.setattr(clock, "now_ms", lambda: now_ms() + 60_000)
    monkeypatch.setattr(RedisClock, "run", never)
    async with at_work(options, "payment.charge") as carried_out:
        await eventually(lambda: nothing_is_pending(client))
    assert carried_out == ["payment.charge"]


async def test_a_command_that_one_worker_does_not_know_is_carried_out_by_another(
    client: Redis, options: WorkerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover_module, "PAUSE_S_MAX", 0.05)
    monkeypatch.setattr(handover_module, "PAUSE_S_MIN", 0.01)
    async with at_work(options, "payment.charge") as old:
        await send(client, [add(message(number, command_type="payment.refund")) for number in range(20)])
        await send(client, [add(message(100))])
        await eventually(lambda: len(old) == 1)
        async with at_work(options, "payment.charge", "payment.refund") as new:
            await eventually(lambda: nothing_is_pending(client))
    assert sorted(new) == ["payment.refund"] * 20
    assert {reply.outcome for reply in await replies_in(client)} == {Outcome.SUCCEEDED}
    assert len(await replies_in(client)) == 21
