"""What follows a start at once, by whatever door and on however many replicas, reaches its saga. So does what comes
from a replica of another version."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
import pytest

from saga_service.settings import Settings
from tests.end_to_end.laws import nothing_is_left_over
from tests.end_to_end.system import System
from tests.support.waiting import eventually

PAIRS = 150
DEFERRAL_MS = "60000"
APPROVAL = '{"by": "Ann"}'


def _start(system: System, key: str) -> None:
    system.start_saga("approved", key)


async def _start_by_sql(system: System, key: str) -> None:
    await system.value("select saga.start('approved', $1)", {"trip": key, "plan": {}})


def _signal(system: System, key: str) -> None:
    system.add(system.names.events, {"type": "trip.approved", "subject": key, "id": "the-one", "data": APPROVAL})


async def _signal_by_sql(system: System, key: str) -> None:
    await system.value("select saga.signal('trip.approved', key => $1, data => $2)", key, orjson.loads(APPROVAL))


async def _by_stream(system: System, key: str) -> None:
    _start(system, key)
    _signal(system, key)


async def _the_wrong_way_round(system: System, key: str) -> None:
    _signal(system, key)
    _start(system, key)


async def _by_sql_and_then_by_stream(system: System, key: str) -> None:
    await _start_by_sql(system, key)
    _signal(system, key)


async def _by_sql_one_after_the_other(system: System, key: str) -> None:
    await _start_by_sql(system, key)
    await _signal_by_sql(system, key)


@pytest.mark.parametrize(
    "both", [_by_stream, _the_wrong_way_round, _by_sql_and_then_by_stream, _by_sql_one_after_the_other]
)
async def test_a_signal_sent_right_after_its_start_is_never_lost(
    system: System, both: Callable[[System, str], Awaitable[None]]
) -> None:
    await system.start(services=2, SAGA_DEFERRAL_MAX_MS=DEFERRAL_MS)
    for number in range(PAIRS):
        await both(system, f"trip-{number}")
    await system.until_ended(PAIRS)
    assert await system.value("select count(*) from saga.sagas where status = 'completed'") == PAIRS
    assert await system.fetch("select reason from saga.dead_letters") == []
    assert await system.value("select count(*) from saga.signals where taken") == PAIRS
    await nothing_is_left_over(system)


async def test_a_cancel_sent_right_after_its_start_is_never_lost(system: System) -> None:
    await system.start(services=2, SAGA_DEFERRAL_MAX_MS=DEFERRAL_MS)
    for number in range(PAIRS):
        key = f"trip-{number}"
        _start(system, key)
        system.add(system.names.events, {"type": "saga.cancel", "saga": "approved", "subject": key})
    await system.until_ended(PAIRS)
    assert await system.value("select count(*) from saga.sagas where status = 'compensated'") == PAIRS
    assert await system.fetch("select reason from saga.dead_letters") == []


async def test_one_signal_that_many_producers_send_at_once_is_one_on_several_replicas(system: System) -> None:
    await system.start(services=3)
    system.start_saga("approved", "approved-often")

    async def it_waits() -> bool:
        return bool(await system.fetch("select 1 from saga.steps where step = 'approval' and status = 'waiting'"))

    await eventually(it_waits)
    with system.redis.pipeline(transaction=False) as pipeline:
        for _ in range(300):
            fields = {"type": "trip.approved", "subject": "approved-often", "id": "the-one", "data": '{"by": "Ann"}'}
            pipeline.xadd(system.names.events, fields)
        pipeline.execute()
    await system.until("approved-often", "completed")
    await nothing_is_left_over(system)
    assert [tuple(row) for row in await system.fetch("select signal_id, taken from saga.signals")] == [
        ("the-one", True)
    ]
    assert (await system.history("approved-often")).count(
        "signal_received approval None: running -> left:action:1"
    ) == 1
    assert await system.fetch("select 1 from saga.dead_letters") == [], "a repeat is no fault"


async def test_a_signal_whose_saga_is_in_the_hands_of_a_dead_replica_waits_until_it_is_taken_over(
    system: System,
) -> None:
    group = Settings.model_fields["consumer_group"].default
    _start(system, "taken-over")
    system.redis.xgroup_create(system.names.events, group, "0")
    taken = system.redis.xreadgroup(group, "dead replica", {system.names.events: ">"})
    assert len(taken) == 1, "it has read the start, and does nothing more"
    _signal(system, "taken-over")
    await system.start(SAGA_DEFERRAL_MAX_MS=DEFERRAL_MS)
    await system.until("taken-over", "completed")


async def test_a_signal_for_a_saga_that_never_comes_becomes_a_dead_letter_as_it_came(system: System) -> None:
    await system.start(workers=0)
    fields = {"type": "trip.approved", "subject": "nowhere", "data": APPROVAL}
    entry_id = system.add(system.names.events, fields)

    async def it_waits() -> bool:
        rows = await system.fetch("select type, key from saga.requests where entry_id = $1", entry_id)
        return [tuple(row) for row in rows] == [("trip.approved", "nowhere")]

    await eventually(it_waits)
    letter = await system.dead_letter(system.names.events, entry_id)
    assert letter["reason"] == "no saga 'approved' with the key 'nowhere' is known"
    assert letter["fields"] == fields


# ------------------------------------------------------------------------------------- replicas of different versions

TRIP = "input: {type: object, required: [trip], properties: {trip: {type: string}}}"
PARENT = f"""
name: outing
key: trip
{TRIP}
steps:
  - {{name: rest, sleep: 1s}}
  - {{name: drive, saga: drive, input: {{trip: input.trip}}}}
  - {{name: approval, signal: outing.approved}}
"""
CHILD = f"""
---
name: drive
{TRIP}
steps:
  - {{name: car, action: rental.car, compensation: rental.undo_car}}
"""
OTHER = f"""
name: other
{TRIP}
steps:
  - {{name: car, action: rental.car}}
"""


@pytest.fixture
def versions(tmp_path: Path) -> None:
    (tmp_path / "with.yaml").write_text(PARENT + CHILD)
    (tmp_path / "without.yaml").write_text(OTHER)


@pytest.mark.usefixtures("versions")
async def test_a_roll_out_loses_no_start_and_no_child(system: System) -> None:
    """A replica that has not got a saga leaves its starts to one that has, and begins the children that were promised,
    even when nobody has them any more."""
    with_child = await system.start_in_one(SAGA_DEFINITIONS="with.yaml", SAGA_DEFERRAL_MAX_MS=DEFERRAL_MS)
    await system.start(workers=0, SAGA_DEFINITIONS="without.yaml", SAGA_DEFERRAL_MAX_MS=DEFERRAL_MS)
    keys = [f"outing-{number}" for number in range(40)]
    for key in keys:
        system.add(system.names.events, {"type": "outing", "data": orjson.dumps({"trip": key})})
    await eventually(lambda: _are_there(system, len(keys)), 30.0)
    with_child.kill()
    await system.start_in_one(SAGA_DEFINITIONS="without.yaml")
    for key in keys:
        system.add(system.names.events, {"type": "outing.approved", "subject": key})
    for key in keys:
        await system.until(key, "completed")
    assert await system.fetch("select reason from saga.dead_letters") == []


async def _are_there(system: System, sagas: int) -> bool:
    return bool(await system.value("select count(*) = $1 from saga.sagas where saga = 'outing'", sagas))


async def test_a_child_saga_hears_a_signal_by_its_key(system: System, tmp_path: Path) -> None:
    waiting = "  - {name: approval, signal: drive.approved}\n"
    (tmp_path / "keyed.yaml").write_text(
        PARENT + CHILD.replace("name: drive\n", "name: drive\nkey: trip\n", 1) + waiting
    )
    await system.start_in_one(SAGA_DEFINITIONS="keyed.yaml")
    system.add(system.names.events, {"type": "outing", "data": '{"trip": "one"}'})

    async def the_child_waits() -> bool:
        return bool(await system.fetch("select 1 from saga.steps where saga = 'drive' and status = 'waiting'"))

    await eventually(the_child_waits)
    for name in ("drive.approved", "outing.approved"):
        system.add(system.names.events, {"type": name, "subject": "one"})

    async def both_end() -> bool:
        rows = await system.fetch("select status from saga.sagas")
        return [row["status"] for row in rows] == ["completed", "completed"]

    await eventually(both_end)
