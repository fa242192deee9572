"""A look at streams: what Postgres is told of them, on servers that count additions and on such as do not."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from saga_service.streams.sight import StreamSight, WatchedStream, watched_streams
from saga_service.wire.transport import SeenStream, StreamNames

STREAM, GROUP = "saga:replies", "saga-service"


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
