"""Losses of streams in Postgres: found by whatever replica looks, and worked off page by page until nothing is owed."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from saga_service.core.events import TransportLost
from saga_service.core.ids import SagaId
from saga_service.engine.ports import Batch, RecoveryPage, RequestResult
from saga_service.store.postgres_store import PostgresStore
from saga_service.wire.events import read_own_event
from saga_service.wire.transport import RECOVERY, SeenStream
from tests.support.builders import START_MS
from tests.support.locks import waits_for_locks
from tests.support.store_batches import batch, saga_ids, start

NOW_MS = START_MS + 1_000
EVENTS = SeenStream("saga:events", "saga.child", 1_000, True, "1700-0", 5, 5, "1600-0")
REPLIES = EVENTS._replace(stream="saga:replies", carries="*")
COMMANDS = EVENTS._replace(stream="saga:commands:stock", carries="stock")


def gone(seen: SeenStream, at_us: int, *, has_group: bool = False) -> SeenStream:
    return seen._replace(at_us=at_us, has_group=has_group, last_id="0-0", entries_added=None, length=0, first_id="0-0")


def there_again(seen: SeenStream, at_us: int) -> SeenStream:
    return seen._replace(at_us=at_us, last_id="0-0", entries_added=0, length=0, first_id="0-0")


async def see(store: PostgresStore, *seen: SeenStream) -> list[str]:
    return await store.see_streams(seen, NOW_MS, "me")


async def go_on(store: PostgresStore, sagas_max: int = 10) -> RecoveryPage:
    return await store.continue_recovery(NOW_MS + 1, NOW_MS, sagas_max)


async def lose(store: PostgresStore, *streams: SeenStream) -> None:
    await see(store, *streams)
    await see(store, *(gone(each, 2_000, has_group=each is COMMANDS) for each in streams))
    await see(store, *(there_again(each, 3_000) for each in streams))


async def sagas_in_flight(store: PostgresStore, count: int) -> list[SagaId]:
    for number in range(count):
        await store.commit(batch(start(f"order-{number}")))
    return sorted(saga_ids(count))


async def sent_again(store: PostgresStore) -> list[TransportLost]:
    """What the requests say that are there now; each is carried out."""
    entries = await store.claim_requests(NOW_MS + 10, 1_000, 10_000)
    answered = [RequestResult(each.request.number, "applied", "", None) for each in entries if each.request]
    await store.commit(Batch(results=answered))
    assert {each.stream for each in entries} <= {RECOVERY}
    events = [read_own_event(each) for each in entries]
    return [event for event in events if isinstance(event, TransportLost)]


async def test_a_stream_that_is_there_as_it_was_is_not_lost(store: PostgresStore) -> None:
    assert await see(store, EVENTS) == []
    later = EVENTS._replace(at_us=2_000, last_id="1800-0", entries_added=7, length=1, first_id="1800-0")
    assert await see(store, later) == []
    assert await go_on(store) == RecoveryPage(0, False)


WENT_BACK = {
    "the group is gone": EVENTS._replace(has_group=False),
    "the stream is gone": gone(EVENTS, 0),
    "the last id is a lower one": EVENTS._replace(last_id="1699-9"),
    "fewer entries were added": EVENTS._replace(last_id="1900-0", entries_added=4, length=3, first_id="1800-0"),
    "nothing was removed, and yet all are new": EVENTS._replace(
        last_id="1900-0", entries_added=9, length=9, first_id="1800-0"
    ),
}


@pytest.mark.parametrize("seen", WENT_BACK.values(), ids=WENT_BACK.keys())
async def test_a_stream_that_went_back_is_lost(store: PostgresStore, seen: SeenStream) -> None:
    await see(store, EVENTS)
    assert await see(store, seen._replace(at_us=2_000)) == ["saga:events"]
    assert (await go_on(store)).is_owed is not seen.has_group


async def test_a_server_that_does_not_count_additions_is_judged_by_its_ids(store: PostgresStore) -> None:
    await see(store, EVENTS._replace(entries_added=None))
    grown = EVENTS._replace(at_us=2_000, entries_added=None, last_id="1800-0", first_id="1800-0", length=1)
    assert await see(store, grown) == []
    assert await see(store, gone(EVENTS, 3_000)) == ["saga:events"]


async def test_a_loss_is_found_once_whoever_looks(store: PostgresStore, pool: asyncpg.Pool) -> None:
    other = PostgresStore(pool, lambda _: pytest.fail("no definition is read"))
    await see(store, EVENTS)
    lost = gone(EVENTS, 2_000)
    assert [await see(store, lost), await see(other, lost), await see(other, lost._replace(at_us=2_500))] == [
        ["saga:events"],
        [],
        [],
    ]


async def test_what_was_seen_earlier_counts_for_nothing(store: PostgresStore) -> None:
    """A replica was paused between its look and its statement."""
    await see(store, EVENTS._replace(at_us=3_000))
    assert await see(store, gone(EVENTS, 2_000)) == []


async def test_a_stream_that_was_never_seen_with_its_group_is_lost(store: PostgresStore) -> None:
    """What is in flight may have been sent under another name."""
    [saga] = await sagas_in_flight(store, 1)
    assert await see(store, gone(EVENTS, 1_000)) == ["saga:events"]
    await see(store, there_again(EVENTS, 2_000))
    assert await go_on(store) == RecoveryPage(1, False)
    assert [event.saga_id for event in await sent_again(store)] == [saga]


async def test_the_streams_of_a_new_deployment_were_never_there_and_are_not_lost(store: PostgresStore) -> None:
    assert await see(store, gone(EVENTS, 1_000), gone(REPLIES, 1_000)) == []
    assert await see(store, there_again(EVENTS, 2_000), there_again(REPLIES, 2_000)) == []
    assert await go_on(store) == RecoveryPage(0, False)
    assert await see(store, gone(EVENTS, 3_000)) == ["saga:events"]


async def test_what_begins_when_the_streams_are_first_made_is_not_sent_twice(store: PostgresStore) -> None:
    await see(store, gone(EVENTS, 1_000))
    await store.commit(batch(start("at once", at_ms=NOW_MS)))
    await see(store, there_again(EVENTS, 2_000))
    assert await go_on(store) == RecoveryPage(0, False)


async def test_every_saga_in_flight_is_sent_again_once_page_by_page(store: PostgresStore) -> None:
    sagas = await sagas_in_flight(store, 25)
    await lose(store, REPLIES)
    found: list[TransportLost] = []
    for is_left in (True, True, False):
        assert (await go_on(store)).is_owed is is_left
        found += await sent_again(store)
    assert found == [TransportLost(saga) for saga in sagas]
    assert await go_on(store) == RecoveryPage(0, False)


async def test_no_page_is_made_while_the_one_before_waits(store: PostgresStore) -> None:
    await sagas_in_flight(store, 25)
    await lose(store, REPLIES)
    assert [await go_on(store), await go_on(store)] == [RecoveryPage(10, True), RecoveryPage(0, True)]
    await sent_again(store)
    assert await go_on(store) == RecoveryPage(10, True)


async def test_nothing_is_sent_again_before_the_group_is_there(store: PostgresStore) -> None:
    await sagas_in_flight(store, 1)
    await see(store, REPLIES)
    await see(store, gone(REPLIES, 2_000))
    assert await go_on(store) == RecoveryPage(0, True)
    await see(store, there_again(REPLIES, 3_000))
    assert await go_on(store) == RecoveryPage(1, False)


async def test_losses_found_together_are_one_recovery(store: PostgresStore) -> None:
    [saga] = await sagas_in_flight(store, 1)
    await lose(store, EVENTS, COMMANDS)
    assert await go_on(store) == RecoveryPage(1, False)
    assert await sent_again(store) == [TransportLost(saga, frozenset({"saga.child", "stock"}))]


async def test_losses_found_together_whose_groups_come_back_one_by_one_are_both_made_good(store: PostgresStore) -> None:
    [saga] = await sagas_in_flight(store, 1)
    await see(store, EVENTS, REPLIES)
    await see(store, gone(EVENTS, 2_000), gone(REPLIES, 2_000))
    await see(store, there_again(EVENTS, 3_000))
    assert await go_on(store) == RecoveryPage(1, True)
    await see(store, there_again(REPLIES, 3_000))
    assert await go_on(store) == RecoveryPage(1, False)
    assert await sent_again(store) == [TransportLost(saga, frozenset({"saga.child"})), TransportLost(saga)]


async def test_a_later_loss_of_another_stream_sends_nothing_of_an_earlier_one_twice(store: PostgresStore) -> None:
    sagas = await sagas_in_flight(store, 15)
    await lose(store, EVENTS)
    await go_on(store)
    found = await sent_again(store)
    await lose(store, COMMANDS)
    while (await go_on(store)).is_owed:
        found += await sent_again(store)
    found += await sent_again(store)
    for lost in ("saga.child", "stock"):
        assert [event.saga_id for event in found if lost in (event.lost or ())] == sagas


@pytest.mark.parametrize("status", ["stuck", "paused"])
async def test_a_saga_that_waits_for_a_person_is_among_those_in_flight(
    store: PostgresStore, pool: asyncpg.Pool, status: str
) -> None:
    """A child that it has asked to stop may not have heard of that."""
    [saga] = await sagas_in_flight(store, 1)
    await pool.execute("update saga_private.sagas set wake_at_ms = null, status = $1", status)
    await lose(store, REPLIES)
    assert await go_on(store) == RecoveryPage(1, False)
    assert await sent_again(store) == [TransportLost(saga)]


async def test_a_saga_that_has_ended_has_nothing_in_flight(store: PostgresStore, pool: asyncpg.Pool) -> None:
    await sagas_in_flight(store, 1)
    await pool.execute("update saga_private.sagas set wake_at_ms = null, status = 'completed'")
    await lose(store, REPLIES)
    assert await go_on(store) == RecoveryPage(0, False)


async def test_a_loss_in_the_middle_of_a_recovery_begins_it_anew(store: PostgresStore) -> None:
    sagas = await sagas_in_flight(store, 15)
    await lose(store, REPLIES)
    await go_on(store)
    first = await sent_again(store)
    await store.see_streams([gone(REPLIES, 4_000)], NOW_MS - 5, "another")
    await see(store, there_again(REPLIES, 5_000))
    assert (await go_on(store)).is_owed
    again = await sent_again(store)
    assert await go_on(store) == RecoveryPage(5, False)
    assert [event.saga_id for event in [*first, *again, *await sent_again(store)]] == [*sagas[:10], *sagas]


@pytest.mark.parametrize("is_paused", [False, True])
async def test_a_saga_that_began_after_the_loss_has_lost_nothing(
    store: PostgresStore, pool: asyncpg.Pool, is_paused: bool
) -> None:
    await sagas_in_flight(store, 1)
    await store.commit(batch(start("later", at_ms=NOW_MS + 100_000)))
    if is_paused:
        await pool.execute("update saga_private.sagas set wake_at_ms = null, status = 'paused'")
    await lose(store, REPLIES)
    assert await go_on(store) == RecoveryPage(1, False)


async def test_a_loss_that_was_found_just_now_waits_for_others(store: PostgresStore) -> None:
    await sagas_in_flight(store, 1)
    await lose(store, REPLIES)
    assert await store.continue_recovery(NOW_MS, NOW_MS - 1, 10) == RecoveryPage(0, True)


async def test_a_page_and_what_is_left_after_it_are_kept_both_or_neither(
    store: PostgresStore, pool: asyncpg.Pool
) -> None:
    sagas = await sagas_in_flight(store, 15)
    await lose(store, REPLIES)
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.fetch("select saga_private.continue_recovery($1, $2, 10)", NOW_MS + 1, NOW_MS)
        await transaction.rollback()
    await go_on(store)
    assert [event.saga_id for event in await sent_again(store)] == sagas[:10]


async def test_of_several_replicas_one_goes_on_with_a_recovery_at_a_time(
    store: PostgresStore, pool: asyncpg.Pool
) -> None:
    await sagas_in_flight(store, 15)
    await lose(store, REPLIES)
    async with pool.acquire() as connection, connection.transaction():
        await connection.fetch("select saga_private.continue_recovery($1, $2, 10)", NOW_MS + 1, NOW_MS)
        assert await go_on(store) == RecoveryPage(0, True)
    await sent_again(store)
    assert await go_on(store) == RecoveryPage(5, False)


async def test_a_loss_that_is_found_while_an_earlier_one_is_gathered_stays_on_record(
    store: PostgresStore, pool: asyncpg.Pool
) -> None:
    [saga] = await sagas_in_flight(store, 1)
    await lose(store, REPLIES)
    async with pool.acquire() as connection:
        async with connection.transaction():
            await connection.execute("update saga_private.streams set lost_at_ms = $1", NOW_MS - 5)
            gathering = asyncio.create_task(go_on(store))
            await waits_for_locks(pool)
        assert await gathering == RecoveryPage(1, True)
    assert await sent_again(store) == [TransportLost(saga)]
    assert await go_on(store) == RecoveryPage(1, False)
