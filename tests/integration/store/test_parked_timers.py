"""A timer that fails by a bug: a person sees it in SQL, it fails once and not at every lease, and a replay mends it."""

from __future__ import annotations

import asyncpg
import pytest

from saga_service.core.advance import advance
from saga_service.core.definition import Definition
from saga_service.core.effects import Transition
from saga_service.core.events import Event, TimerDue
from saga_service.core.state import SagaState
from saga_service.engine.outbox import OutboxRows
from saga_service.store.postgres_store import PostgresStore
from saga_service.store.requests import PostgresRequests
from saga_service.wire.dead_letters import raw_pairs
from tests.support.builders import SAGA_ID, TIMEOUT_MS, PlainBlueprint, PlainCatalog, definition
from tests.support.fakes import start
from tests.support.replica import engine_on, process

ORDER = definition("reserve", "charge")
LEASE_MS = 1_000
FAR_MS = 1_000_000


async def test_a_parked_timer_is_seen_fails_once_and_is_set_going_by_a_replay(
    pool: asyncpg.Pool, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(defined: Definition, state: SagaState | None, event: Event, now_ms: int) -> Transition:
        if isinstance(event, TimerDue):
            raise ZeroDivisionError("a bug")
        return advance(defined, state, event, now_ms)

    engine = engine_on(store, PlainCatalog(PlainBlueprint(ORDER, integers=["amount"])), [ORDER], OutboxRows())
    await process(engine, [start()])
    [state] = await store.load([SAGA_ID])
    assert state.wake_at_ms is not None
    due_ms = state.wake_at_ms
    assert due_ms == state.created_at_ms + TIMEOUT_MS

    with monkeypatch.context() as while_it_lasts:
        while_it_lasts.setattr("saga_service.engine.fold.advance", stumble)
        claimed, _ = await store.claim_due(due_ms, 10, LEASE_MS)
        await process(engine, [TimerDue(saga_id) for saga_id in claimed])
    [letter] = await pool.fetch("select id, stream, entry_id, reason from saga.dead_letters")
    assert (letter["stream"], letter["entry_id"].split(":")[0]) == ("saga.timers", SAGA_ID)
    assert letter["reason"] == "internal error, please report: ZeroDivisionError('a bug')"
    again, _ = await store.claim_due(due_ms + FAR_MS, 10, LEASE_MS)
    assert again == [], "not at every lease"

    raw = await pool.fetchval("select raw from saga_private.dead_letters where id = $1", letter["id"])
    fields = {name.decode(): value.decode() for name, value in raw_pairs(raw)}
    await PostgresRequests(pool).replay({letter["id"]: fields}, due_ms)
    await process(engine, await store.claim_requests(due_ms, 10, LEASE_MS))
    [state] = await store.load([SAGA_ID])
    assert state.wake_at_ms == due_ms, "the wake-up is what it was"
    assert await pool.fetchval("select count(*) from saga.requests") == 0
