"""Every promise of `engine.ports` to a store, held to the store in memory and to the one on Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import asyncpg
import pytest

from saga_service.base.postgres import close_pool
from saga_service.core.definition import TOMBSTONE, Definition, tombstone
from saga_service.core.events import BusinessKey
from saga_service.core.ids import SagaId, saga_id_from_key
from saga_service.core.state import SagaState
from saga_service.core.vocabulary import SAGA_COMPLETED, SAGA_RUNNING, SagaStatus
from saga_service.definitions import definition_from_document, definition_to_document
from saga_service.engine.failures import RequestsAnswered, RequestsOutOfOrder, RevisionConflict
from saga_service.engine.ports import (
    Asked,
    Batch,
    Deferred,
    DueSagas,
    KeyedSaga,
    Outbox,
    RequestResult,
    Requests,
    Store,
    Write,
)
from saga_service.store.pool import create_pool
from saga_service.store.postgres_store import PostgresStore
from saga_service.testing.memory_store import MemoryStore
from saga_service.wire.dead_letters import dead_letter
from saga_service.wire.entries import Entry, Message, entry_of
from saga_service.wire.fields import MOMENT_MS_MAX
from saga_service.wire.transport import REQUESTS
from tests.support.builders import START_MS
from tests.support.store_batches import ORDER, batch, start, state_of, succeed

NOW_MS = 50_000
LEASE_MS = 1_000
ENTRY = Entry("saga:events", "1700-3", {b"type": b"approved", b"subject": b"A-17"})
AWKWARD = entry_of("saga:events", "1700-4", [b"type", b"approved", b"x", b"\xff\x00", b"x", b"twice"])
MESSAGE = Message("commands", ("type", "charge"))


class AnyStore(Store, DueSagas, Requests, Outbox, Protocol):
    """A store as the engine and the loops use it."""


@dataclass(slots=True)
class Subject:
    """A store, and what is beside its protocol: what a test puts into it, and what it can only look for there."""

    store: AnyStore
    pool: asyncpg.Pool | None = None

    async def request(self, fields: Mapping[str, str]) -> int:
        """As a caller of the contract's SQL functions makes it."""
        if isinstance(self.store, MemoryStore):
            return self.store.request(fields, asked=Asked(saga_id_from_key("?", fields["subject"]), fields["subject"]))
        assert self.pool is not None
        return int(await self.pool.fetchval("select saga.signal($1, key => $2)", fields["type"], fields["subject"]))

    async def define(self, definition: Definition) -> None:
        if isinstance(self.store, MemoryStore):
            self.store.definitions[definition.name, definition.version] = definition
        elif isinstance(self.store, PostgresStore):
            document = definition_to_document(definition.name, definition.steps, {}, None)
            await self.store.remember_definitions([document | {"version": definition.version}])

    async def counts(self) -> dict[str, int]:
        """How many rows there are of each kind."""
        store = self.store
        if isinstance(store, MemoryStore):
            rows = (store.sagas, store.history, store.dead_letters, store.outbox, store.requests)
            return dict(zip(KINDS, map(len, rows), strict=True))
        assert self.pool is not None
        return {kind: await self.pool.fetchval(f"select count(*) from saga_private.{kind}") for kind in KINDS}


KINDS = ("sagas", "history", "dead_letters", "outbox", "requests")


@asynccontextmanager
async def on_postgres(dsn: str) -> AsyncIterator[Subject]:
    pool = await create_pool(dsn, 2)
    try:
        yield Subject(PostgresStore(pool, definition_from_document, clock_ms=lambda: NOW_MS), pool)
    finally:
        await close_pool(pool)


@pytest.fixture(params=["memory", "postgres"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    if request.param == "memory":
        yield Subject(MemoryStore(clock_ms=lambda: NOW_MS))
        return
    async with on_postgres(request.getfixturevalue("postgres_dsn")) as subject:
        yield subject


@pytest.fixture
def store(subject: Subject) -> AnyStore:
    return subject.store


def saga(
    name: str,
    *,
    key: str = "",
    status: SagaStatus = SAGA_RUNNING,
    wake_at_ms: int | None = None,
    ended_at_ms: int | None = None,
) -> Batch:
    """The start of a saga that is due at this moment."""
    state = state_of(start(name))
    changed = state._replace(key=key or name, status=status, wake_at_ms=wake_at_ms, ended_at_ms=ended_at_ms)
    return Batch(writes=[Write(changed, 0)])


def id_of(batch: Batch) -> SagaId:
    return batch.writes[0].state.id


async def loaded(store: Store, saga_id: SagaId) -> SagaState:
    [state] = await store.load([saga_id])
    return state


# Writing


async def test_what_is_committed_is_loaded(store: AnyStore) -> None:
    one, two = start("one"), start("two")
    await store.commit(batch(one, two))
    await store.commit(batch(succeed(one)))
    states = {state.id: state for state in await store.load([state_of(one).id, state_of(two).id])}
    assert states == {state_of(one).id: succeed(one).state, state_of(two).id: two.state}


async def test_a_saga_that_is_not_there_is_not_loaded(store: AnyStore) -> None:
    assert await store.load([saga_id_from_key("order", "nobody")]) == []


@pytest.mark.parametrize("expected", [0, 2], ids=["is there already", "is at an earlier revision"])
async def test_a_lost_race_writes_nothing(subject: Subject, expected: int) -> None:
    store, begun = subject.store, start("one")
    await store.commit(batch(begun))
    before = await subject.counts()
    losing = batch(start("two"), succeed(start("three"))) if expected else batch(start("two"))
    losing.writes.append(Write(state_of(succeed(begun)), expected))
    losing.dead_letters.append(dead_letter(ENTRY, "broken", 1))
    losing.deferred.append(Deferred(AWKWARD, NOW_MS))
    with pytest.raises(RevisionConflict):
        await store.commit(losing)
    assert await subject.counts() == before
    assert await loaded(store, state_of(begun).id) == begun.state


async def test_a_saga_that_never_started_cannot_go_on(store: AnyStore) -> None:
    with pytest.raises(RevisionConflict):
        await store.commit(Batch(writes=[Write(state_of(succeed(start("one"))), 1)]))


async def test_the_first_dead_letter_of_an_entry_stays(subject: Subject) -> None:
    for reason in ("broken", "broken again"):
        await subject.store.commit(Batch(dead_letters=[dead_letter(ENTRY, reason, 1)]))
    assert (await subject.counts())["dead_letters"] == 1


async def test_a_probe_leaves_nothing_behind(subject: Subject) -> None:
    await subject.store.probe()
    assert set((await subject.counts()).values()) == {0}


# Requests


async def test_a_request_is_claimed_once_in_a_lease(subject: Subject) -> None:
    number = await subject.request({"type": "approved", "subject": "A-17"})
    [entry] = await subject.store.claim_requests(NOW_MS, 10, LEASE_MS)
    assert (entry.stream, entry.id, entry.fields[b"type"]) == (REQUESTS, str(number), b"approved")
    assert entry.request is not None
    assert entry.request == (number, NOW_MS, 1)
    assert await subject.store.claim_requests(NOW_MS + LEASE_MS - 1, 10, LEASE_MS) == []
    [again] = await subject.store.claim_requests(NOW_MS + LEASE_MS, 10, LEASE_MS)
    assert again.request == (number, NOW_MS, 2), "its time counts from the first attempt"


async def test_no_more_requests_are_claimed_than_asked_for(subject: Subject) -> None:
    numbers = [await subject.request({"type": "approved", "subject": key}) for key in "ABC"]
    first = await subject.store.claim_requests(NOW_MS, 2, LEASE_MS)
    rest = await subject.store.claim_requests(NOW_MS, 2, LEASE_MS)
    assert [entry.id for entry in (*first, *rest)] == [str(number) for number in numbers]


async def test_a_result_closes_a_request_for_good(subject: Subject) -> None:
    number = await subject.request({"type": "approved", "subject": "A-17"})
    await subject.store.commit(Batch(results=[RequestResult(number, "applied", "", None)]))
    assert await subject.store.claim_requests(NOW_MS, 10, LEASE_MS) == []
    with pytest.raises(RequestsAnswered):
        await subject.store.commit(Batch(results=[RequestResult(number, "applied", "", None)]))


async def test_a_batch_that_answers_an_answered_request_writes_nothing(subject: Subject) -> None:
    number = await subject.request({"type": "approved", "subject": "A-17"})
    losing = batch(start("one"))
    losing.results += [RequestResult(number, "applied", "", None), RequestResult(number + 1, "applied", "", None)]
    with pytest.raises(RequestsAnswered):
        await subject.store.commit(losing)
    assert await subject.counts() == dict.fromkeys(KINDS, 0) | {"requests": 1}
    assert len(await subject.store.claim_requests(NOW_MS, 10, LEASE_MS)) == 1, "it is still open"


async def test_a_request_cannot_be_answered_twice_in_one_batch(subject: Subject) -> None:
    number = await subject.request({"type": "approved", "subject": "A-17"})
    with pytest.raises(RequestsAnswered):
        await subject.store.commit(Batch(results=[RequestResult(number, "applied", "", None)] * 2))


async def test_a_request_is_not_claimed_before_an_earlier_one_of_its_saga_is_answered(subject: Subject) -> None:
    first = await subject.request({"type": "approved", "subject": "A-17"})
    await subject.store.claim_requests(NOW_MS, 10, LEASE_MS)
    second = await subject.request({"type": "approved", "subject": "A-17"})
    other = await subject.request({"type": "approved", "subject": "B-18"})
    assert [entry.id for entry in await subject.store.claim_requests(NOW_MS, 10, LEASE_MS)] == [str(other)]
    await subject.store.commit(Batch(results=[RequestResult(first, "applied", "", None)]))
    assert [entry.id for entry in await subject.store.claim_requests(NOW_MS, 10, LEASE_MS)] == [str(second)]


async def test_a_batch_that_answers_a_request_before_an_earlier_one_of_its_saga_writes_nothing(
    subject: Subject,
) -> None:
    first, second = [await subject.request({"type": "approved", "subject": "A-17"}) for _ in range(2)]
    losing = batch(start("one"))
    losing.results.append(RequestResult(second, "applied", "", None))
    with pytest.raises(RequestsOutOfOrder):
        await subject.store.commit(losing)
    assert await subject.counts() == dict.fromkeys(KINDS, 0) | {"requests": 2}
    both = [RequestResult(number, "applied", "", None) for number in (second, first)]
    await subject.store.commit(Batch(results=both))


async def test_what_a_stream_asks_of_a_saga_is_not_done_before_an_open_request(subject: Subject) -> None:
    number = await subject.request({"type": "approved", "subject": "A-17"})
    asked = Asked(saga_id_from_key("order", "A-17"), "A-17")
    with pytest.raises(RequestsOutOfOrder):
        await subject.store.commit(Batch(asked=[asked]))
    await subject.store.commit(Batch(results=[RequestResult(number, "applied", "", None)]))
    await subject.store.commit(Batch(asked=[asked]))


async def test_a_deferred_entry_keeps_its_place_among_the_requests_of_its_saga(subject: Subject) -> None:
    asked = Asked(saga_id_from_key("order", "A-17"), "A-17")
    await subject.store.commit(Batch(deferred=[Deferred(ENTRY, NOW_MS + 5, asked)]))
    await subject.request({"type": "approved", "subject": "A-17"})
    assert await subject.store.claim_requests(NOW_MS, 10, LEASE_MS) == []
    claimed = await subject.store.claim_requests(NOW_MS + 5, 10, LEASE_MS)
    assert claimed[0].id == ENTRY.id


@pytest.mark.parametrize("entry", [ENTRY, AWKWARD], ids=["text", "any bytes"])
async def test_a_deferred_entry_comes_back_as_it_came_when_it_is_due(store: AnyStore, entry: Entry) -> None:
    await store.commit(Batch(deferred=[Deferred(entry, NOW_MS + 5)]))
    assert await store.claim_requests(NOW_MS + 4, 10, LEASE_MS) == []
    [back] = await store.claim_requests(NOW_MS + 5, 10, LEASE_MS)
    assert (back.stream, back.id, list(back.pairs())) == (entry.stream, entry.id, list(entry.pairs()))
    assert back.request is not None
    assert (back.request.since_ms, back.request.attempts) == (NOW_MS, 2)


async def test_an_entry_that_is_delivered_again_is_deferred_once(subject: Subject) -> None:
    for due_at_ms in (NOW_MS, NOW_MS + 1):
        await subject.store.commit(Batch(deferred=[Deferred(ENTRY, due_at_ms)]))
    assert (await subject.counts())["requests"] == 1


async def test_entries_that_are_deferred_together_keep_the_order_of_their_stream(store: AnyStore) -> None:
    ids = ["999-7", "1700-2", "1700-10", "1701-1"]
    came = [Deferred(Entry("saga:events", entry_id, ENTRY.fields), NOW_MS) for entry_id in ids]
    await store.commit(Batch(deferred=came))
    assert [entry.id for entry in await store.claim_requests(NOW_MS, 10, LEASE_MS)] == ids


async def test_a_request_that_is_deferred_again_waits_until_then(store: AnyStore) -> None:
    await store.commit(Batch(deferred=[Deferred(ENTRY, NOW_MS)]))
    [back] = await store.claim_requests(NOW_MS, 10, LEASE_MS)
    await store.commit(Batch(deferred=[Deferred(back, NOW_MS + 9_000)]))
    assert await store.claim_requests(NOW_MS + 8_999, 10, LEASE_MS) == []
    assert len(await store.claim_requests(NOW_MS + 9_000, 10, LEASE_MS)) == 1


async def test_a_deferred_entry_that_has_its_result_is_gone(subject: Subject) -> None:
    await subject.store.commit(Batch(deferred=[Deferred(ENTRY, NOW_MS)]))
    [back] = await subject.store.claim_requests(NOW_MS, 10, LEASE_MS)
    assert back.request is not None
    await subject.store.commit(Batch(results=[RequestResult(back.request.number, "applied", "", None)]))
    assert (await subject.counts())["requests"] == 0
    # A replica that claimed it before changes nothing any more.
    await subject.store.commit(Batch(deferred=[Deferred(back, NOW_MS)]))
    assert await subject.store.claim_requests(NOW_MS + LEASE_MS, 10, LEASE_MS) == []


# The outbox


async def test_messages_are_one_row_until_they_are_published(store: AnyStore) -> None:
    outbox_id = await store.commit(Batch(messages=[MESSAGE, MESSAGE]))
    assert outbox_id is not None
    assert await store.claim_unpublished(NOW_MS + 9, 10, 5) == []
    assert await store.claim_unpublished(NOW_MS + 10, 10, 5) == [(outbox_id, [MESSAGE, MESSAGE])]
    assert await store.claim_unpublished(NOW_MS + 19, 10, 5) == [], "nobody else gets them for as long again"
    await store.forget_published([outbox_id])
    assert await store.claim_unpublished(NOW_MS + 99, 10, 5) == []


async def test_a_batch_without_messages_has_no_outbox_row(subject: Subject) -> None:
    assert await subject.store.commit(saga("one")) is None
    assert (await subject.counts())["outbox"] == 0


async def test_published_rows_go_with_the_next_commit(subject: Subject) -> None:
    outbox_id = await subject.store.commit(Batch(messages=[MESSAGE]))
    assert outbox_id is not None
    await subject.store.commit(Batch(published=[outbox_id]))
    assert (await subject.counts())["outbox"] == 0


async def test_a_row_keeps_the_messages_that_are_left(store: AnyStore) -> None:
    outbox_id = await store.commit(Batch(messages=[MESSAGE, MESSAGE]))
    assert outbox_id is not None
    await store.keep_unpublished(outbox_id, [MESSAGE])
    assert await store.claim_unpublished(NOW_MS + 10, 10, 5) == [(outbox_id, [MESSAGE])]


async def test_the_oldest_rows_are_claimed_first(store: AnyStore) -> None:
    ids = [await store.commit(Batch(messages=[MESSAGE])) for _ in range(3)]
    claimed = [number for number, _ in await store.claim_unpublished(NOW_MS + 10, 10, 2)]
    assert claimed == ids[:2]
    assert [number for number, _ in await store.claim_unpublished(NOW_MS + 10, 10, 2)] == ids[2:]


# Timers and recovery


async def test_due_sagas_are_claimed_the_longest_overdue_first(store: AnyStore) -> None:
    late, later, coming = saga("late", wake_at_ms=10), saga("later", wake_at_ms=20), saga("coming", wake_at_ms=900)
    for each in (coming, later, late, saga("idle")):
        await store.commit(each)
    assert await store.claim_due(100, 1, LEASE_MS) == ([id_of(late)], 900)
    assert await store.claim_due(100, 10, LEASE_MS) == ([id_of(later)], 900)
    assert await store.claim_due(100, 10, LEASE_MS) == ([], 900)
    claimed, next_due_at_ms = await store.claim_due(100 + LEASE_MS, 10, LEASE_MS)
    assert set(claimed) == {id_of(late), id_of(later), id_of(coming)}
    assert next_due_at_ms is None


async def test_a_lease_moves_the_moment_of_the_stored_saga(store: AnyStore) -> None:
    due = saga("one", wake_at_ms=10)
    await store.commit(due)
    await store.claim_due(100, 10, LEASE_MS)
    assert (await loaded(store, id_of(due))).wake_at_ms == 100 + LEASE_MS


async def test_a_parked_saga_is_due_at_the_last_moment(store: AnyStore) -> None:
    due = saga("one", wake_at_ms=10)
    await store.commit(due)
    await store.commit(Batch(dead_letters=[dead_letter(ENTRY, "a bug", 1)], parked=[id_of(due)]))
    assert await store.claim_due(START_MS, 10, LEASE_MS) == ([], MOMENT_MS_MAX)


async def test_a_saga_that_has_no_timer_gets_none_by_being_parked(store: AnyStore) -> None:
    """A saga that ended, or got stuck, while its timer was in hand would never be removed if it had one."""
    ended = saga("one", status=SAGA_COMPLETED, ended_at_ms=10, wake_at_ms=None)
    await store.commit(ended)
    await store.commit(Batch(dead_letters=[dead_letter(ENTRY, "a bug", 1)], parked=[id_of(ended)]))
    assert (await loaded(store, id_of(ended))).wake_at_ms is None


# Looking up


async def test_a_key_finds_two_sagas_of_each_kind_at_most(store: AnyStore) -> None:
    open_ids, ended_ids = [], []
    for number in range(3):
        going = saga(f"{number}", key="A")
        ended = saga(f"ended {number}", key="A", status=SAGA_COMPLETED, ended_at_ms=5)
        open_ids.append(id_of(going))
        ended_ids.append(id_of(ended))
        await store.commit(going)
        await store.commit(ended)
    await store.commit(saga("B"))
    found = await store.ids_with_key([BusinessKey("order", "A"), BusinessKey("order", "C"), BusinessKey("trip", "A")])
    assert sorted(each.has_ended for each in found) == [False, False, True, True]
    assert {each.saga_id for each in found if each.has_ended} < set(ended_ids)
    assert {each.saga_id for each in found if not each.has_ended} < set(open_ids)
    assert await store.ids_with_key([BusinessKey("order", "B")]) == [
        KeyedSaga(BusinessKey("order", "B"), id_of(saga("B")), has_ended=False)
    ]


async def test_a_definition_is_found_by_its_version(subject: Subject) -> None:
    await subject.define(ORDER)
    assert await subject.store.definition(ORDER.name, ORDER.version) == ORDER
    assert await subject.store.definition(ORDER.name, "another") is None
    assert await subject.store.definition("anything", TOMBSTONE) == tombstone("anything")
