"""Many commands in one round trip on a real server, and what is left of a connection when it goes wrong."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import ReadOnlyError

from saga_service.local.servers.redis import EmbeddedRedis
from saga_service.streams import connection
from saga_service.streams.connection import connect
from saga_service.streams.consumer import Consumer
from saga_service.streams.pipeline import Command, acknowledge, add, send
from saga_service.wire.entries import Message
from saga_service.wire.transport import StreamRefused, TransportError, TransportUnavailable
from tests.support.waiting import eventually

CONNECTIONS_MAX = 4


@pytest.fixture
async def shared(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url, connections_max=CONNECTIONS_MAX)
    yield client
    await client.aclose()


def echoes(*words: str) -> list[Command]:
    return [("ECHO", word) for word in words]


async def test_every_reply_stands_in_the_place_of_its_command(client: Redis) -> None:
    replies = await send(client, [*echoes("a", "b"), ("PING",), ("INCRBY", "n", 3), ("GET", b"\xff")])
    assert replies == [b"a", b"b", b"PONG", 3, None]


async def test_nothing_to_send_asks_nothing() -> None:
    nowhere = connect("redis://127.0.0.1:1")
    assert await send(nowhere, []) == []


async def test_a_refused_command_takes_no_other_with_it(client: Redis) -> None:
    await client.execute_command("SET", "text", "1")
    message = Message("text", ("a", "b"))
    replies = await send(client, [add(message), ("ECHO", "a"), acknowledge("no stream", "g", ["1-0"]), ("NONSENSE",)])
    assert isinstance(replies[0], StreamRefused)
    assert "WRONGTYPE" in str(replies[0])
    assert replies[1:3] == [b"a", 0]
    assert isinstance(replies[3], StreamRefused)


async def test_a_message_is_added_as_it_is(client: Redis) -> None:
    fields = ("name", "Zoë ✓", "empty", "", "long", "x" * 100_000)
    await send(client, [add(Message("stream", fields))])
    [[_, flat]] = await client.execute_command("XRANGE", "stream", "-", "+")
    assert [part.decode() for part in flat] == list(fields)


async def test_thousands_of_messages_of_some_size_go_in_one_round_trip(client: Redis) -> None:
    messages = [Message("stream", ("n", str(number), "data", "x" * 2_000)) for number in range(5_000)]
    replies = await send(client, [add(message) for message in messages])
    assert len(set(map(str, replies))) == 5_000
    assert await client.execute_command("XLEN", "stream") == 5_000


async def test_pipelines_one_after_the_other_share_a_connection(shared: Redis) -> None:
    """A connection is dropped for replies that are still to come, and for nothing else."""
    first, second = [await send(shared, [("CLIENT", "ID")]) for _ in range(2)]
    assert first == second


async def test_a_wait_for_a_connection_that_others_keep_ends_as_an_outage(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "POOL_LOOK_S", 0.01)
    monkeypatch.setattr(connection, "POOL_WAIT_S", 0.02)
    client = connect(redis_url, connections_max=1)
    held = await client.connection_pool.get_connection()
    async with asyncio.timeout(10):
        with pytest.raises(TransportUnavailable):
            await send(client, echoes("a"))
    await client.connection_pool.release(held)
    await client.aclose()


async def test_a_connection_that_nobody_was_told_of_is_found_all_the_same(redis_url: str) -> None:
    """Before Python 3.13 a waiter that is cancelled at the wrong moment takes the word of it with it."""
    client = connect(redis_url, connections_max=1)
    pool = client.connection_pool
    assert isinstance(pool, BlockingConnectionPool)
    held = await pool.get_connection()
    waiting = asyncio.create_task(send(client, echoes("a")))
    await eventually(lambda: pool._condition._waiters, what="it waits for the connection")
    pool._condition.notify = lambda n=1: None  # type: ignore[method-assign]  # so the word is lost
    await pool.release(held)
    async with asyncio.timeout(5):
        assert await waiting == [b"a"]
    await client.aclose()


async def test_cancellations_mix_up_no_replies_and_leak_no_connection(shared: Redis, random_seed: int) -> None:
    chance = random.Random(random_seed)
    cancelled = 0

    async def ask(number: int) -> None:
        words = [f"{number}-{place}" for place in range(chance.randint(1, 30))]
        assert await send(shared, echoes(*words)) == [word.encode() for word in words]

    while cancelled < 2_000:
        tasks = [asyncio.create_task(ask(number)) for number in range(10)]
        victims = [task for task in tasks if chance.random() < 0.8]
        for task in victims:
            for _ in range(chance.randint(0, 4)):
                await asyncio.sleep(0)
            task.cancel()
        async with asyncio.timeout(15):
            results = await asyncio.gather(*tasks, return_exceptions=True)
        cancelled += sum(isinstance(result, asyncio.CancelledError) for result in results)
        wrong = [result for result in results if result is not None and not isinstance(result, asyncio.CancelledError)]
        assert wrong == []
    async with asyncio.timeout(15):
        together = await asyncio.gather(*(send(shared, echoes(str(number))) for number in range(50)))
    assert together == [[str(number).encode()] for number in range(50)]
    assert shared.connection_pool._in_use_connections == set()
    assert len(shared.connection_pool._available_connections) <= CONNECTIONS_MAX


@pytest.mark.parametrize("doing", ["sending", "reading", "reclaiming", "handing back"])
async def test_a_loop_that_is_cancelled_ends_whatever_it_was_doing(redis_url: str, doing: str) -> None:
    """Before Python 3.12 the client loses a cancellation that comes just as its writing is done."""
    client = connect(redis_url, blocking_ms=50, connections_max=1)
    reader = Consumer(client, client, "stream", "group", "me")
    await reader.ensure_group()

    async def once() -> None:
        match doing:
            case "sending":
                await send(client, echoes("a"))
            case "reading":
                await reader.read(1, 1)
            case "reclaiming":
                await reader.reclaim(1, 0)
            case _:
                await reader.hand_back(["1-0"])

    async def for_ever() -> None:
        while True:
            await once()

    try:
        for number in range(300):
            task = asyncio.create_task(for_ever())
            for _ in range(number % 50):
                await asyncio.sleep(0)
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=5)
            assert done, f"it goes on though it was cancelled after {number % 50} turns"
            assert task.cancelled()
    finally:
        task.cancel()
        await client.aclose()


async def test_what_is_done_after_a_cancellation_is_not_cut_off_by_it(client: Redis) -> None:
    """Tidying up: the cancellation was heard, and its task has something left to do."""
    tidied: list[object] = []

    async def work() -> None:
        try:
            await asyncio.sleep(3_600)
        finally:
            tidied.extend(await send(client, echoes("tidied")))

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert tidied == [b"tidied"]
    assert task.cancelled()


async def test_late_replies_of_a_slow_server_are_taken_for_no_others(
    own_redis: EmbeddedRedis, own_client: Redis
) -> None:
    impatient = connect(own_redis.url, connections_max=1)
    impatient.connection_pool.connection_kwargs["socket_timeout"] = 0.1
    try:
        assert await send(impatient, echoes("before")) == [b"before"]
        await own_client.execute_command("CLIENT", "PAUSE", 400)
        with pytest.raises(TransportError):
            await send(impatient, [("INCR", "n"), *echoes("late")])
        async with asyncio.timeout(10):
            assert await _once_it_answers(impatient) == [b"after"]
    finally:
        await impatient.aclose()


async def _once_it_answers(client: Redis) -> list[object]:
    while True:
        try:
            return await send(client, echoes("after"))
        except TransportError:
            continue


async def test_a_server_that_was_killed_is_an_error_and_the_next_one_is_used(
    own_redis: EmbeddedRedis, own_client: Redis
) -> None:
    assert await send(own_client, echoes("before")) == [b"before"]
    await asyncio.to_thread(own_redis.kill)
    with pytest.raises(TransportError):
        await send(own_client, echoes("during"))
    await asyncio.to_thread(own_redis.start)
    assert await send(own_client, echoes("after")) == [b"after"]


@pytest.mark.parametrize("how", ["pipeline", "command"])
async def test_the_connection_to_what_is_a_master_no_more_is_dropped(own_client: Redis, how: str) -> None:
    """An address may lead to the new master; a connection that is kept never finds out."""
    connection = await _connection_id(own_client)
    await own_client.execute_command("REPLICAOF", "127.0.0.1", "1")
    if how == "pipeline":
        [refused] = await send(own_client, [add(Message("stream", ("a", "b")))])
        assert isinstance(refused, TransportUnavailable)
    else:
        with pytest.raises(ReadOnlyError):
            await own_client.execute_command("XADD", "stream", "*", "a", "b")
    assert await _connection_id(own_client) != connection


async def _connection_id(client: Redis) -> object:
    return await client.execute_command("CLIENT", "ID")


# -------------------------------------------------------------------------------------------------------- the address


async def test_the_addresss_own_options_cannot_undo_ours(any_redis_url: str) -> None:
    client = connect(f"{any_redis_url}?protocol=3&decode_responses=yes&socket_timeout=0.01&max_connections=1&timeout=1")
    try:
        assert await client.execute_command("CONFIG", "GET", "maxmemory-policy") == [b"maxmemory-policy", b"noeviction"]
        assert client.connection_pool.max_connections == 8
        assert client.connection_pool.connection_kwargs["socket_timeout"] == 5.0
    finally:
        await client.aclose()


async def test_a_unix_socket_is_an_address_too(own_redis: EmbeddedRedis) -> None:
    path = own_redis._data / "redis.sock"
    assert len(str(path)) < 100, "longer ones are not to be had"
    own_redis.stop()
    own_redis._process.start([*own_redis._command(), "--unixsocket", path], own_redis._answers)
    client = connect(f"unix://{path}")
    try:
        assert await send(client, echoes("a")) == [b"a"]
    finally:
        await client.aclose()
