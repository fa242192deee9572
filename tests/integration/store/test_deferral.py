"""What came before its saga, kept in Postgres byte by byte, and taken up again when it is due."""

from __future__ import annotations

from dataclasses import replace

import asyncpg
import orjson
import pytest

from saga_service.core.events import BusinessKey
from saga_service.core.ids import saga_id_from_key
from saga_service.definitions import check_saga, readable_saga_spec
from saga_service.definitions.authoring import Saga, Step
from saga_service.engine.failures import RevisionConflict
from saga_service.engine.ports import Batch, Deferred, KeyedSaga, RequestResult, Write
from saga_service.store.postgres_store import PostgresDefinitionRegistry, PostgresStore
from saga_service.wire.entries import Entry, RequestRow, entry_of
from tests.support.builders import SagaInMemory, definition, started
from tests.support.store_batches import batch, start, state_of

LEASE_MS = 10_000
SIGNAL = Entry("saga:events", "1700-3", {b"type": b"approved", b"saga": b"order", b"subject": b"A-17", b"data": b"{}"})
AWKWARD = entry_of("saga:events", "1700-4", [b"type", b"approved", b"x", b"\xff\x00", b"x", b"twice", b"subject", b"1"])


def deferred(entry: Entry, due_at_ms: int) -> Batch:
    return Batch(deferred=[Deferred(entry, due_at_ms)])


@pytest.mark.parametrize("entry", [SIGNAL, AWKWARD], ids=["text", "any bytes"])
async def test_an_entry_that_waits_comes_back_as_it_came_when_it_is_due(store: PostgresStore, entry: Entry) -> None:
    await store.commit(deferred(entry, 5_000))
    assert await store.claim_requests(4_999, 10, LEASE_MS) == []
    [back] = await store.claim_requests(5_000, 10, LEASE_MS)
    assert back.request is not None
    assert (back.stream, back.id, list(back.pairs())) == (entry.stream, entry.id, list(entry.pairs()))
    assert await store.claim_requests(5_000 + LEASE_MS - 1, 10, LEASE_MS) == [], "it is in hand for so long"


async def test_an_entry_that_is_delivered_again_waits_once(store: PostgresStore, pool: asyncpg.Pool) -> None:
    await store.commit(deferred(SIGNAL, 5_000))
    await store.commit(deferred(SIGNAL, 6_000))
    assert await pool.fetchval("select count(*) from saga_private.requests") == 1


async def test_what_still_waits_waits_on_and_keeps_the_moment_at_which_it_came(store: PostgresStore) -> None:
    await store.commit(deferred(SIGNAL, 5_000))
    [back] = await store.claim_requests(5_000, 10, LEASE_MS)
    assert back.request is not None
    await store.commit(deferred(back, 7_000))
    assert await store.claim_requests(6_999, 10, LEASE_MS) == []
    [again] = await store.claim_requests(7_000, 10, LEASE_MS)
    assert again == replace(back, request=back.request._replace(attempts=back.request.attempts + 1))


async def test_what_is_settled_waits_no_more(store: PostgresStore, pool: asyncpg.Pool) -> None:
    await store.commit(deferred(SIGNAL, 5_000))
    [back] = await store.claim_requests(5_000, 10, LEASE_MS)
    assert back.request is not None
    await store.commit(Batch(results=[RequestResult(back.request.number, "applied", "", None)]))
    assert await pool.fetchval("select count(*) from saga_private.requests") == 0


async def test_what_is_asked_by_sql_may_have_to_wait_as_well(store: PostgresStore, pool: asyncpg.Pool) -> None:
    number = await pool.fetchval("select saga.signal('approved', key => 'A-17', saga => 'order')")
    [asked] = await store.claim_requests(1, 10, LEASE_MS)
    assert asked.request is not None
    assert asked.request.number == number
    await store.commit(deferred(asked, 90_000))
    assert await store.claim_requests(89_999, 10, LEASE_MS) == []
    [again] = await store.claim_requests(90_000, 10, LEASE_MS)
    assert again == replace(asked, request=RequestRow(number, 1, attempts=2)), "its time counts from the first look"


async def test_a_batch_that_loses_its_race_lets_nothing_wait(store: PostgresStore, pool: asyncpg.Pool) -> None:
    saga = start("one")
    await store.commit(batch(saga))
    with pytest.raises(RevisionConflict):
        await store.commit(Batch(writes=[Write(state_of(saga), 0)], deferred=[Deferred(SIGNAL, 5_000)]))
    assert await pool.fetchval("select count(*) from saga_private.requests") == 0


async def test_what_waits_is_seen_in_sql_without_its_data(store: PostgresStore, pool: asyncpg.Pool) -> None:
    await store.commit(deferred(SIGNAL, 5_000))
    await store.commit(deferred(AWKWARD, 5_000))
    rows = await pool.fetch("select type, saga, key, stream, entry_id, verdict from saga.requests order by request_id")
    assert [tuple(row) for row in rows] == [
        ("approved", "order", "A-17", "saga:events", "1700-3", None),
        ("approved", None, "1", "saga:events", "1700-4", None),
    ]


# ------------------------------------------------------------------------------------------------------- by its key


def _with_key(number: int, key: str) -> SagaInMemory:
    defined = definition("reserve")
    saga = SagaInMemory(defined)
    saga.apply(started(defined, saga_id=saga_id_from_key("made up", str(number)))._replace(key=key))
    return saga


async def test_a_key_finds_its_sagas_those_that_go_on_and_those_that_have_ended(store: PostgresStore) -> None:
    ended, first, second, alone = (_with_key(number, key) for number, key in enumerate(("A", "A", "A", "B")))
    ended.succeed("reserve")
    alone.succeed("reserve")
    writes = [Write(saga.state, 0) for saga in (ended, first, second, alone)]
    await store.commit(Batch(writes=writes))
    a, b, none = BusinessKey("order", "A"), BusinessKey("order", "B"), BusinessKey("order", "C")
    found = await store.ids_with_key([a, b, none, BusinessKey("trip", "A")])
    assert sorted(found) == sorted(
        [
            KeyedSaga(a, first.state.id, has_ended=False),
            KeyedSaga(a, second.state.id, has_ended=False),
            KeyedSaga(a, ended.state.id, has_ended=True),
            KeyedSaga(b, alone.state.id, has_ended=True),
        ]
    )


async def test_of_many_sagas_with_one_key_no_more_are_told_than_show_that_it_is_not_one(store: PostgresStore) -> None:
    sagas = [_with_key(number, "A") for number in range(9)]
    for saga in sagas[:4]:
        saga.succeed("reserve")
    await store.commit(Batch(writes=[Write(saga.state, 0) for saga in sagas]))
    found = await store.ids_with_key([BusinessKey("order", "A")])
    assert sorted(each.has_ended for each in found) == [False, False, True, True]


# -------------------------------------------------------------------------------------------------------- on record

APPROVAL = Step("approval", signal="refund.approved", timeout="1d")
REFUND = Saga(
    "refund",
    input={"type": "object", "required": ["order"], "properties": {"order": {"type": "string"}}},
    key="order",
    steps=[APPROVAL, Step("pay", action="bank.pay")],
)


async def test_what_was_deployed_elsewhere_is_learned_with_its_input_and_its_key(
    store: PostgresStore, pool: asyncpg.Pool
) -> None:
    registry = PostgresDefinitionRegistry(pool, readable_saga_spec)
    assert await registry.deployed(["refund"]) == {}
    assert await registry.waiting_for(["refund.approved"]) == {}
    await pool.execute(
        "insert into saga_private.definitions (saga, version, compensations, document) values ($1, $2, '{}', $3)",
        "refund",
        "v1",
        orjson.dumps(check_saga(REFUND).document).decode(),
    )
    resolved = (await registry.deployed(["refund", "nothing"]))["refund"]
    assert resolved is not None
    assert resolved.business_key({"order": "A-17"}, resolved.read_input({"order": "A-17"})) == "A-17"
    assert [step.name for step in resolved.definition.steps] == ["approval", "pay"]
    # A command is no signal.
    assert await registry.waiting_for(["refund.approved", "bank.pay"]) == {"refund.approved": ["refund"]}


async def test_what_a_later_release_has_stored_is_known_to_be_there_and_no_more(pool: asyncpg.Pool) -> None:
    document = {**check_saga(REFUND).document, "format": 99}
    await pool.execute(
        "insert into saga_private.definitions (saga, version, compensations, document)"
        " values ('refund', 'v1', '{}', $1)",
        orjson.dumps(document).decode(),
    )
    assert await PostgresDefinitionRegistry(pool, readable_saga_spec).deployed(["refund"]) == {"refund": None}
