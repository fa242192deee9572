"""`plan`: what would be undone, worked out of what a reader may see and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest

from saga_service.core.definition import tombstone
from saga_service.core.events import OperationRequested
from saga_service.core.ids import CommandName
from saga_service.core.undo_plan import plan
from saga_service.core.vocabulary import Direction, Kind, OnUnknown, Operation, UndoOrder
from saga_service.definitions import definition_to_document
from saga_service.engine.ports import Batch, Write
from tests.support.builders import ONCE, SAGA_ID, SagaInMemory, approval, child, running, step
from tests.support.command_line import run_aside, store


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, postgres_dsn: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAGA_POSTGRES_DSN", postgres_dsn)
    monkeypatch.setenv("SAGA_REDIS_URL", "redis://127.0.0.1:1/0")


async def keep(postgres_dsn: str, saga: SagaInMemory) -> None:
    defined = saga.definition
    document = definition_to_document(defined.name, defined.steps, {}, None, undo=defined.undo)
    batch = Batch(writes=[Write(saga.state, 0)], history=list(saga.history))
    await store(postgres_dsn, batch, document | {"version": defined.version})


def under_way() -> SagaInMemory:
    saga = running("reserve", "charge", "ship")
    saga.succeed("reserve")
    saga.succeed("charge")
    return saga


def in_doubt() -> SagaInMemory:
    """Two that nobody knows of wait for their next attempts."""
    saga = running(step("reserve", after=()), step("charge", after=()), step("ship", after=("reserve",)))
    saga.succeed("reserve")
    saga.timer_when_due_of("charge")
    assert saga.statuses("charge", "ship") == ["unknown", "unknown"]
    return saga


def held() -> SagaInMemory:
    saga = running("reserve", step("charge", on_unknown=OnUnknown.HOLD))
    saga.succeed("reserve")
    saga.timer_when_due()
    return saga


def again_in_flight() -> SagaInMemory:
    saga = running("reserve")
    saga.timer_when_due()
    saga.timer_when_due()
    return saga


def side_by_side() -> SagaInMemory:
    saga = running(
        *("book", step("car", after=("book",)), step("hotel", after=("book",)), step("pay", after=("car", "hotel"))),
        undo=UndoOrder.PARALLEL,
    )
    for name in ("book", "hotel", "car"):
        saga.succeed(name)
    return saga


def past_its_pivot() -> SagaInMemory:
    saga = running("reserve", step("charge", kind=Kind.PIVOT), step("ship", kind=Kind.RETRIABLE))
    saga.succeed("reserve")
    saga.succeed("charge")
    return saga


def waiting() -> SagaInMemory:
    saga = running(child("deliver"), step("note", undoable=False), approval("approve"), "ship")
    saga.succeed("deliver")
    saga.succeed("note")
    return saga


def undoing() -> SagaInMemory:
    saga = under_way()
    saga.operate(Operation.CANCEL)
    saga.reject("ship")
    saga.operate(Operation.PAUSE)
    return saga


def stuck() -> SagaInMemory:
    saga = running("reserve", step("charge", compensation_retry=ONCE), "ship")
    saga.succeed("reserve")
    saga.succeed("charge")
    saga.reject("ship")
    saga.undo_fails("charge")
    return saga


MADE = [under_way, in_doubt, held, again_in_flight, side_by_side, past_its_pivot, waiting, undoing, stuck]


@pytest.mark.parametrize("made", MADE)
async def test_a_plan_is_the_one_that_the_core_has(postgres_dsn: str, made: Callable[[], SagaInMemory]) -> None:
    saga = made()
    planned = plan(saga.definition, saga.state)
    await keep(postgres_dsn, saga)

    shown = (await run_aside("plan", SAGA_ID, "--json")).json

    assert [shown[name] for name in ("awaited", "unknown", "lasting")] == [
        list(names) for names in (planned.awaited, planned.unknown, planned.lasting)
    ]
    assert [[(undo["step"], undo["command"], undo["is_certain"]) for undo in wave] for wave in shown["waves"]] == [
        [(undo.step, undo.command, undo.is_certain) for undo in wave] for wave in planned.waves
    ]
    assert (shown["stays_because"], shown["status"]) == (planned.stays_because, saga.status)


async def test_a_plan_tells_what_would_be_undone_and_changes_nothing(postgres_dsn: str) -> None:
    saga = under_way()
    await keep(postgres_dsn, saga)

    told = await run_aside("plan", "order-1")

    assert [line.split() for line in told.lines[-3:]] == [
        ["order", "step", "undone", "by", "its", "effect"],
        ["1", "charge", "service.undo-charge", "stands"],
        ["2", "reserve", "service.undo-reserve", "stands"],
    ]
    assert "in flight, and awaited before anything is undone: ship" in told.out
    after = (await run_aside("show", SAGA_ID, "--json")).json
    assert (after["saga"]["status"], after["saga"]["revision"]) == ("running", saga.state.revision)


async def test_whoever_may_read_needs_no_other_right_to_plan(
    postgres_dsn: str, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(postgres_dsn, stuck())
    name, address = f"anna_{uuid4().hex}", urlsplit(postgres_dsn)
    await pool.execute(f"create role {name} login password 'hush' in role saga_reader")
    netloc = f"{name}:hush@{address.netloc.rpartition('@')[2]}"
    monkeypatch.setenv("SAGA_POSTGRES_DSN", urlunsplit(address._replace(netloc=netloc)))
    try:
        planned, shown = await run_aside("plan", SAGA_ID), await run_aside("show", SAGA_ID)
    finally:
        await pool.execute(f"drop role {name}")

    assert (planned.exit_code, planned.err, shown.exit_code, shown.err) == (0, "", 0, "")
    assert [line.split()[1] for line in planned.lines[-2:]] == ["charge", "reserve"]


async def test_a_child_saga_that_never_started_has_nothing_to_undo(postgres_dsn: str) -> None:
    parent = CommandName(SAGA_ID, "deliver", Direction.ACTION, 1)
    saga = SagaInMemory(tombstone("delivery"))
    word = OperationRequested(
        saga_id=SAGA_ID, operation=Operation.CANCEL, actor="its parent", answers=parent, child="delivery"
    )
    saga.apply(word)
    await store(postgres_dsn, Batch(writes=[Write(saga.state, 0)], history=list(saga.history)))

    ran = await run_aside("plan", SAGA_ID)

    assert (ran.exit_code, ran.err) == (0, "")
    assert ran.lines == [f"delivery {SAGA_ID}: compensated", "nothing is to be undone"]


async def test_a_plan_needs_the_definition_on_record(postgres_dsn: str) -> None:
    await store(postgres_dsn, Batch(writes=[Write(under_way().state, 0)]))

    ran = await run_aside("plan", SAGA_ID)

    assert ran.exit_code == 1
    assert "version v1 of the definition of saga 'order' is not registered" in ran.err


async def test_a_definition_that_only_a_later_release_can_read_is_told_as_that(
    postgres_dsn: str, pool: asyncpg.Pool
) -> None:
    await keep(postgres_dsn, under_way())
    await pool.execute("update saga_private.definitions set document = '{\"format\": 99}'")

    ran = await run_aside("plan", SAGA_ID)

    assert ran.exit_code == 1
    assert "run a release that is at least as new as the one that stored it" in ran.err


async def test_a_completed_saga_is_undone_by_compensate_and_not_by_cancel(postgres_dsn: str) -> None:
    saga = under_way()
    saga.succeed("ship")
    assert saga.status == "completed"
    await keep(postgres_dsn, saga)

    lines = (await run_aside("plan", saga.state.id)).lines

    assert "it is completed, so that cancel is refused" in lines
    assert lines[-1] == f"to undo this: saga-service compensate {saga.state.id} --reason '...'"


async def test_a_completed_saga_past_its_pivot_is_not_said_to_be_undone_by_anything(postgres_dsn: str) -> None:
    saga = past_its_pivot()
    saga.succeed("ship")
    await keep(postgres_dsn, saga)

    lines = (await run_aside("plan", saga.state.id)).lines

    assert any(line.startswith("it cannot be undone: ") for line in lines)
    assert not any("compensate" in line for line in lines)
