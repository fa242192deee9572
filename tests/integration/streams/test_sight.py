"""Looks at streams, on servers that count additions and on such as do not.

Postgres is told of what is there, and how far the group is on those whose entries may start sagas.
"""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from saga_service.streams.sight import StreamSight, UnhandledStarts, WatchedStream, watched_streams
from saga_service.wire.transport import SeenStream, StreamNames

STREAM, GROUP = "saga:replies", "saga-service"
EVENTS, ORDERS = "saga:events", "orders"
NOW_MS = 1_000_000


@pytest.fixture
def sight(client: Redis) -> StreamSight:
    return StreamSight(client, [WatchedStream(STREAM, "*", GROUP)])


async def look(sight: StreamSight) -> SeenStream:
    [seen] = await sight.look()
    return seen


async def test_a_stream_that_is_not_there_has_nothing(sight: StreamSight) -> None:
    seen = await look(sight)
    assert seen._replace(at_us=0) == SeenStream(STREAM, "*", 0, False, "0-0", None, 0, "0-0")


async def test_a_stream_is_seen_with_its_group_its_ids_and_its_additions(client: Redis, sight: StreamSight) -> None:
    for entry_id in ("5-1", "6-0", "7-3"):
        await client.execute_command("XADD", STREAM, entry_id, "name", "value")
    assert not (await look(sight)).has_group
    await client.execute_command("XGROUP", "CREATE", STREAM, GROUP, "0")
    await client.execute_command("XTRIM", STREAM, "MAXLEN", "2")
    seen = await look(sight)
    assert (seen.has_group, seen.last_id, seen.first_id, seen.length) == (True, "7-3", "6-0", 2)
    assert seen.entries_added in (3, None), "Redis 6.2 does not know"


async def test_later_looks_are_of_later_moments(sight: StreamSight) -> None:
    first, second = await look(sight), await look(sight)
    assert first.at_us < second.at_us


async def test_an_emptied_stream_keeps_its_last_id(client: Redis, sight: StreamSight) -> None:
    await client.execute_command("XADD", STREAM, "5-1", "name", "value")
    await client.execute_command("XDEL", STREAM, "5-1")
    seen = await look(sight)
    assert (seen.last_id, seen.first_id, seen.length) == ("5-1", "0-0", 0)


async def test_a_key_of_another_kind_is_left_out_and_keeps_no_other_from_being_seen(client: Redis) -> None:
    await client.execute_command("SET", STREAM, "not a stream")
    watched = [WatchedStream(STREAM, "*", GROUP), WatchedStream("saga:commands:stock", "stock")]
    [seen] = await StreamSight(client, watched).look()
    assert (seen.stream, seen.has_group) == ("saga:commands:stock", True)


def test_replies_carry_everything_events_what_is_asked_of_children_and_commands_their_service() -> None:
    watched = watched_streams(StreamNames("shop:"), GROUP, ["stock"])
    assert watched == [
        WatchedStream("shop:replies", "*", GROUP),
        WatchedStream("shop:events", "saga.child", GROUP),
        WatchedStream("shop:commands:stock", "stock", None),
    ]


@pytest.fixture
def backlog(client: Redis) -> UnhandledStarts:
    return UnhandledStarts(client, [(EVENTS, GROUP), (ORDERS, "shop")], lambda: NOW_MS)


async def add(client: Redis, stream: str, *moments_ms: int) -> None:
    for moment_ms in moments_ms:
        await client.execute_command("XADD", stream, f"{moment_ms}-0", "name", "value")


async def read(client: Redis, stream: str, group: str, count: int) -> None:
    await client.execute_command(*("XREADGROUP", "GROUP", group, "me", "COUNT", count), *("STREAMS", stream, ">"))


async def test_where_nothing_waits_all_is_handled_up_to_now(client: Redis, backlog: UnhandledStarts) -> None:
    assert await backlog.handled_up_to_ms() == NOW_MS, "there is no stream yet"
    await client.execute_command("XGROUP", "CREATE", EVENTS, GROUP, "0", "MKSTREAM")
    assert await backlog.handled_up_to_ms() == NOW_MS


async def test_an_entry_that_is_unread_or_pending_is_not_handled(client: Redis, backlog: UnhandledStarts) -> None:
    await add(client, EVENTS, 500, 600, 700)
    await client.execute_command("XGROUP", "CREATE", EVENTS, GROUP, "0")
    assert await backlog.handled_up_to_ms() == 500
    await read(client, EVENTS, GROUP, 2)
    assert await backlog.handled_up_to_ms() == 500
    await client.execute_command("XACK", EVENTS, GROUP, "500-0")
    assert await backlog.handled_up_to_ms() == 600
    await client.execute_command("XACK", EVENTS, GROUP, "600-0")
    assert await backlog.handled_up_to_ms() == 700


async def test_the_slowest_stream_counts_and_a_group_of_others_does_not(
    client: Redis, backlog: UnhandledStarts
) -> None:
    await add(client, EVENTS, 500)
    await add(client, ORDERS, 400)
    for stream, group in ((EVENTS, GROUP), (EVENTS, "others"), (ORDERS, "shop")):
        await client.execute_command("XGROUP", "CREATE", stream, group, "0")
    assert await backlog.handled_up_to_ms() == 400
    await read(client, ORDERS, "shop", 1)
    await client.execute_command("XACK", ORDERS, "shop", "400-0")
    await read(client, EVENTS, GROUP, 1)
    await client.execute_command("XACK", EVENTS, GROUP, "500-0")
    assert await backlog.handled_up_to_ms() == NOW_MS
