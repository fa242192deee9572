"""The loops on a real server that loses everything, is killed, or has its reads cut off: nothing stands still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import structlog
from redis.asyncio import Redis

from saga_service.base.lifecycle import Shutdown
from saga_service.local.servers.redis import EmbeddedRedis
from saga_service.runtime.intake import Intake
from saga_service.streams.connection import connect
from saga_service.streams.consumer import Consumer
from saga_service.streams.consumer_loop import ConsumerLoop, Pace
from saga_service.streams.publisher import RedisPublisher
from saga_service.wire.entries import Entry
from tests.support.fakes import BATCH_BYTES_MAX
from tests.support.waiting import eventually

STREAM, GROUP = "saga:events", "saga-service"
BLOCK_MS = 100


class Reading:
    """A consumer with the loop that reads it, as the service has them."""

    def __init__(self, url: str) -> None:
        self.blocking = connect(url, blocking_ms=BLOCK_MS, connections_max=1)
        self.client = connect(url)
        self.consumer = Consumer(self.blocking, self.client, STREAM, GROUP, "me")
        self.publisher = RedisPublisher(self.client, {STREAM: self.consumer})
        self.shutdown = Shutdown()
        self.intake = Intake(BATCH_BYTES_MAX, self.shutdown)
        self.inlet = self.intake.inlet(1_000)
        self.losses = 0
        self.lost = asyncio.Event()
        pace = Pace(read_block_ms=BLOCK_MS, reclaim_idle_ms=60_000, reclaim_period_ms=10, entries_max=100)
        self.loop = ConsumerLoop(
            self.consumer, self.inlet.room, self.inlet.put, pace, self.shutdown, on_mended=self._transport_lost
        )

    def _transport_lost(self) -> None:
        self.losses += 1
        self.lost.set()

    async def take(self, count: int) -> list[str]:
        """The next so many entries."""
        ids: list[str] = []
        async with asyncio.timeout(20):
            while len(ids) < count:
                ids += [item.id for item in await self.intake.take(count - len(ids)) if isinstance(item, Entry)]
        return ids


@pytest.fixture
async def reading(own_redis: EmbeddedRedis) -> AsyncIterator[Reading]:
    """Its loops run, and have told of the group that they made."""
    reading = Reading(own_redis.url)
    running = asyncio.create_task(reading.loop.run())
    async with asyncio.timeout(20):
        await reading.lost.wait()
    reading.lost.clear()
    yield reading
    reading.shutdown.request()
    async with asyncio.timeout(20):
        await running
    for client in (reading.blocking, reading.client):
        await client.aclose()


async def add(client: Redis, *names: str) -> list[str]:
    return [(await client.execute_command("XADD", STREAM, "*", "name", name)).decode() for name in names]


async def test_after_flushall_the_loss_is_reported_once_and_reading_goes_on(
    reading: Reading, own_client: Redis
) -> None:
    before = await add(own_client, "a", "b")
    assert await reading.take(2) == before
    await own_client.execute_command("FLUSHALL")
    after = await add(own_client, "c")
    assert await reading.take(1) == after
    assert reading.losses == 2, "the group that was made at the start, and this one"
    await own_client.execute_command("XACK", STREAM, GROUP, *after)
    assert (await own_client.execute_command("XPENDING", STREAM, GROUP))[0] == 0


async def test_an_entry_of_the_new_stream_may_have_the_id_of_an_old_one(reading: Reading, own_client: Redis) -> None:
    await own_client.execute_command("XADD", STREAM, "5-1", "name", "old")
    assert await reading.take(1) == ["5-1"]
    await own_client.execute_command("FLUSHALL")
    await own_client.execute_command("XADD", STREAM, "5-1", "name", "new")
    assert await reading.take(1) == ["5-1"]


async def test_an_entry_of_the_old_stream_acknowledges_none_of_the_new_one(reading: Reading, own_client: Redis) -> None:
    """Both have one id, and the new entry is in a batch that is not committed yet."""
    await own_client.execute_command("XADD", STREAM, "5-1", "name", "old")
    assert await reading.take(1) == ["5-1"]
    await own_client.execute_command("FLUSHALL")
    await own_client.execute_command("XADD", STREAM, "5-1", "name", "new")
    assert await reading.take(1) == ["5-1"]
    await reading.publisher.publish([], [(STREAM, ["5-1"])])
    assert (await own_client.execute_command("XPENDING", STREAM, GROUP))[0] == 1, "what is handled is the old entry"
    await reading.publisher.publish([], [(STREAM, ["5-1"])])
    assert (await own_client.execute_command("XPENDING", STREAM, GROUP))[0] == 0
    assert reading.consumer.outstanding == set()


async def test_two_entries_of_one_id_that_are_handled_in_one_batch_leave_nothing_pending(
    reading: Reading, own_client: Redis
) -> None:
    """A group that was removed and made anew delivers once more what is in hand."""
    [entry_id] = await add(own_client, "a")
    assert await reading.take(1) == [entry_id]
    await own_client.execute_command("XGROUP", "DESTROY", STREAM, GROUP)
    assert await reading.take(1) == [entry_id]
    await reading.publisher.publish([], [(STREAM, [entry_id, entry_id])])
    assert (await own_client.execute_command("XPENDING", STREAM, GROUP))[0] == 0
    assert reading.consumer.outstanding == set()


async def test_an_entry_of_a_stream_that_another_replica_made_anew_is_read_too(
    reading: Reading, own_client: Redis
) -> None:
    """All in one transaction, so that our reader never meets the loss."""
    await own_client.execute_command("XADD", STREAM, "5-1", "name", "old")
    assert await reading.take(1) == ["5-1"]
    pipeline = own_client.pipeline(transaction=True)
    pipeline.execute_command("FLUSHALL")
    pipeline.execute_command("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    pipeline.execute_command("XADD", STREAM, "5-1", "name", "new")
    await pipeline.execute()
    assert await reading.take(1) == ["5-1"]
    await reading.publisher.publish([], [(STREAM, ["5-1"])])
    assert (await own_client.execute_command("XPENDING", STREAM, GROUP))[0] == 1
    await reading.publisher.publish([], [(STREAM, ["5-1"])])
    assert (await own_client.execute_command("XPENDING", STREAM, GROUP))[0] == 0


async def test_what_producers_added_before_the_group_was_made_anew_is_read_too(
    reading: Reading, own_client: Redis
) -> None:
    pipeline = own_client.pipeline(transaction=True)
    pipeline.execute_command("FLUSHALL")
    for number in range(20):
        pipeline.execute_command("XADD", STREAM, "*", "n", number)
    replies = await pipeline.execute()
    assert await reading.take(20) == [entry_id.decode() for entry_id in replies[1:]]


async def test_a_loss_that_comes_again_and_again_is_met_each_time(reading: Reading, own_client: Redis) -> None:
    for number in range(5):
        async with asyncio.timeout(20):
            await own_client.execute_command("DEL", STREAM)
            await reading.lost.wait()
        reading.lost.clear()
        added = await add(own_client, str(number))
        assert await reading.take(1) == added
    assert reading.losses == 6


async def test_nothing_is_read_twice_after_the_server_was_killed(
    reading: Reading, own_redis: EmbeddedRedis, own_client: Redis
) -> None:
    await own_client.execute_command("CONFIG", "SET", "appendfsync", "always")
    before = await add(own_client, "a", "b")
    in_hand = await reading.take(2)
    assert in_hand == before
    await asyncio.to_thread(own_redis.kill)
    await asyncio.to_thread(own_redis.start)
    after = await add(own_client, "c")
    assert await reading.take(1) == after
    assert reading.consumer.outstanding == {*before, *after}


async def test_no_room_left_in_redis_keeps_nobody_from_reading(reading: Reading, own_client: Redis) -> None:
    added = await add(own_client, *"abc")
    await own_client.execute_command("CONFIG", "SET", "maxmemory", "1")
    assert await reading.take(3) == added
    await own_client.execute_command("CONFIG", "SET", "maxmemory", "0")
    added = await add(own_client, "d")
    assert await reading.take(1) == added


async def test_a_read_that_is_killed_on_the_server_over_and_over_strands_nothing(
    reading: Reading, own_client: Redis
) -> None:
    added: list[str] = []
    for number in range(60):
        added += await add(own_client, str(number))
        if number % 3 == 0:
            await own_client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert sorted(await reading.take(60)) == sorted(added)
    assert reading.consumer.outstanding == set(added)


async def test_a_stream_replaced_by_another_key_is_read_on_once_mended(reading: Reading, own_client: Redis) -> None:
    before = await add(own_client, "a")
    assert await reading.take(1) == before
    with structlog.testing.capture_logs() as logs:
        await own_client.execute_command("SET", STREAM, "not a stream")
        await eventually(lambda: [line for line in logs if line["log_level"] == "error"])
    await own_client.execute_command("DEL", STREAM)
    after = await add(own_client, "b")
    assert await reading.take(1) == after
