"""A saga ends on the version of its definition that it began with, whatever is deployed meanwhile."""

from __future__ import annotations

from pathlib import Path

from tests.end_to_end.laws import assert_lawful
from tests.end_to_end.system import System

FIRST = """
name: journey
key: trip
input: {type: object, required: [trip], properties: {trip: {type: string}}}
steps:
  - {name: flight, action: travel.flight, compensation: travel.undo_flight, retry: {first_delay: 10ms}}
  - {name: hotel, action: travel.hotel, compensation: travel.undo_hotel, retry: {attempts: 2, first_delay: 10ms}}
  - {name: invoice, action: rental.invoice}
"""
SECOND = """
name: journey
key: trip
input: {type: object, required: [trip], properties: {trip: {type: string}}}
steps:
  - {name: car, action: rental.car, compensation: rental.undo_car}
"""


async def _steps(system: System, key: str) -> list[tuple[str, str]]:
    saga = await system.saga(key)
    assert saga is not None
    rows = await system.fetch("select step, status from saga.steps where saga_id = $1 order by position", saga["id"])
    return [(row["step"], row["status"]) for row in rows]


async def test_a_saga_ends_on_the_version_it_began_with_without_the_old_code(system: System, tmp_path: Path) -> None:
    (tmp_path / "first.yaml").write_text(FIRST)
    (tmp_path / "second.yaml").write_text(SECOND)
    old = await system.start_in_one(SAGA_DEFINITIONS="first.yaml")
    system.start_saga("journey", "forward", plan={"hotel": ["fail 2500"]})
    system.start_saga("journey", "backward", plan={"hotel": ["fail 2500", "reject"]})
    for key in ("forward", "backward"):
        await system.until_history(key, "action_failed")
    old.kill()

    await system.start_in_one(SAGA_DEFINITIONS="second.yaml")
    system.start_saga("journey", "new")
    new = await system.until("new", "completed")
    forward = await system.until("forward", "completed")
    backward = await system.until("backward", "compensated")
    assert forward["version"] == backward["version"] != new["version"]
    assert await _steps(system, "forward") == [
        ("flight", "succeeded"),
        ("hotel", "succeeded"),
        ("invoice", "succeeded"),
    ]
    assert await _steps(system, "backward") == [("flight", "compensated"), ("hotel", "failed"), ("invoice", "pending")]
    assert await _steps(system, "new") == [("car", "succeeded")]
    await assert_lawful(system, 3)


async def test_conditions_mappings_and_waits_are_driven_on_by_a_replica_without_their_definition(
    system: System, tmp_path: Path
) -> None:
    (tmp_path / "second.yaml").write_text(SECOND)
    old = await system.start_in_one(SAGA_DEFINITIONS="tests.end_to_end.semantics")
    system.start_saga("approved", "waiting")
    system.start_saga("graph", "branching", plan={"left": ["sleep 1500"], "extra": ["succeed"]})
    for key in ("waiting", "branching"):
        await system.until_history(key, "action_succeeded")
    old.kill()

    await system.start_in_one(SAGA_DEFINITIONS="second.yaml")
    fields = {"type": "trip.approved", "saga": "approved", "subject": "waiting", "data": '{"by": "Ann"}'}
    system.add(system.names.events, fields)
    for key in ("waiting", "branching"):
        await system.until(key, "completed")
    received = await system.value(
        "select output -> 'received' from saga.steps join saga.sagas on sagas.id = saga_id"
        " where key = 'branching' and step = 'join'"
    )
    assert received == {"who": "branching", "right": 1, "note": "from the graph"}


async def test_replicas_with_different_versions_share_their_sagas(system: System, tmp_path: Path) -> None:
    (tmp_path / "first.yaml").write_text(FIRST)
    (tmp_path / "second.yaml").write_text(SECOND)
    # Small batches, so that each replica has its share.
    system.environment |= {"SAGA_BATCH_ENTRIES_MAX": "3", "SAGA_INTAKE_ENTRIES_MAX": "3"}
    await system.start_in_one(SAGA_DEFINITIONS="first.yaml")
    await system.start(workers=0, SAGA_DEFINITIONS="second.yaml")
    system.start_sagas("journey", {f"shared-{number}": {"hotel": ["fail"]} for number in range(60)})
    seen = await assert_lawful(system, 60)
    assert {saga.row["status"] for saga in seen} == {"completed"}
    steps = {tuple(step["step"] for step in saga.steps) for saga in seen}
    assert steps == {("flight", "hotel", "invoice"), ("car",)}, "both replicas took in starts"
