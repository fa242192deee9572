"""Trimming on a real server: our streams do not grow for ever, and nothing goes that somebody has still to handle."""

from __future__ import annotations

import random

import pytest
from redis.asyncio import Redis

from saga_service.streams.trimming import StreamTrimmer

STREAM = "saga:commands:payment"
NODE_ENTRIES = 100
"""Entries in one node of a stream by the server's default; whole nodes go."""
NOW_MS = 1_000_000


@pytest.fixture
def trimmer(client: Redis) -> StreamTrimmer:
    return StreamTrimmer(client, lambda: NOW_MS)


async def fill(client: Redis, count: int, first: int = 1, step: int = 1) -> list[str]:
    ids = [f"{first + number * step}-0" for number in range(count)]
    pipeline = client.pipeline(transaction=False)
    for entry_id in ids:
        pipeline.execute_command("XADD", STREAM, entry_id, "n", "1")
    await pipeline.execute()
    return ids


async def make_group(client: Redis, group: str) -> None:
    await client.execute_command("XGROUP", "CREATE", STREAM, group, "0", "MKSTREAM")


async def read(client: Redis, group: str, count: int, consumer: str = "c") -> list[str]:
    reply = await client.execute_command("XREADGROUP", "GROUP", group, consumer, "COUNT", count, "STREAMS", STREAM, ">")
    return [row[0].decode() for row in reply[0][1]] if reply else []


async def acknowledge(client: Redis, group: str, ids: list[str]) -> None:
    if ids:
        await client.execute_command("XACK", STREAM, group, *ids)


async def length(client: Redis) -> int:
    return int(await client.execute_command("XLEN", STREAM))


async def still_there(client: Redis) -> set[str]:
    return {row[0].decode() for row in await client.execute_command("XRANGE", STREAM, "-", "+")}


async def test_what_every_group_has_acknowledged_goes(client: Redis, trimmer: StreamTrimmer) -> None:
    await make_group(client, "one")
    await make_group(client, "two")
    await fill(client, 1_000)
    for group in ("one", "two"):
        await acknowledge(client, group, await read(client, group, 1_000))
    assert await trimmer.trim_handled(STREAM) >= 1_000 - NODE_ENTRIES
    assert await length(client) <= NODE_ENTRIES


async def test_a_group_that_stands_still_loses_nothing(client: Redis, trimmer: StreamTrimmer) -> None:
    await make_group(client, "busy")
    await make_group(client, "stopped")
    ids = await fill(client, 1_000)
    await acknowledge(client, "stopped", await read(client, "stopped", 150))
    await acknowledge(client, "busy", await read(client, "busy", 1_000))
    await trimmer.trim_handled(STREAM)
    assert await read(client, "stopped", 10_000) == ids[150:]


async def test_a_group_that_has_read_nothing_loses_nothing(client: Redis, trimmer: StreamTrimmer) -> None:
    ids = await fill(client, 500)
    await make_group(client, "busy")
    await make_group(client, "never started")
    await acknowledge(client, "busy", await read(client, "busy", 500))
    assert await trimmer.trim_handled(STREAM) == 0
    assert await read(client, "never started", 10_000) == ids


async def test_what_is_pending_stays_however_far_the_group_has_read(client: Redis, trimmer: StreamTrimmer) -> None:
    await make_group(client, "one")
    ids = await fill(client, 1_000)
    taken = await read(client, "one", 1_000)
    await acknowledge(client, "one", [entry_id for entry_id in taken if entry_id != ids[420]])
    assert await trimmer.trim_handled(STREAM) > 0
    assert ids[420] in await still_there(client)
    assert await length(client) >= 1_000 - 420


async def test_a_stream_without_a_group_is_left_as_it_is(client: Redis, trimmer: StreamTrimmer) -> None:
    await fill(client, 1_000)
    assert await trimmer.trim_handled(STREAM) == 0
    assert await length(client) == 1_000


async def test_a_stream_that_is_not_there_is_not_made(client: Redis, trimmer: StreamTrimmer) -> None:
    assert await trimmer.trim_handled(STREAM) == 0
    assert await trimmer.trim_older(STREAM, 1) == 0
    assert not await client.execute_command("EXISTS", STREAM)


async def test_age_alone_decides_where_nobody_reads(client: Redis, trimmer: StreamTrimmer) -> None:
    ids = await fill(client, 1_000, first=1_000, step=1_000)
    await trimmer.trim_older(STREAM, kept_ms=500_000)
    left = await still_there(client)
    assert set(ids[499:]) <= left
    assert len(left) <= 501 + NODE_ENTRIES


async def test_what_is_young_enough_stays_though_all_have_handled_it(client: Redis, trimmer: StreamTrimmer) -> None:
    await make_group(client, "one")
    ids = await fill(client, 1_000, first=1_000, step=1_000)
    await acknowledge(client, "one", await read(client, "one", 1_000))
    await trimmer.trim_older(STREAM, kept_ms=900_000)
    assert set(ids[99:]) <= await still_there(client)


async def test_what_is_old_stays_while_some_group_has_not_handled_it(client: Redis, trimmer: StreamTrimmer) -> None:
    await make_group(client, "stopped")
    ids = await fill(client, 500)
    assert await trimmer.trim_older(STREAM, kept_ms=1) == 0
    assert await read(client, "stopped", 10_000) == ids


async def test_ids_too_large_for_a_floating_number_are_told_apart(client: Redis, trimmer: StreamTrimmer) -> None:
    """A producer may give ids of its own; as numbers in Lua, neighbours beyond 2^53 are all the same."""
    large = 2**62
    await make_group(client, "ahead")
    await make_group(client, "behind")
    ids = await fill(client, 400, first=large)
    await acknowledge(client, "behind", (await read(client, "behind", 400))[:150])
    await acknowledge(client, "ahead", await read(client, "ahead", 400))
    await trimmer.trim_handled(STREAM)
    assert set(ids[150:]) <= await still_there(client)


async def test_trimming_in_any_order_removes_nothing_unhandled(
    client: Redis, trimmer: StreamTrimmer, random_seed: int
) -> None:
    chance = random.Random(random_seed)
    groups = ["one", "two", "three"]
    handled: dict[str, set[str]] = {group: set() for group in groups}
    in_hand: dict[str, list[str]] = {group: [] for group in groups}
    ids: list[str] = []
    for group in groups:
        await make_group(client, group)
    for _ in range(60):
        ids += await fill(client, chance.randint(0, 150), first=len(ids) + 1)
        for group in groups:
            in_hand[group] += await read(client, group, chance.choice([1, 30, 300]))
            done = chance.sample(in_hand[group], chance.randint(0, len(in_hand[group])))
            await acknowledge(client, group, done)
            handled[group] |= set(done)
            in_hand[group] = [entry_id for entry_id in in_hand[group] if entry_id not in handled[group]]
        await trimmer.trim_handled(STREAM)
        gone = set(ids) - await still_there(client)
        for group in groups:
            assert gone <= handled[group], f"the group {group} has lost {sorted(gone - handled[group])}"
    assert gone, "nothing was ever trimmed"
