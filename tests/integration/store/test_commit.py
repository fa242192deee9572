"""One batch, one commit: all of it or nothing, and nothing that did not grow out of what is stored."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import asyncpg
import orjson
import pytest

from saga_service.core.effects import Transition
from saga_service.core.ids import SagaId, saga_id_from_key
from saga_service.engine.failures import RevisionConflict, StoreRefused
from saga_service.engine.ports import Batch, Write
from saga_service.store.postgres_store import PostgresStore
from saga_service.wire.dead_letters import dead_letter
from saga_service.wire.entries import Entry, Message
from tests.support.builders import running
from tests.support.store_batches import ORDER, add, batch, row_counts, start, state_of, succeed

NOTHING = {"sagas": 0, "history": 0, "outbox": 0, "dead_letters": 0}


async def test_what_is_committed_is_loaded_again(store: PostgresStore) -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve", {"reservation": "r-1"})
    saga.reject("charge", "no-money")
    await store.commit(Batch(writes=[Write(saga.state, 0)], history=saga.history))
    assert await store.load([saga.state.id]) == [saga.state]


async def test_unknown_sagas_are_left_out(store: PostgresStore) -> None:
    known = start("known")
    await store.commit(batch(known))
    assert await store.load([saga_id_from_key("order", "unknown"), state_of(known).id]) == [known.state]
    assert await store.load([]) == []


async def test_a_batch_moves_many_sagas_at_once(store: PostgresStore) -> None:
    started = [start(f"order-{number}") for number in range(300)]
    await store.commit(batch(*started))
    moved = [succeed(transition) for transition in started]
    new = [start(f"order-{number}") for number in range(300, 400)]
    await store.commit(batch(*moved, *new))
    loaded = {state.id: state for state in await store.load([state_of(each).id for each in (*moved, *new)])}
    assert loaded == {state_of(each).id: each.state for each in (*moved, *new)}


async def test_several_transitions_of_one_saga_are_one_write(store: PostgresStore, pool: asyncpg.Pool) -> None:
    folded = Batch()
    first = start("order-1")
    add(folded, [first, succeed(first)])
    await store.commit(folded)
    assert [state.revision for state in await store.load([state_of(first).id])] == [2]
    await _assert_history_has_no_gap(pool, state_of(first).id, 2)


async def test_a_repeated_start_conflicts_and_changes_nothing(store: PostgresStore, pool: asyncpg.Pool) -> None:
    first = start("order-1", saga_input={"amount": 5})
    await store.commit(batch(first))
    with pytest.raises(RevisionConflict, match="1 of 1 sagas to start are there already"):
        await store.commit(batch(start("order-1", saga_input={"amount": 999})))
    assert await store.load([state_of(first).id]) == [first.state]
    assert await row_counts(pool) == {"sagas": 1, "history": 1, "outbox": 1, "dead_letters": 0}


async def test_a_batch_that_loses_one_race_writes_nothing_at_all(store: PostgresStore, pool: asyncpg.Pool) -> None:
    mine, contested = start("mine"), start("contested")
    outbox_id = await store.commit(batch(mine, contested))
    stale = succeed(contested, {"by": "the loser"})
    winner = succeed(contested, {"by": "the winner"})
    await store.commit(batch(winner))
    before = await row_counts(pool)

    losing = batch(succeed(mine), stale, start("new"))
    losing.dead_letters.append(dead_letter(Entry("saga:events", "1-1", {b"a": b"b"}), "broken", 1))
    losing.published = [outbox_id] if outbox_id else []
    with pytest.raises(RevisionConflict, match="1 of 2 sagas are not at the expected revision"):
        await store.commit(losing)

    assert await row_counts(pool) == before
    loaded = await store.load([state_of(mine).id, state_of(contested).id, saga_id_from_key("order", "new")])
    assert sorted(loaded, key=lambda state: state.id) == sorted(
        [state_of(mine), state_of(winner)], key=lambda state: state.id
    )


async def test_a_saga_that_is_not_there_cannot_go_on(store: PostgresStore, pool: asyncpg.Pool) -> None:
    never_committed = start("order-1")
    with pytest.raises(RevisionConflict):
        await store.commit(batch(succeed(never_committed)))
    assert await row_counts(pool) == NOTHING


async def test_of_replicas_that_race_for_the_same_sagas_exactly_one_wins_each(
    store: PostgresStore, pool: asyncpg.Pool
) -> None:
    started = [start(f"order-{number}") for number in range(40)]
    await store.commit(batch(*started))

    async def race(replica: int) -> bool:
        # Each replica has its sagas in another order: nobody may wait for another in a circle.
        mine = started[replica:] + started[:replica]
        try:
            await store.commit(batch(*(succeed(each, {"by": replica}) for each in mine)))
        except RevisionConflict:
            return False
        return True

    outcomes = await asyncio.gather(*(race(replica) for replica in range(8)))
    assert outcomes.count(True) == 1
    loaded = await store.load([state_of(each).id for each in started])
    winner = outcomes.index(True)
    assert {state.steps[0].output["by"] for state in loaded if state.steps[0].output} == {winner}
    assert (await row_counts(pool))["history"] == 80


async def test_of_replicas_that_start_the_same_saga_exactly_one_wins(store: PostgresStore, pool: asyncpg.Pool) -> None:
    async def race(replica: int) -> bool:
        try:
            await store.commit(batch(start("order-1", saga_input={"by": replica})))
        except RevisionConflict:
            return False
        return True

    outcomes = await asyncio.gather(*(race(replica) for replica in range(8)))
    assert outcomes.count(True) == 1
    assert await row_counts(pool) == {"sagas": 1, "history": 1, "outbox": 1, "dead_letters": 0}


async def test_replicas_whose_batches_overlap_in_opposite_order_never_deadlock(
    store: PostgresStore, pool: asyncpg.Pool
) -> None:
    states = [start(f"order-{number}") for number in range(60)]
    await store.commit(batch(*states))
    attempts = [Write(state_of(each)._replace(wake_at_ms=7), 1) for each in states]

    async def look_at(writes: list[Write]) -> None:
        for _ in range(15):
            await store.commit(Batch(writes=list(writes)))

    await asyncio.gather(look_at(attempts), look_at(attempts[::-1]), look_at(attempts[30:] + attempts[:30]))
    assert await pool.fetchval("select deadlocks from pg_stat_database where datname = current_database()") == 0


async def test_wake_at_alone_can_move(store: PostgresStore, pool: asyncpg.Pool) -> None:
    started = start("order-1")
    await store.commit(batch(started))
    later = state_of(started)._replace(wake_at_ms=77_000)
    assert await store.commit(Batch(writes=[Write(later, later.revision)])) is None
    assert await store.load([later.id]) == [later]
    assert await row_counts(pool) == {"sagas": 1, "history": 1, "outbox": 1, "dead_letters": 0}


async def test_history_rises_by_one_with_no_gap(store: PostgresStore, pool: asyncpg.Pool) -> None:
    transition: Transition = start("order-1")
    await store.commit(batch(transition))
    while transition.commands:
        transition = succeed(transition)
        await store.commit(batch(transition))
    assert state_of(transition).status == "completed"
    await _assert_history_has_no_gap(pool, state_of(transition).id, 1 + len(ORDER.steps))


async def _assert_history_has_no_gap(pool: asyncpg.Pool, saga_id: SagaId, revision: int) -> None:
    rows = await pool.fetch("select revision from saga_private.history where saga_id = $1 order by revision", saga_id)
    assert [row["revision"] for row in rows] == list(range(1, revision + 1))


async def test_history_cannot_be_written_twice(store: PostgresStore, pool: asyncpg.Pool) -> None:
    started = start("order-1")
    await store.commit(batch(started))
    forged = Batch(writes=[Write(state_of(started), 1)], history=list(started.history))
    with pytest.raises(StoreRefused, match="history_pkey"):
        await store.commit(forged)
    assert (await row_counts(pool))["history"] == 1


# ------------------------------------------------------------------------------------------------------------- outbox


async def test_all_messages_of_a_batch_are_one_outbox_row(store: PostgresStore, pool: asyncpg.Pool) -> None:
    made = batch(start("order-1"), start("order-2"))
    outbox_id = await store.commit(made)
    rows = await pool.fetch("select id, messages from saga_private.outbox")
    assert [row["id"] for row in rows] == [outbox_id]
    assert orjson.loads(rows[0]["messages"]) == [[each.stream, list(each.fields)] for each in made.messages]
    assert len(made.messages) == 2


async def test_a_batch_without_messages_has_no_outbox_row(store: PostgresStore, pool: asyncpg.Pool) -> None:
    silent = batch(start("order-1"))
    silent.messages.clear()
    assert await store.commit(silent) is None
    assert (await row_counts(pool))["outbox"] == 0


async def test_rows_that_were_published_go_with_the_next_commit(store: PostgresStore, pool: asyncpg.Pool) -> None:
    first, second = await store.commit(batch(start("order-1"))), await store.commit(batch(start("order-2")))
    assert first is not None
    following = batch(start("order-3"))
    following.published = [first]
    third = await store.commit(following)
    left = await pool.fetch("select id from saga_private.outbox order by id")
    assert [row["id"] for row in left] == [second, third]


# ------------------------------------------------------------------------------------------------------- dead letters


async def test_a_dead_letter_found_twice_is_kept_once(store: PostgresStore, pool: asyncpg.Pool) -> None:
    letter = dead_letter(Entry("saga:events", "5-1", {b"type": b"\xff\x00"}), "field 'type' is not valid UTF-8", 9_000)
    await store.commit(Batch(dead_letters=[letter]))
    await store.commit(Batch(dead_letters=[replace(letter, reason="found again")]))
    rows = await pool.fetch("select stream, entry_id, reason, at_ms, preview::text, raw from saga_private.dead_letters")
    assert [dict(row) for row in rows] == [
        {
            "stream": "saga:events",
            "entry_id": "5-1",
            "reason": "field 'type' is not valid UTF-8",
            "at_ms": 9_000,
            "preview": '{"type": "\\\\xff\\\\x00"}',
            "raw": letter.raw,
        }
    ]


# -------------------------------------------------------------------------------------------------- what comes as data

AWKWARD = [
    *('"', "\\", '\\"', "{", "}", "{}", ",", "null", "NULL", " ", "", "'", "$1", "%s", ";--"),
    *("\n", "\t", "\x01", "\x1f", "\x7f", "ü", "\U0001f680", "\\u0000", "\u2028", "a\\nb"),
]


async def test_any_text_comes_back_as_it_went_in(store: PostgresStore, pool: asyncpg.Pool) -> None:
    made = Batch()
    for number, text in enumerate(AWKWARD):
        begun = start(f"{text}{number}", saga_input={text: [text]})
        done = succeed(begun, {text: {text: text}})
        state = state_of(done)._replace(key=text, traceparent=text or None)
        made.writes.append(Write(state, 0))
        made.history.extend(begun.history)
    made.messages.append(Message("a stream", tuple(AWKWARD)))
    await store.commit(made)
    loaded = await store.load([write.state.id for write in made.writes])
    assert {state.id: state for state in loaded} == {write.state.id: write.state for write in made.writes}
    again = await store.claim_unpublished(2**50, 0, 10)
    assert [messages for _, messages in again] == [made.messages]


async def test_a_value_that_cannot_be_stored_refuses_the_batch_and_leaves_the_store_usable(
    store: PostgresStore, pool: asyncpg.Pool
) -> None:
    good = state_of(start("good"))
    bad = good._replace(id=saga_id_from_key("order", "bad"))
    unstorable = [
        bad._replace(input={"text": "\0"}),
        bad._replace(input={"half a character": "\ud800"}),
        bad._replace(input={"beyond 64 bits": 2**70}),
        bad._replace(key="\0"),
        bad._replace(key="\ud800"),
        bad._replace(id=SagaId("not a uuid")),
        bad._replace(updated_at_ms=2**63),
    ]
    for state in unstorable:
        with pytest.raises(StoreRefused, match=r"\w+"):
            await store.commit(Batch(writes=[Write(good, 0), Write(state, 0)]))
    assert await row_counts(pool) == NOTHING
    await store.commit(Batch(writes=[Write(good, 0)]))
    assert await store.load([good.id]) == [good]


async def test_without_a_statement_cache_a_commit_works_the_same(postgres_dsn: str) -> None:
    """As behind a pgbouncer that keeps no prepared statements."""
    from saga_service.base.postgres import close_pool
    from saga_service.store.pool import create_pool

    pool = await create_pool(postgres_dsn, 2, statement_cache_size=0)
    try:
        store = PostgresStore(pool, lambda document: ORDER)
        for number in range(8):
            started = start(f"order-{number}")
            await store.commit(batch(started))
            assert await store.load([state_of(started).id]) == [started.state]
            assert await store.claim_due(0, 10, 1_000) == ([], state_of(started).wake_at_ms)
    finally:
        await close_pool(pool)
