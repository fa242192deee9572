"""One consumer of one group on a real server: what it is given, what it owes, and what it takes over."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis.asyncio import Redis

from saga_service.streams.connection import connect
from saga_service.streams.consumer import Consumer
from saga_service.wire.entries import Entry
from saga_service.wire.transport import StreamRefused
from tests.support.waiting import eventually

STREAM, GROUP = "saga:events", "saga-service"
LONG_MS = 60_000
MakeConsumer = Callable[[str], Consumer]


@pytest.fixture
async def make_consumer(client: Redis) -> MakeConsumer:
    """Readers by consumer name, all in one group that is there."""
    await Consumer(client, client, STREAM, GROUP, "maker").ensure_group()
    return lambda consumer: Consumer(client, client, STREAM, GROUP, consumer)


@pytest.fixture
async def reader(make_consumer: MakeConsumer) -> Consumer:
    return make_consumer("me")


@pytest.fixture
async def blocking(any_redis_url: str, make_consumer: MakeConsumer) -> AsyncIterator[Consumer]:
    """A reader on a connection of its own."""
    client = connect(any_redis_url, blocking_ms=5_000, connections_max=1)
    yield Consumer(client, client, STREAM, GROUP, "me")
    await client.aclose()


async def add(client: Redis, *names: str) -> list[str]:
    return [(await client.execute_command("XADD", STREAM, "*", "name", name)).decode() for name in names]


async def read_as(client: Redis, consumer: str, count: int = 10_000) -> list[str]:
    """What a consumer is given whose reply nobody sees."""
    reply = await client.execute_command("XREADGROUP", "GROUP", GROUP, consumer, "COUNT", count, "STREAMS", STREAM, ">")
    return [row[0].decode() for row in reply[0][1]] if reply else []


async def pending(client: Redis) -> dict[str, tuple[str, int]]:
    """By entry id: its owner, and its idle time in milliseconds."""
    rows = await client.execute_command("XPENDING", STREAM, GROUP, "-", "+", 10_000)
    return {row[0].decode(): (row[1].decode(), row[2]) for row in rows}


async def consumers(client: Redis) -> set[str]:
    return {dict(zip(row[::2], row[1::2], strict=True))[b"name"].decode() for row in await _consumer_rows(client)}


async def _consumer_rows(client: Redis) -> list[list[bytes]]:
    rows: list[list[bytes]] = await client.execute_command("XINFO", "CONSUMERS", STREAM, GROUP)
    return rows


async def read_all(reader: Consumer) -> list[Entry]:
    """Everything that is there: reads until one that looked for new entries finds none."""
    entries: list[Entry] = []
    while True:
        more = await reader.read(100, 1)
        entries += more
        if not more and reader._drained_up_to is None:
            return entries


def ids(entries: list[Entry]) -> list[str]:
    return [entry.id for entry in entries]


# ------------------------------------------------------------------------------------------------------------- reading


async def test_a_group_begins_at_the_oldest_entry(client: Redis) -> None:
    added = await add(client, "before", "the group")
    reader = Consumer(client, client, STREAM, GROUP, "me")
    assert await reader.ensure_group()
    assert not await reader.ensure_group()
    assert ids(await read_all(reader)) == added


async def test_an_entry_comes_with_its_bytes_as_they_are(client: Redis, reader: Consumer) -> None:
    await client.execute_command("XADD", STREAM, "7-7", b"\x00name", b"\xff\xfe", "empty", b"")
    assert await read_all(reader) == [Entry(STREAM, "7-7", {b"\x00name": b"\xff\xfe", b"empty": b""})]


async def test_a_name_that_comes_twice_comes_with_both_values(client: Redis, reader: Consumer) -> None:
    await client.execute_command("XADD", STREAM, "7-7", "a", "1", "b", "2", "a", "3")
    [entry] = await read_all(reader)
    assert entry.fields == {b"a": b"3", b"b": b"2"}
    assert list(entry.pairs()) == [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]


async def test_no_more_is_read_than_was_asked_for(client: Redis, reader: Consumer) -> None:
    await add(client, *"abcde")
    assert len(await reader.read(3, 1)) == 3
    assert len(await reader.read(3, 1)) == 2
    assert await reader.read(3, 1) == []


async def test_what_is_read_is_outstanding_until_it_is_settled(client: Redis, reader: Consumer) -> None:
    first, second = await add(client, "a", "b")
    await read_all(reader)
    assert reader.outstanding == {first, second}
    await reader.acknowledge([first])
    assert reader.outstanding == {second}
    assert (await pending(client)).keys() == {second}


async def test_two_consumers_share_what_comes(client: Redis, make_consumer: MakeConsumer) -> None:
    added = await add(client, *"abcd")
    here, there = make_consumer("here"), make_consumer("there")
    taken = [*await here.read(2, 1), *await there.read(2, 1)]
    assert ids(taken) == added


async def test_a_read_wakes_as_soon_as_something_comes(client: Redis, blocking: Consumer) -> None:
    assert await read_all(blocking) == []
    reading = asyncio.create_task(blocking.read(10, 5_000))
    await client_blocks(client)
    [added] = await add(client, "a")
    async with asyncio.timeout(4):
        assert ids(await reading) == [added]


async def client_blocks(client: Redis) -> None:
    """Returns once some client is blocked in a read: the server alone can tell."""
    await eventually(lambda: _blocked_clients(client))


async def _blocked_clients(client: Redis) -> int:
    lines = (await client.execute_command("INFO", "clients")).decode().splitlines()
    return int(dict(line.split(":") for line in lines if ":" in line)["blocked_clients"])


# -------------------------------------------------------------------------------------- what a lost reply leaves behind


async def test_what_an_earlier_read_left_with_us_is_given_first(client: Redis, reader: Consumer) -> None:
    lost = await add(client, "a", "b")
    assert await read_as(client, "me") == lost
    new = await add(client, "c")
    given = await read_all(reader)
    assert ids(given) == [*lost, *new]
    assert [entry.was_delivered_before for entry in given] == [True, True, False]


async def test_what_a_cancelled_read_was_given_is_given_again(client: Redis, blocking: Consumer) -> None:
    await read_all(blocking)
    reading = asyncio.create_task(blocking.read(10, 5_000))
    await client_blocks(client)
    reading.cancel()
    await asyncio.wait([reading])
    [added] = await add(client, "a")
    # As if Redis had answered in the moment of the cancellation; 6.2 often has.
    await read_as(client, "me")
    assert (await pending(client)).keys() == {added}
    assert ids(await read_all(blocking)) == [added]


async def test_what_is_in_our_hands_is_not_given_again_by_the_drain(client: Redis, reader: Consumer) -> None:
    await add(client, *"abc")
    in_hand = await read_all(reader)
    [lost] = await add(client, "lost")
    await read_as(client, "me")
    reader._drained_up_to = "0-0"  # as after a failed read
    assert ids(await read_all(reader)) == [lost]
    assert reader.outstanding == {lost, *ids(in_hand)}


async def test_a_long_pending_list_is_drained_page_by_page_past_what_is_in_hand(
    client: Redis, reader: Consumer
) -> None:
    await add(client, *map(str, range(250)))
    in_hand = await read_all(reader)
    lost = await add(client, *map(str, range(250)))
    await read_as(client, "me")
    reader._drained_up_to = "0-0"
    assert ids(await read_all(reader)) == lost
    assert len(reader.outstanding) == 250 + len(in_hand)


async def test_reads_cancelled_at_any_moment_lose_and_repeat_nothing(
    client: Redis, blocking: Consumer, random_seed: int
) -> None:
    chance = random.Random(random_seed)
    added: list[str] = []
    given: list[str] = []

    async def keep_adding() -> None:
        for number in range(400):
            added.extend(await add(client, str(number)))
            if chance.random() < 0.2:
                await asyncio.sleep(chance.random() * 0.002)

    adding = asyncio.create_task(keep_adding())
    while not adding.done():
        reading = asyncio.create_task(blocking.read(chance.randint(1, 20), 50))
        await asyncio.wait([reading], timeout=chance.random() * 0.004)
        reading.cancel()
        await asyncio.wait([reading])
        if not reading.cancelled():
            given += ids(reading.result())
        if given and chance.random() < 0.3:
            await blocking.acknowledge(given[-3:])
    given += ids(await read_all(blocking))
    assert sorted(given) == sorted(added)
    assert (await pending(client)).keys() == blocking.outstanding


# ------------------------------------------------------------------------------------------------------------- reclaim


async def make_idle(client: Redis, owner: str, entry_ids: list[str], idle_ms: int) -> None:
    await client.execute_command("XCLAIM", STREAM, GROUP, owner, 0, *entry_ids, "IDLE", idle_ms, "JUSTID")


async def reclaim_all(reader: Consumer, count_max: int = 100) -> list[Entry]:
    entries = await reader.reclaim(count_max, LONG_MS)
    while not reader.reclaim_is_through:
        entries += await reader.reclaim(count_max, LONG_MS)
    return entries


async def test_entries_of_dead_consumers_alone_are_taken_over(client: Redis, reader: Consumer) -> None:
    left, held = await add(client, "left", "held")
    await read_as(client, "other")
    await make_idle(client, "other", [left], LONG_MS + 1)
    (taken_over,) = await reclaim_all(reader)
    assert (taken_over.id, taken_over.was_delivered_before) == (left, True)
    owners = {entry_id: owner for entry_id, (owner, _) in (await pending(client)).items()}
    assert owners == {left: "me", held: "other"}
    assert reader.outstanding == {left}


async def test_one_dead_entry_behind_five_thousand_live_ones_is_reached(client: Redis, reader: Consumer) -> None:
    pipeline = client.pipeline(transaction=False)
    for number in range(5_001):
        pipeline.execute_command("XADD", STREAM, f"{number + 1}-0", "n", number)
    await pipeline.execute()
    await read_as(client, "other")
    await make_idle(client, "other", ["5001-0"], LONG_MS + 1)
    calls = 0
    entries: list[Entry] = []
    while not entries:
        entries = await reader.reclaim(10, LONG_MS)
        calls += 1
        assert calls < 600, "the walk begins anew each time"
    assert ids(entries) == ["5001-0"]
    assert calls > 1, "the list was long enough to keep a cursor for"


async def test_the_walk_begins_anew_when_it_is_through(client: Redis, reader: Consumer) -> None:
    for number in range(3):
        [left] = await add(client, str(number))
        await read_as(client, "other")
        await make_idle(client, "other", [left], LONG_MS + 1)
        assert ids(await reclaim_all(reader)) == [left]


async def test_what_is_in_our_own_hands_for_long_is_not_given_again(client: Redis, reader: Consumer) -> None:
    [mine] = await add(client, "mine")
    await read_all(reader)
    await make_idle(client, "me", [mine], LONG_MS + 1)
    assert await reclaim_all(reader) == []
    await reader.acknowledge([mine])
    assert await pending(client) == {}


@pytest.mark.parametrize("command", ["XAUTOCLAIM", "XREADGROUP"])
async def test_entries_acknowledged_during_a_read_are_not_given_again(
    client: Redis, reader: Consumer, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Large entries take their time on the way: the lane that had them was through before they came a second time."""
    await add(client, "one", "two")
    held = ids(await reader.read(10, 1))
    execute: Callable[..., Awaitable[object]] = client.execute_command

    async def answer_late(*words: object) -> object:
        reply = await execute(*words)
        if words[0] == command:
            monkeypatch.undo()
            await reader.acknowledge(held)
        return reply

    reader._drained_up_to = "0-0" if command == "XREADGROUP" else None
    monkeypatch.setattr(client, "execute_command", answer_late)
    again = await (reader.reclaim(10, 0) if command == "XAUTOCLAIM" else reader.read(10, 1))
    assert again == []
    assert await pending(client) == {}


async def test_a_reclaim_whose_reply_was_lost_is_made_good_by_a_later_one(client: Redis, reader: Consumer) -> None:
    [left] = await add(client, "left")
    await read_as(client, "other")
    await client.execute_command("XAUTOCLAIM", STREAM, GROUP, "me", 0, "0-0")
    assert await reclaim_all(reader) == [], "it has just been touched"
    await make_idle(client, "me", [left], LONG_MS + 1)
    assert ids(await reclaim_all(reader)) == [left]


# ----------------------------------------------------------------------------- entries that were deleted while pending


async def test_entries_deleted_while_pending_are_given_up_by_the_drain(client: Redis, reader: Consumer) -> None:
    deleted, kept = await add(client, "deleted", "kept")
    await read_as(client, "me")
    await client.execute_command("XDEL", STREAM, deleted)
    assert ids(await read_all(reader)) == [kept]
    assert (await pending(client)).keys() == reader.outstanding == {kept}


async def test_entries_deleted_while_pending_are_given_up_by_a_reclaim(client: Redis, reader: Consumer) -> None:
    """Redis 6.2 claims them and does not say which they are; one that stays pending would keep its stream untrimmed."""
    first, kept, last = await add(client, "deleted", "kept", "deleted")
    await read_as(client, "other")
    await make_idle(client, "other", [first, kept, last], LONG_MS + 1)
    await client.execute_command("XDEL", STREAM, first, last)
    [mine] = await add(client, "in our hands meanwhile")
    in_hand = await reader.read(10, 1)
    assert ids(await reclaim_all(reader)) == [kept]
    assert (await pending(client)).keys() == reader.outstanding == {kept, mine}
    assert ids(in_hand) == [mine]


async def test_more_deleted_entries_than_one_page_holds_are_given_up(client: Redis, reader: Consumer) -> None:
    doomed = await add(client, *map(str, range(1_200)))
    await read_as(client, "other")
    await make_idle(client, "other", doomed, LONG_MS + 1)
    await client.execute_command("XDEL", STREAM, *doomed)
    assert await reclaim_all(reader) == []
    assert await pending(client) == {}


# -------------------------------------------------------------------------------------------- keeping and handing back


async def test_what_is_handed_back_is_taken_over_at_once(
    client: Redis, reader: Consumer, make_consumer: MakeConsumer
) -> None:
    added = await add(client, "a", "b")
    await read_all(reader)
    assert await reader.hand_back(added) == 2
    assert reader.outstanding == set()
    assert ids(await reclaim_all(make_consumer("other"))) == added


async def test_what_has_another_owner_by_now_is_neither_kept_nor_handed_back(
    client: Redis, reader: Consumer, make_consumer: MakeConsumer
) -> None:
    taken, mine = await add(client, "taken", "mine")
    await read_all(reader)
    await client.execute_command("XCLAIM", STREAM, GROUP, "other", 0, taken, "IDLE", 5_000, "JUSTID")
    await client.execute_command("XCLAIM", STREAM, GROUP, "me", 0, mine, "IDLE", 5_000, "JUSTID")
    assert await reader.renew([taken, mine]) == 1
    now = await pending(client)
    assert now[taken][0] == "other"
    assert now[taken][1] >= 5_000
    assert now[mine] == ("me", now[mine][1])
    assert now[mine][1] < 5_000
    assert await reader.hand_back([taken, mine]) == 1
    assert (await pending(client))[taken][0] == "other"
    assert ids(await reclaim_all(make_consumer("third"))) == [mine]


async def test_renewing_is_no_delivery(client: Redis, reader: Consumer) -> None:
    [mine] = await add(client, "mine")
    await read_all(reader)
    await reader.renew([mine])
    [[_, _, _, deliveries]] = await client.execute_command("XPENDING", STREAM, GROUP, "-", "+", 10)
    assert deliveries == 1


async def test_nothing_to_keep_or_hand_back_asks_nothing_of_redis(client: Redis, reader: Consumer) -> None:
    await client.execute_command("DEL", STREAM)
    assert await reader.renew([]) == 0
    assert await reader.hand_back([]) == 0
    await reader.acknowledge([])


@pytest.mark.parametrize("what_is_left", ["nothing", "the stream without the group"])
async def test_a_vanished_group_is_no_error_for_renewing_and_leaving(
    client: Redis, reader: Consumer, what_is_left: str
) -> None:
    added = await add(client, "a")
    await read_all(reader)
    await client.execute_command("DEL", STREAM)
    if what_is_left != "nothing":
        await add(client, "a producer's next")
    assert await reader.renew(added) == 0
    assert await reader.hand_back(added) == 0
    assert await reader.remove_dead_consumers(0) == 0
    await reader.leave()


# ----------------------------------------------------------------------------------------------------- dead consumers


async def test_leaving_takes_our_consumer_off_the_group_and_no_other(
    client: Redis, reader: Consumer, make_consumer: MakeConsumer
) -> None:
    await add(client, "a", "b")
    [mine] = ids(await reader.read(1, 1))
    [_] = await make_consumer("other").read(1, 1)
    await reader.acknowledge([mine])
    await reader.leave()
    assert await consumers(client) == {"other"}


async def test_a_consumer_with_something_pending_is_never_removed(client: Redis, reader: Consumer) -> None:
    added = await add(client, "a")
    await read_all(reader)
    await reader.leave()
    assert await reader.remove_dead_consumers(0) == 0
    assert await consumers(client) == {"me"}
    assert (await pending(client)).keys() == set(added)


async def test_only_consumers_that_were_idle_for_so_long_are_removed(client: Redis, reader: Consumer) -> None:
    await add(client, "a")
    [mine] = await read_all(reader)
    await reader.acknowledge([mine.id])
    assert await reader.remove_dead_consumers(LONG_MS) == 0
    assert await reader.remove_dead_consumers(0) == 1
    assert await consumers(client) == set()


async def test_removing_dead_consumers_never_loses_what_a_live_one_has_just_read(
    client: Redis, make_consumer: MakeConsumer
) -> None:
    """A reader that comes back in the moment in which it is found dead."""
    total = 600
    read: list[str] = []
    unknown: list[str] = []

    async def consume(consumer: str) -> None:
        reader = make_consumer(consumer)
        while len(read) < total:
            for entry in await reader.read(3, 1):
                read.append(entry.id)
                await asyncio.sleep(0)
                if not await client.execute_command("XACK", STREAM, GROUP, entry.id):
                    unknown.append(entry.id)
                reader.settle([entry.id])

    async def reap() -> int:
        reaper, removed = make_consumer("reaper"), 0
        while len(read) < total:
            removed += await reaper.remove_dead_consumers(0)
        return removed

    added = asyncio.create_task(add(client, *map(str, range(total))))
    async with asyncio.timeout(60):
        *_, removed = await asyncio.gather(consume("one"), consume("two"), consume("three"), reap())
    assert sorted(read) == sorted(await added)
    assert unknown == [], "these were pending no more when they were acknowledged"
    assert removed > 0, "the race was never run"


async def test_a_key_of_another_type_is_refused_by_every_method(client: Redis, reader: Consumer) -> None:
    await client.execute_command("DEL", STREAM)
    await client.execute_command("SET", STREAM, "not a stream")
    doors = (reader.read(1, 1), reader.reclaim(1, LONG_MS), reader.ensure_group(), reader.remove_dead_consumers(0))
    for call in doors:
        with pytest.raises(StreamRefused, match="WRONGTYPE"):
            await call
    with pytest.raises(StreamRefused, match="WRONGTYPE"):
        await reader.leave()
