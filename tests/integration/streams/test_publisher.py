"""Publishing on a real server that has no room, goes away, or has a key of another type in the way."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from saga_service.local.servers.redis import EmbeddedRedis
from saga_service.streams.consumer import Consumer
from saga_service.streams.publisher import RedisPublisher
from saga_service.wire.entries import Message
from tests.support.fakes import backoffs
from tests.support.waiting import eventually

__all__ = ["backoffs"]

EVENTS, COMMANDS = "saga:events", "saga:commands:payment"


class Publishing:
    """A reader with three entries in hand, and the publisher that will acknowledge them."""

    def __init__(self, client: Redis) -> None:
        self.client = client
        self.reader = Consumer(client, client, EVENTS, "saga-service", "me")
        self.publisher = RedisPublisher(client, {EVENTS: self.reader})
        self.in_hand: list[str] = []

    async def begin(self) -> Publishing:
        await self.reader.ensure_group()
        for name in "abc":
            await self.client.execute_command("XADD", EVENTS, "*", "name", name)
        while len(self.in_hand) < 3:
            self.in_hand += [entry.id for entry in await self.reader.read(10, 1)]
        return self

    def publish(self, *streams: str) -> asyncio.Task[list[Message]]:
        messages = [Message(stream, ("n", str(number))) for number, stream in enumerate(streams)]
        return asyncio.create_task(self.publisher.publish(messages, [(EVENTS, self.in_hand)]))

    async def pending(self) -> int:
        summary = await self.client.execute_command("XPENDING", EVENTS, "saga-service")
        return int(summary[0])

    async def added(self, stream: str) -> list[str]:
        return [flat[1].decode() for _, flat in await self.client.execute_command("XRANGE", stream, "-", "+")]


@pytest.fixture
async def publishing(own_client: Redis) -> Publishing:
    return await Publishing(own_client).begin()


async def test_messages_are_there_in_their_order_and_nothing_is_pending(publishing: Publishing) -> None:
    assert await publishing.publish(*[COMMANDS] * 50) == []
    assert await publishing.added(COMMANDS) == [str(number) for number in range(50)]
    assert await publishing.pending() == 0
    assert publishing.reader.outstanding == set()


async def test_out_of_memory_messages_wait_and_acknowledgements_go_through(
    publishing: Publishing,
) -> None:
    await publishing.client.execute_command("CONFIG", "SET", "maxmemory", "1")
    task = publishing.publish(*[COMMANDS] * 20)
    await eventually(lambda: publishing.reader.outstanding == set())
    assert await publishing.pending() == 0
    assert await publishing.added(COMMANDS) == []
    assert not task.done()
    await publishing.client.execute_command("CONFIG", "SET", "maxmemory", "0")
    async with asyncio.timeout(20):
        assert await task == []
    assert await publishing.added(COMMANDS) == [str(number) for number in range(20)]


async def test_a_key_of_another_type_keeps_one_message_out_and_no_other(
    publishing: Publishing, backoffs: list[float]
) -> None:
    await publishing.client.execute_command("SET", "saga:commands:broken", "text")
    left = await publishing.publish(COMMANDS, "saga:commands:broken", COMMANDS)
    assert [message.stream for message in left] == ["saga:commands:broken"]
    assert await publishing.added(COMMANDS) == ["0", "2"]
    assert await publishing.pending() == 0
    assert publishing.reader.outstanding == set()
    assert backoffs == []


async def test_a_server_that_is_killed_and_comes_back_has_everything_in_the_end(
    publishing: Publishing, own_redis: EmbeddedRedis
) -> None:
    await publishing.client.execute_command("CONFIG", "SET", "appendfsync", "always")
    await publishing.client.execute_command("SET", "a write", "that makes the file whole")
    await asyncio.to_thread(own_redis.kill)
    task = publishing.publish(COMMANDS, COMMANDS)
    await asyncio.to_thread(own_redis.start)
    async with asyncio.timeout(20):
        assert await task == []
    assert set(await publishing.added(COMMANDS)) == {"0", "1"}
    assert await publishing.pending() == 0
    assert publishing.reader.outstanding == set()


async def test_a_read_only_replica_is_waited_for_until_it_is_the_master(
    publishing: Publishing,
) -> None:
    await publishing.client.execute_command("REPLICAOF", "127.0.0.1", "1")
    task = publishing.publish(COMMANDS)
    refused = await publishing.client.execute_command("INFO", "errorstats")
    assert refused is not None
    await eventually(lambda: _readonly_errors(publishing.client), what="a refusal")
    assert publishing.reader.outstanding == set(publishing.in_hand)
    await publishing.client.execute_command("REPLICAOF", "NO", "ONE")
    async with asyncio.timeout(20):
        assert await task == []
    assert await publishing.added(COMMANDS) == ["0"]
    assert await publishing.pending() == 0


async def _readonly_errors(client: Redis) -> bool:
    return b"errorstat_READONLY" in await client.execute_command("INFO", "errorstats")


async def test_a_group_that_vanished_with_entries_in_hand_holds_up_nothing(publishing: Publishing) -> None:
    await publishing.client.execute_command("FLUSHDB")
    async with asyncio.timeout(20):
        assert await publishing.publish(COMMANDS) == []
    assert await publishing.added(COMMANDS) == ["0"]
    assert publishing.reader.outstanding == set()
