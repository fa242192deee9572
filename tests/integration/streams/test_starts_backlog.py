"""How far the group is on the streams whose entries may start sagas: by what is unread, and by what is pending."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from saga_service.streams.starts_backlog import UnhandledStarts

EVENTS, ORDERS, GROUP = "saga:events", "orders", "saga-service"
NOW_MS = 1_000_000


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
