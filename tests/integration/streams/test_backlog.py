"""What lies on streams, and how far each group is, on servers that count what is unread and on such as do not."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from saga_service.streams.backlog import Backlog, GroupBacklog, backlog_of
from saga_service.streams.connection import connect
from saga_service.wire.transport import TransportUnavailable


async def add(client: Redis, stream: str, *moments_ms: int) -> None:
    for moment_ms in moments_ms:
        await client.execute_command("XADD", stream, f"{moment_ms}-0", "name", "value")


async def test_streams_that_are_not_there_or_are_something_else_are_left_out(client: Redis) -> None:
    await client.execute_command("SET", "text", "value")
    assert await backlog_of(client, ["none", "text"]) == Backlog({}, [])
    assert await backlog_of(client, []) == Backlog({}, [])


async def test_each_group_has_what_it_has_not_read_and_what_it_has_not_acknowledged(client: Redis) -> None:
    await add(client, "events", 1_000, 2_000, 3_000)
    await add(client, "replies", 5_000)
    for stream, group in (("events", "quick"), ("events", "slow"), ("replies", "quick")):
        await client.execute_command("XGROUP", "CREATE", stream, group, "0")
    await client.execute_command("XREADGROUP", "GROUP", "slow", "me", "COUNT", 2, "STREAMS", "events", ">")
    await client.execute_command("XREADGROUP", "GROUP", "quick", "me", "STREAMS", "events", ">")
    await client.execute_command("XACK", "events", "quick", "1000-0", "2000-0", "3000-0")
    await client.execute_command("XACK", "events", "slow", "1000-0")

    found = await backlog_of(client, ["events", "replies"])

    assert found.entries == {"events": 3, "replies": 1}
    # An old server does not know what is unread.
    assert [group.unread for group in found.groups] in ([0, 1, 1], [None] * 3)
    known = [GroupBacklog(each.stream, each.group, None, each.pending, each.oldest_unread_ms, each.oldest_pending_ms)
             for each in found.groups]  # fmt: skip
    assert known == [
        GroupBacklog("events", "quick", None, 0, None, None),
        GroupBacklog("events", "slow", None, 1, 3_000, 2_000),
        GroupBacklog("replies", "quick", None, 0, 5_000, None),
    ]


async def test_a_server_that_is_away_is_told() -> None:
    client = connect("redis://127.0.0.1:1/0")
    with pytest.raises(TransportUnavailable):
        await backlog_of(client, ["events"])
    await client.aclose()
