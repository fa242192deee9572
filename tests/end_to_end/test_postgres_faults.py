"""Postgres slow, silent, locked, or gone at the worst of moments."""

from __future__ import annotations

import asyncio
import random

from saga_service.core.ids import saga_id_from_event
from tests.end_to_end.laws import assert_lawful
from tests.end_to_end.plans import ends_as, random_plans
from tests.end_to_end.proxy import Cut, postgres_proxy
from tests.end_to_end.system import System
from tests.support.locks import shorten_lock_timeouts, somebody_locks
from tests.support.waiting import eventually

COMMITTED = b"s\x00\x00\x00\x04Z"
"""How Postgres says that a statement is done and its transaction over."""
WAITS, TAKEN_APART = "postgres is away; a batch waits", "a batch cannot be committed; it is taken apart"


async def test_a_commit_whose_answer_never_arrives_counts_once(system: System, postgres_dsn: str) -> None:
    async with postgres_proxy(postgres_dsn) as (proxy, dsn):
        # Without prepared statements each commit is to be known by its text.
        await system.start_in_one(SAGA_POSTGRES_DSN=dsn, SAGA_POSTGRES_STATEMENT_CACHE_SIZE="0")
        proxy.cut = Cut(b"commit_batch", COMMITTED, times=5)
        keys = [f"cut-{number}" for number in range(30)]
        for key in keys:
            system.start_saga("trip", key, plan={"invoice": ["reject"]})
        seen = await assert_lawful(system, len(keys))
        assert proxy.cut.done == 5
        assert {saga.row["status"] for saga in seen} == {"compensated"}
        assert {saga.row["revision"] for saga in seen} == {8}, "each transition once"


async def test_a_link_that_goes_silent_is_given_up_and_made_anew(
    system: System, postgres_dsn: str, random_seed: int
) -> None:
    plans = random_plans(random.Random(random_seed), 60)
    async with postgres_proxy(postgres_dsn) as (proxy, dsn):
        await system.start_in_one(SAGA_POSTGRES_DSN=dsn, SAGA_POSTGRES_TIMEOUT_MS="500")
        system.start_sagas("trip", plans)
        await eventually(lambda: system.redis.xlen(system.names.outcomes) >= 5)
        proxy.stall()
        # So long the disaster lasts.
        await asyncio.sleep(2)
        proxy.flow()
        seen = await assert_lawful(system, 60)
        assert {saga.row["key"]: saga.row["status"] for saga in seen} == {key: ends_as(plans[key]) for key in plans}


async def test_a_saga_row_that_somebody_keeps_locked_delays_that_saga_alone(system: System, postgres_dsn: str) -> None:
    """For many times as long as a commit waits for a lock, though what is locked came in together with the others."""
    saga_ids = await _sagas_by_hand(system, 20)
    locked, others = saga_ids[:1], saga_ids[1:]
    async with somebody_locks(postgres_dsn, "select from saga_private.sagas where id = $1 for update", locked[0]):
        _reply_to_all(system, saga_ids, "first")
        await eventually(lambda: _at_revision(system, others, 2), within_s=20)
        system.start_sagas("trip", {f"other-{number}": {"car": ["fail"]} for number in range(40)})
        await eventually(lambda: _completed(system, 40), within_s=20)
        await eventually(lambda: _attempts_at_what_is_deferred(system, 4), within_s=20)
        assert await _at_revision(system, locked, 1)
    await eventually(lambda: _at_revision(system, locked, 2), within_s=20)
    _reply_to_all(system, saga_ids, "second")
    await assert_lawful(system, 60)


async def test_a_postgres_in_which_every_statement_times_out_is_waited_out(system: System, postgres_dsn: str) -> None:
    saga_ids = await _sagas_by_hand(system, 20)
    async with somebody_locks(postgres_dsn, "lock table saga_private.sagas in exclusive mode"):
        _reply_to_all(system, saga_ids, "first")
        system.start_sagas("trip", {f"other-{number}": {} for number in range(20)})
        await eventually(lambda: _waits(system, 6), within_s=30)
        assert await system.value("select count(*) from saga.requests") == 0
    await eventually(lambda: _at_revision(system, saga_ids, 2), within_s=20)
    _reply_to_all(system, saga_ids, "second")
    await assert_lawful(system, 40)
    events = [event for child in system.children for event in system.events_of(child)]
    assert TAKEN_APART not in events


async def _sagas_by_hand(system: System, sagas: int) -> list[str]:
    """Two replicas that are quick to give up a lock, and so many sagas whose workers are this test."""
    async with system.connection() as connection:
        await shorten_lock_timeouts(connection, 200)
    await system.start(services=2, SAGA_POSTGRES_TIMEOUT_MS="1000", SAGA_TIMERS_POLL_MS="1000")
    for number in range(sagas):
        system.add(system.names.events, {"type": "by-hand", "id": f"by-hand-{number}"})
    await system.until_taken_in(sagas)
    return [str(saga_id_from_event("by-hand", f"by-hand-{number}")) for number in range(sagas)]


async def _attempts_at_what_is_deferred(system: System, attempts: int) -> bool:
    made = await system.value("select max(attempts) from saga_private.requests where stream is not null")
    assert (made or 0) >= attempts, f"{made} of {attempts}"
    return True


def _waits(system: System, times: int) -> bool:
    waits = [system.events_of(child).count(WAITS) for child in system.children if child.name.startswith("service")]
    assert sum(waits) >= times, f"{waits} waits"
    return True


async def _completed(system: System, sagas: int) -> bool:
    completed = await system.value("select count(*) from saga.sagas where status = 'completed'")
    assert completed == sagas, f"{completed} of {sagas}"
    return True


def _reply_to_all(system: System, saga_ids: list[str], step: str) -> None:
    """In one transaction, so that all of it is read at once."""
    with system.redis.pipeline(transaction=True) as pipeline:
        for saga_id in saga_ids:
            pipeline.xadd(system.names.replies, {"command_id": f"{saga_id}:{step}:action:1", "outcome": "succeeded"})
        pipeline.execute()


async def _at_revision(system: System, saga_ids: list[str], revision: int) -> bool:
    there = "select count(*) from saga.sagas where id = any($1::uuid[]) and revision = $2"
    count = await system.value(there, saga_ids, revision)
    assert count == len(saga_ids), f"{count} of {len(saga_ids)} are at revision {revision}"
    return True
