"""How sagas are started, and that one start is one saga however often it comes."""

from __future__ import annotations

import json

import asyncpg

from tests.end_to_end.laws import assert_lawful
from tests.end_to_end.system import System
from tests.support.waiting import eventually

FOREIGN, FOREIGN_GROUP = "saga_requests", "orchestrator_group"


async def _missions(system: System, area: str) -> list[asyncpg.Record]:
    """All missions of this area, once there are some and all are completed."""

    async def completed() -> list[asyncpg.Record]:
        rows = await system.fetch("select * from saga.sagas where input ->> 'area' = $1", area)
        assert {row["status"] for row in rows} == {"completed"}
        return rows

    return await eventually(completed, what=f"missions of {area}")


async def test_an_event_on_the_common_stream_starts_a_saga(standing: System) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    standing.start_saga("trip", "plain", traceparent=traceparent)
    saga = await standing.until("plain", "completed", within_s=30)
    assert saga["input"] == {"trip": "plain", "plan": {}}
    assert saga["traceparent"] == traceparent
    assert await standing.history("plain") == [
        "started: running -> flight:action:1",
        "action_succeeded flight 1: running -> hotel:action:1",
        "action_succeeded hotel 1: running -> car:action:1",
        "action_succeeded car 1: running -> invoice:action:1",
        "action_succeeded invoice 1: completed",
    ]


async def test_flat_fields_on_a_foreign_stream_start_a_saga_by_its_schema(standing: System) -> None:
    entry_id = standing.add(FOREIGN, {"robot_count": "2", "area": "ZoneA"})
    (mission,) = await _missions(standing, "ZoneA")
    assert (mission["saga"], mission["input"]) == ("mission-start", {"robot_count": 2, "area": "ZoneA"})

    def acknowledged() -> bool:
        group = standing.groups(FOREIGN)[FOREIGN_GROUP]
        return (group["pending"], group["last-delivered-id"].decode()) == (0, entry_id)

    await eventually(acknowledged)


async def test_entries_that_are_delivered_again_start_nothing(standing: System) -> None:
    standing.start_saga("trip", "delivered-again")
    standing.add(FOREIGN, {"robot_count": "3", "area": "ZoneB"})
    await standing.until("delivered-again", "completed")
    await _missions(standing, "ZoneB")
    revisions = "select id, revision from saga.sagas"
    before = {row["id"]: row["revision"] for row in await standing.fetch(revisions)}
    standing.redis.xgroup_setid(standing.names.events, "saga-service", "0")
    standing.redis.xgroup_setid(FOREIGN, FOREIGN_GROUP, "0")
    # Added last, read last: with their end all else has been read once more.
    standing.start_saga("trip", "after-delivered-again")
    standing.add(FOREIGN, {"robot_count": "4", "area": "ZoneC"})
    await _missions(standing, "ZoneC")
    await standing.until("after-delivered-again", "completed")
    after = {row["id"]: row["revision"] for row in await standing.fetch(revisions)}
    assert len(after) == len(before) + 2
    assert {saga_id: after[saga_id] for saga_id in before} == before


async def test_the_same_event_id_starts_one_saga(standing: System) -> None:
    fields = {"type": "mission-start", "id": "order-17", "data": json.dumps({"robot_count": 1, "area": "same-id"})}
    for _ in range(20):
        standing.add(standing.names.events, fields)
    await _missions(standing, "same-id")
    standing.add(standing.names.events, fields)
    standing.start_saga("trip", "after-the-same-id")
    await standing.until("after-the-same-id", "completed")
    assert len(await _missions(standing, "same-id")) == 1


async def test_the_same_business_key_starts_one_saga_of_each_name(standing: System) -> None:
    for _ in range(20):
        standing.start_saga("trip", "one-key")
        standing.start_saga("brisk", "one-key")
    standing.add(standing.names.events, {"type": "trip", "subject": "one-key", "data": '{"trip": "another"}'})
    standing.start_saga("trip", "after-one-key")
    await standing.until("after-one-key", "completed")

    async def both() -> bool:
        rows = await standing.fetch("select saga from saga.sagas where key = 'one-key' and status = 'completed'")
        return sorted(row["saga"] for row in rows) == ["brisk", "trip"]

    await eventually(both)


async def test_the_command_line_starts_a_saga_and_tells_how_it_ended(standing: System) -> None:
    completed = await standing.command("start", "trip", "-f", "trip=by-command", "--wait")
    assert (completed.exit_code, completed.out.splitlines()[-1].partition(" ")[0]) == (0, "completed"), completed
    undone = json.dumps({"trip": "undone-by-command", "plan": {"car": ["reject"]}})
    compensated = await standing.command("start", "trip", "--data", undone, "--wait", "--json")
    assert compensated.exit_code == 5, compensated
    assert json.loads(compensated.out)["status"] == "compensated"
    shown = await standing.command("show", "undone-by-command", "--json")
    assert [line["event"] for line in json.loads(shown.out)["history"]][-1] == "compensation_succeeded"


async def test_everything_above_was_lawful(standing: System) -> None:
    sagas = await standing.value("select count(*) from saga.sagas")
    assert sagas > 0
    await assert_lawful(standing, sagas, foreign_streams=(FOREIGN,))
