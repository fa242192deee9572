"""The contract in SQL: what a reader sees of sagas, steps, history, dead letters and what is still to be undone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson
import pytest

from saga_service.core.ids import CommandName, SagaId
from saga_service.core.state import Signal
from saga_service.core.undo_plan import plan
from saga_service.core.vocabulary import Direction, Kind, Operation, StepStatus, UndoOrder
from saga_service.definitions import definition_from_document, definition_to_document
from saga_service.engine.ports import Batch, Write
from saga_service.store.dead_letters import DeadLetterBox
from saga_service.store.postgres_store import PostgresStore
from saga_service.store.rows import read_state
from saga_service.wire.dead_letters import DeadLetter, dead_letter, raw_pairs
from saga_service.wire.entries import Entry
from tests.support.builders import (
    ONCE,
    SAGA_ID,
    START_MS,
    SagaInMemory,
    approval,
    child,
    definition,
    nap,
    running,
    step,
)
from tests.support.store_batches import saga_ids

Row = dict[str, Any]  # a row's columns have as many types


def moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


async def keep(store: PostgresStore, saga: SagaInMemory) -> None:
    await store.commit(Batch(writes=[Write(saga.state, 0)], history=list(saga.history)))


async def keep_with_definition(pool: asyncpg.Pool, saga: SagaInMemory) -> None:
    """Store the saga and its definition, as a replica registers one before it drives the saga."""
    store = PostgresStore(pool, definition_from_document)
    await store.remember_definitions([document_of(saga)])
    await keep(store, saga)


def document_of(saga: SagaInMemory) -> Row:
    """Under the version that the saga goes by."""
    defined = saga.definition
    document = definition_to_document(
        defined.name, defined.steps, {}, None, deadline_ms=defined.deadline_ms, undo=defined.undo
    )
    return document | {"version": defined.version}


async def rows(pool: asyncpg.Pool, query: str) -> list[Row]:
    return [dict(row) for row in await pool.fetch(query)]


async def test_every_view_and_every_column_has_a_comment(pool: asyncpg.Pool) -> None:
    described = await pool.fetch(
        """
        select relname, attname, col_description(pg_class.oid, attnum) as column_comment,
            obj_description(pg_class.oid) as view_comment
        from pg_class join pg_attribute on attrelid = pg_class.oid
        where relnamespace = 'saga'::regnamespace and relkind = 'v' and attnum > 0
        """
    )
    assert len(described) > 40
    assert [f"{row['relname']}.{row['attname']}" for row in described if not row["column_comment"]] == []
    assert [row["relname"] for row in described if not row["view_comment"]] == []


async def test_a_saga_under_way(store: PostgresStore, pool: asyncpg.Pool) -> None:
    saga = running("reserve", "charge")
    saga.now_ms += 250
    saga.succeed("reserve", {"reservation": "r-1"})
    await keep(store, saga)
    (row,) = await rows(pool, "select * from saga.sagas")
    assert str(row.pop("id")) == SAGA_ID
    assert orjson.loads(row.pop("input")) == {"amount": 5}
    assert row == {
        "saga": "order",
        "version": "v1",
        "key": "order-1",
        "status": "running",
        "revision": 2,
        "error_code": None,
        "error_message": None,
        "error_step": None,
        "created_at": moment(START_MS),
        "updated_at": moment(START_MS + 250),
        "ended_at": None,
        "next_check_at": moment(START_MS + 30_000),
        "traceparent": "00-trace-01",
        "course": "forward",
        "deadline_at": None,
        "parent_id": None,
        "parent_step": None,
        "stuck_step": None,
        "stuck_code": None,
        "stuck_message": None,
    }


async def test_a_saga_that_failed(store: PostgresStore, pool: asyncpg.Pool) -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve")
    saga.reject("charge", "no-money")
    saga.now_ms += 9
    saga.undo_succeeds("reserve")
    await keep(store, saga)
    found = await rows(
        pool, "select status, error_code, error_message, error_step, ended_at, next_check_at from saga.sagas"
    )
    assert found == [
        {
            "status": "compensated",
            "error_code": "no-money",
            "error_message": "charge: no-money",
            "error_step": "charge",
            "ended_at": moment(START_MS + 9),
            "next_check_at": None,
        }
    ]


def _stuck_undoing() -> SagaInMemory:
    saga = running("reserve", "charge", "ship")
    saga.succeed("reserve")
    saga.succeed("charge")
    saga.reject("ship", "no-truck")
    saga.undo_rejected("charge", "account-closed")
    return saga


def _stuck_forward() -> SagaInMemory:
    saga = running("reserve", step("charge", kind=Kind.PIVOT), step("ship", kind=Kind.RETRIABLE))
    saga.succeed("reserve")
    saga.succeed("charge")
    saga.reject("ship", "no-truck")
    return saga


@pytest.mark.parametrize(
    ("saga", "error", "stuck_at"),
    [
        (_stuck_undoing(), ("ship", "no-truck"), ("charge", "account-closed", "charge: account-closed")),
        (_stuck_forward(), ("ship", "no-truck"), ("ship", "no-truck", "ship: no-truck")),
        (running("reserve"), (None, None), (None, None, None)),
    ],
    ids=["on its way back", "on its way forward", "not stuck"],
)
async def test_what_a_saga_is_stuck_at_is_told_beside_why_it_is_undone(
    store: PostgresStore,
    pool: asyncpg.Pool,
    saga: SagaInMemory,
    error: tuple[str | None, ...],
    stuck_at: tuple[str | None, ...],
) -> None:
    await keep(store, saga)
    (found,) = await pool.fetch("select error_step, error_code, stuck_step, stuck_code, stuck_message from saga.sagas")
    assert (tuple(found)[:2], tuple(found)[2:]) == (error, stuck_at)


async def test_the_steps_of_a_saga(store: PostgresStore, pool: asyncpg.Pool) -> None:
    saga = running("reserve", "charge", "ship")
    saga.now_ms += 100
    saga.succeed("reserve", {"reservation": "r-1"})
    saga.now_ms += 100
    saga.timer_when_due()
    await keep(store, saga)
    found = await rows(pool, "select * from saga.steps order by position")
    assert all(str(row.pop("saga_id")) == SAGA_ID and row.pop("saga") == "order" for row in found)
    nothing_yet: Row = dict.fromkeys(found[0]) | {
        "attempts": 0,
        "compensation_attempts": 0,
        "in_doubt": False,
        "probes": 0,
        "status": "pending",
    }
    output = found[0]["output"]
    assert orjson.loads(output) == {"reservation": "r-1"}
    assert found == [
        nothing_yet
        | {
            "position": 1,
            "step": "reserve",
            "status": "succeeded",
            "attempts": 1,
            "effect_revision": 2,
            "output": output,
            "started_at": moment(START_MS),
            "ended_at": moment(START_MS + 100),
        },
        nothing_yet
        | {
            "position": 2,
            "step": "charge",
            "status": "unknown",
            "attempts": 1,
            "waiting_for": "retry",
            "due_at": moment(saga.now_ms + 200),
            "in_doubt": True,
            "error_code": "timeout",
            "error_message": "no reply came before the deadline; it may or may not have happened",
            "started_at": moment(START_MS + 100),
        },
        nothing_yet | {"position": 3, "step": "ship"},
    ]


KINDS = "select step, kind, task, action, compensation from saga.steps order by position"


async def test_steps_say_what_they_are_by_the_definition_on_record(pool: asyncpg.Pool) -> None:
    saga = running(
        "reserve",
        nap("rest"),
        approval("approve", "order.approved"),
        child("deliver", "delivery"),
        step("charge", kind=Kind.PIVOT),
        step("notify", kind=Kind.RETRIABLE, undoable=False),
    )
    await keep_with_definition(pool, saga)
    assert [tuple(row.values()) for row in await rows(pool, KINDS)] == [
        ("reserve", "compensatable", "command", "service.reserve", "service.undo-reserve"),
        ("rest", "compensatable", "sleep", None, None),
        ("approve", "compensatable", "signal", "order.approved", None),
        ("deliver", "compensatable", "child", "delivery", None),
        ("charge", "pivot", "command", "service.charge", "service.undo-charge"),
        ("notify", "retriable", "command", "service.notify", None),
    ]


async def test_of_steps_whose_definition_is_not_on_record_is_known_how_they_stand(
    pool: asyncpg.Pool, store: PostgresStore
) -> None:
    await keep(store, running("reserve"))
    assert [tuple(row.values()) for row in await rows(pool, KINDS)] == [("reserve", None, None, None, None)]


async def test_the_history_of_a_saga(store: PostgresStore, pool: asyncpg.Pool) -> None:
    saga = running("reserve", "charge")
    saga.now_ms += 5
    saga.succeed("reserve")
    saga.reject("charge", "no-money")
    saga.undo_succeeds("reserve")
    await keep(store, saga)
    found = await rows(
        pool,
        "select revision, at, event, status, step, direction, attempt, sent, error_code, error_message"
        " from saga.history order by revision",
    )
    later, no_error = moment(START_MS + 5), (None, None)
    action, undo = ("action", 1), ("compensation", 1)
    money = ("no-money", "charge: no-money")
    assert [tuple(row.values()) for row in found] == [
        (1, moment(START_MS), "started", "running", None, None, None, ["reserve:action:1"], *no_error),
        (2, later, "action_succeeded", "running", "reserve", *action, ["charge:action:1"], *no_error),
        (3, later, "action_rejected", "compensating", "charge", *action, ["reserve:compensation:1"], *money),
        (4, later, "compensation_succeeded", "compensated", "reserve", *undo, [], *no_error),
    ]


# ---------------------------------------------------------------------------------------------------------------- debt

DEBT = (
    "select saga_status, step, status, compensation, undo_order, attempts, error_code, effect_at, outstanding_since"
    " from saga.compensation_debt order by undo_order"
)


def _turned_round() -> SagaInMemory:
    """Three steps done, of which the second has no compensation; the fourth fails; the third's undo is in flight."""
    saga = running("reserve", step("notify", undoable=False), "charge", "ship")
    for name in ("reserve", "notify", "charge"):
        saga.now_ms += 1_000
        saga.succeed(name)
    saga.now_ms += 1_000
    saga.reject("ship", "no-truck")
    return saga


async def test_debt_is_every_effect_not_yet_undone_in_the_order_of_undo(pool: asyncpg.Pool) -> None:
    saga = _turned_round()
    await keep_with_definition(pool, saga)
    turned = moment(START_MS + 4_000)
    assert [tuple(row.values()) for row in await rows(pool, DEBT)] == [
        ("compensating", "charge", "compensating", "service.undo-charge", 1, 1, None, moment(START_MS + 3_000), turned),
        ("compensating", "reserve", "succeeded", "service.undo-reserve", 2, 0, None, moment(START_MS + 1_000), turned),
    ]


async def test_the_debt_of_a_stuck_saga_says_why(pool: asyncpg.Pool) -> None:
    saga = _turned_round()
    saga.undo_rejected("charge", "bank-closed")
    await keep_with_definition(pool, saga)
    found = await rows(
        pool, "select saga_status, step, status, error_code from saga.compensation_debt where undo_order = 1"
    )
    assert [tuple(row.values()) for row in found] == [("stuck", "charge", "compensation_failed", "bank-closed")]


def _overtaken_by_a_late_success() -> SagaInMemory:
    """The undo of `reserve` is under way when `charge`, which had failed, turns out to have succeeded."""
    saga = running(step("reserve", after=()), step("charge", after=(), retry=ONCE))
    saga.succeed("reserve")
    saga.fail("charge")
    saga.succeed("charge")
    return saga


def _stuck_and_overtaken() -> SagaInMemory:
    saga = running(step("reserve", after=(), compensation_retry=ONCE), step("charge", after=(), retry=ONCE))
    saga.succeed("reserve")
    saga.fail("charge")
    saga.undo_fails("reserve")
    saga.succeed("charge")
    return saga


def _in_doubt_at_once() -> SagaInMemory:
    """Two that nobody knows of are given up on at the same moment, a third was done before."""
    saga = running(step("reserve", after=()), step("charge", after=()), step("ship", after=("reserve",)))
    saga.succeed("reserve")
    saga.timer_when_due_of("charge")
    assert saga.statuses("charge", "ship") == ["unknown", "unknown"]
    saga.operate(Operation.PAUSE)
    saga.operate(Operation.CANCEL)
    assert saga.step("charge").effect_revision == saga.step("ship").effect_revision
    return saga


def _skipped_in_doubt() -> SagaInMemory:
    saga = running("reserve", "charge", "ship")
    saga.succeed("reserve")
    saga.operate(Operation.SKIP, "charge")
    saga.operate(Operation.CANCEL)
    assert saga.statuses("charge", "ship") == ["skipped", "dispatched"]
    return saga


def _still_awaited() -> SagaInMemory:
    """The saga compensates, and undoes nothing before `ship` has answered."""
    saga = running("reserve", "charge", "ship")
    saga.succeed("reserve")
    saga.succeed("charge")
    saga.operate(Operation.CANCEL)
    return saga


@pytest.mark.parametrize(
    "made",
    [
        _turned_round,
        _overtaken_by_a_late_success,
        _stuck_and_overtaken,
        _in_doubt_at_once,
        _skipped_in_doubt,
        _still_awaited,
    ],
)
async def test_debt_has_the_order_in_which_it_is_really_undone(
    pool: asyncpg.Pool, made: Callable[[], SagaInMemory]
) -> None:
    saga = made()
    await keep_with_definition(pool, saga)
    planned = [undo.step for wave in plan(saga.definition, saga.state).waves for undo in wave]
    assert len(planned) > 1
    found = await rows(pool, "select step, undo_order from saga.compensation_debt order by undo_order")
    assert [(row["undo_order"], row["step"]) for row in found] == list(enumerate(planned, start=1))


async def test_what_is_undone_side_by_side_has_no_number(pool: asyncpg.Pool) -> None:
    saga = running("book", step("car", after=("book",)), step("hotel", after=("book",)), undo=UndoOrder.PARALLEL)
    for name in ("book", "car"):
        saga.succeed(name)
    saga.reject("hotel")
    await keep_with_definition(pool, saga)
    found = await rows(pool, "select step, undo_order from saga.compensation_debt")
    assert {(row["step"], row["undo_order"]) for row in found} == {("car", None), ("book", None)}


async def test_a_step_that_was_skipped_in_doubt_is_owed_an_undo_and_one_that_was_let_stand_is_not(
    pool: asyncpg.Pool,
) -> None:
    saga = _turned_round()
    reserve, notify, charge, ship = saga.state.steps
    in_doubt = charge._replace(status=StepStatus.SKIPPED, unanswered=(1,))
    let_stand = reserve._replace(status=StepStatus.SKIPPED)
    saga.current = saga.state._replace(steps=(let_stand, notify, in_doubt, ship))
    await keep_with_definition(pool, saga)
    found = await rows(pool, "select step, status, undo_order from saga.compensation_debt")
    assert [tuple(row.values()) for row in found] == [("charge", "skipped", 1)]


async def test_what_is_undone_is_owed_no_longer(pool: asyncpg.Pool, store: PostgresStore) -> None:
    saga = _turned_round()
    saga.undo_succeeds("charge")
    saga.undo_succeeds("reserve")
    await keep(store, saga)
    assert saga.status == "compensated"
    assert await rows(pool, DEBT) == []


async def test_an_effect_in_doubt_is_owed(pool: asyncpg.Pool) -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve")
    for _ in range(3):
        saga.timer_when_due()
        if saga.status == "running":
            saga.timer_when_due()
    await keep_with_definition(pool, saga)
    found = await rows(pool, "select step, status from saga.compensation_debt order by undo_order")
    assert [tuple(row.values()) for row in found] == [("charge", "compensating"), ("reserve", "succeeded")]


async def test_without_the_definition_on_record_debt_is_still_told(pool: asyncpg.Pool, store: PostgresStore) -> None:
    saga = _turned_round()
    await keep(store, saga)
    found = await rows(pool, DEBT)
    assert {(row["step"], row["compensation"], row["undo_order"]) for row in found} == {
        ("charge", None, None),
        ("notify", None, None),
        ("reserve", None, None),
    }


async def test_debt_is_owed_since_the_latest_turn(pool: asyncpg.Pool, store: PostgresStore) -> None:
    saga = running("reserve", "charge")
    saga.now_ms += 1_000
    saga.reject("reserve")
    assert saga.status == "compensated"
    saga.now_ms += 50_000
    saga.succeed("reserve")
    await keep(store, saga)
    assert [row["outstanding_since"] for row in await rows(pool, DEBT)] == [moment(START_MS + 51_000)]


# -------------------------------------------------------------------------------------------------------- dead letters


async def _put_aside(store: PostgresStore, pool: asyncpg.Pool, *entry_ids: str) -> list[int]:
    letters = [dead_letter(Entry("saga:events", entry_id, {b"a": b"\xff"}), "broken", 5_000) for entry_id in entry_ids]
    await store.commit(Batch(dead_letters=letters))
    return [row["id"] for row in await rows(pool, "select id from saga.dead_letters order by id")]


async def test_a_dead_letter_can_be_read_and_replayed_exactly_as_it_came(
    store: PostgresStore, pool: asyncpg.Pool
) -> None:
    (number,) = await _put_aside(store, pool, "5-1")
    (row,) = await rows(pool, "select * from saga.dead_letters")
    letter = (await DeadLetterBox(pool).dead_letters([number]))[number]
    assert letter == DeadLetter("saga:events", "5-1", "broken", 5_000, '{"a": "\\\\xff"}', row["raw"])
    assert raw_pairs(letter.raw) == [(b"a", b"\xff")]
    assert row == {
        "id": number,
        "stream": "saga:events",
        "entry_id": "5-1",
        "reason": "broken",
        "at": moment(5_000),
        "saga_id": None,
        "key": None,
        "fields": '{"a": "\\\\xff"}',
        "raw": letter.raw,
        "replayed_at": None,
    }


async def test_a_replay_is_noted(store: PostgresStore, pool: asyncpg.Pool) -> None:
    first, second = await _put_aside(store, pool, "5-1", "5-2")
    assert await DeadLetterBox(pool).mark_replayed([first, 10**9], 7_000) == [first]
    found = await rows(pool, "select id, replayed_at from saga.dead_letters order by id")
    assert [tuple(row.values()) for row in found] == [(first, moment(7_000)), (second, None)]


async def test_a_dropped_dead_letter_is_gone(store: PostgresStore, pool: asyncpg.Pool) -> None:
    first, second = await _put_aside(store, pool, "5-1", "5-2")
    box = DeadLetterBox(pool)
    assert await box.drop_dead_letters([first, 10**9]) == [first]
    assert list(await box.dead_letters([first, second])) == [second]


# --------------------------------------------------------------------------------------------------------- definitions


async def test_a_definition_is_remembered_once_and_read_back(pool: asyncpg.Pool) -> None:
    seen: list[Any] = []  # JSON objects
    order = definition("reserve")

    def read(document: Any) -> Any:  # a JSON object to a definition
        seen.append(document)
        return order

    store = PostgresStore(pool, read)
    await store.remember_definitions([{"document": 1}])
    await store.remember_definitions([{"document": 2}])
    seen.clear()
    assert await store.definition("order", "v1") is order
    assert seen == [{"document": 1}]
    assert await store.definition("order", "v2") is None
    assert await pool.fetchval("select count(*) from saga_private.definitions") == 1


async def test_replicas_remember_the_same_definitions_at_once(pool: asyncpg.Pool) -> None:
    names = [f"saga-{number}" for number in range(20)]
    store = PostgresStore(pool, lambda document: definition("reserve", name=document["name"]))
    documents = [{"name": name} for name in names]
    await asyncio.gather(*(store.remember_definitions(documents[::order]) for order in (1, -1, 1, -1)))
    assert await pool.fetchval("select count(*) from saga_private.definitions") == 20


async def test_the_definitions_on_record_tell_what_they_say_and_what_still_goes_by_them(pool: asyncpg.Pool) -> None:
    sagas = _one_of_each_status()
    document = document_of(sagas["running"])
    store = PostgresStore(pool, definition_from_document)
    newer = document | {"version": "v2"}
    await store.remember_definitions([document, newer])
    for saga_id, saga in zip(saga_ids(len(sagas)), sagas.values(), strict=True):
        saga.current = saga.state._replace(id=saga_id)
        await store.commit(Batch(writes=[Write(saga.state, 0)]))
    found = await rows(pool, "select saga, version, document::text, open_sagas, first_seen_at from saga.definitions")
    assert {(row["saga"], row["version"], row["open_sagas"]) for row in found} == {
        ("order", "v1", 4),
        ("order", "v2", 0),
    }
    assert [orjson.loads(row["document"]) for row in sorted(found, key=lambda row: str(row["version"]))] == [
        document,
        newer,
    ]
    assert all(abs(datetime.now(UTC) - row["first_seen_at"]).total_seconds() < 60 for row in found)


def _one_of_each_status() -> dict[str, SagaInMemory]:
    """Sagas of one definition, by their status."""
    sagas: dict[str, SagaInMemory] = {}
    for status in ("running", "compensating", "paused", "completed", "compensated", "stuck"):
        saga = running(step("reserve", compensation_retry=ONCE), "charge")
        saga.succeed("reserve")
        if status == "completed":
            saga.succeed("charge")
        if status == "paused":
            saga.operate(Operation.PAUSE)
        if status in ("compensating", "compensated", "stuck"):
            saga.reject("charge")
        if status == "compensated":
            saga.undo_succeeds("reserve")
        if status == "stuck":
            saga.undo_fails("reserve")
        assert saga.status == status
        sagas[status] = saga
    return sagas


@pytest.mark.parametrize("view", ["sagas", "steps", "history", "dead_letters", "definitions", "compensation_debt"])
async def test_every_view_can_be_read_while_it_is_empty(pool: asyncpg.Pool, view: str) -> None:
    assert await pool.fetch(f"select * from saga.{view}") == []


async def test_saga_state_returns_a_saga_as_the_core_had_it(pool: asyncpg.Pool, store: PostgresStore) -> None:
    """The views are told whether an attempt is unanswered; this tells which."""
    saga = running("reserve", "charge", deadline_ms=90_000)
    saga.succeed("reserve")
    saga.timer_when_due_of("charge")
    saga.reject("charge")
    parent = CommandName(SagaId("5b0c8f2e-0000-8000-8000-000000000001"), "trip", Direction.ACTION, 1)
    state = saga.state._replace(signals=(Signal("approved", "1", {"by": "ann"}),), parent=parent)
    await store.commit(Batch(writes=[Write(state, 0)]))

    assert read_state(await pool.fetchval("select saga.state($1)::text", state.id)) == state
    assert await pool.fetchval("select saga.state(gen_random_uuid())") is None
