"""A running service removes what has ended and was kept for its time, and nothing else; what comes late is told."""

from __future__ import annotations

from pathlib import Path

from saga_service.core.ids import saga_id_from_key
from tests.end_to_end.system import System
from tests.support.waiting import eventually

KEPT_ONE_DAY = {"SAGA_ENDED_SAGAS_RETENTION_DAYS": "1", "SAGA_REPLAYED_DEAD_LETTERS_RETENTION_DAYS": "1"}
TWO_DAYS_MS = 2 * 86_400_000
SAGAS = 1_200
"""More than two batches."""

# A day cannot be waited for: the past is put further back.
AGE_SAGAS = f"""
update saga_private.sagas
set created_at_ms = created_at_ms - {TWO_DAYS_MS}, updated_at_ms = updated_at_ms - {TWO_DAYS_MS},
    ended_at_ms = ended_at_ms - {TWO_DAYS_MS}
where key <> all($1::text[])
"""
AGE_LETTERS = f"""
update saga_private.dead_letters set at_ms = at_ms - {TWO_DAYS_MS}, replayed_at_ms = replayed_at_ms - {TWO_DAYS_MS}
"""
STRAYS = "select count(*) from saga.history where saga_id not in (select id from saga.sagas)"


async def _keys(system: System) -> list[str]:
    return [row["key"] for row in await system.fetch("select key from saga.sagas order by key")]


async def _until_left(system: System, *keys: str) -> None:
    async def only_these() -> bool:
        assert await _keys(system) == sorted(keys)
        return True

    await eventually(only_these, 30.0, f"only {', '.join(keys)} are left")


async def test_what_ended_goes_after_its_time_and_what_owes_or_is_young_stays(system: System) -> None:
    system.environment |= KEPT_ONE_DAY
    await system.start(services=2)
    system.start_sagas("trip", {f"many-{number}": {} for number in range(SAGAS)})
    system.start_saga("trip", "completed")
    system.start_saga("trip", "undone", plan={"invoice": ["reject"]})
    system.start_saga("trip", "stuck", plan={"invoice": ["reject"], "undo hotel": ["reject"]})
    system.start_saga("trip", "running", plan={"hotel": ["fail 600000"]})
    system.start_saga("trip", "young")
    for key, status in {
        "completed": "completed",
        "undone": "compensated",
        "stuck": "stuck",
        "young": "completed",
    }.items():
        await system.until(key, status, within_s=40.0)
    await system.until_history("running", "action_failed")
    await eventually(lambda: _all_of_many_are_done(system), 60.0)
    history = await system.history("young")

    await system.fetch(AGE_SAGAS, ["young"])

    await _until_left(system, "running", "stuck", "young")
    assert await system.value(STRAYS) == 0
    assert await system.history("young") == history
    removed = [
        line["removed"]
        for child in system.children
        for line in system.lines_of(child)
        if line["event"] == "ended sagas were removed"
    ]
    assert sum(removed) == SAGAS + 2

    # Its key starts a saga again, from the beginning.
    system.start_saga("trip", "completed")
    again = await system.until("completed", "completed")
    assert again["id"] == await system.value("select $1::uuid", saga_id_from_key("trip", "completed"))
    assert (await system.history("completed"))[0] == "started: running -> flight:action:1"


async def _all_of_many_are_done(system: System) -> bool:
    done = await system.value("select count(*) from saga.sagas where key like 'many-%' and status = 'completed'")
    assert done == SAGAS, f"{done} of {SAGAS}"
    return True


async def test_a_replica_that_remembers_a_removed_saga_is_not_misled_by_a_late_reply_nor_by_a_new_start(
    system: System,
) -> None:
    await system.start_in_one(**KEPT_ONE_DAY)
    saga_id = saga_id_from_key("by-hand", "late")
    system.add(system.names.events, {"type": "by-hand", "subject": "late", "data": "{}"})

    async def command() -> dict[str, str]:
        commands = [fields for _, fields in system.entries(system.names.commands("hand"))]
        assert commands, "not there"
        return commands[0]

    command_id = (await eventually(command))["id"]
    reply = {"command_id": command_id, "saga_id": saga_id}
    system.add(system.names.replies, {**reply, "outcome": "rejected"})
    await system.until("late", "compensated")
    await system.fetch(AGE_SAGAS, [])
    await _until_left(system)

    entry_id = system.add(system.names.replies, {**reply, "outcome": "succeeded", "data": "{}"})

    letter = await system.dead_letter(system.names.replies, entry_id)
    assert letter["reason"] == f"no saga with the id {saga_id} is known"
    assert await _keys(system) == []
    assert await system.value(STRAYS) == 0

    system.add(system.names.events, {"type": "by-hand", "subject": "late", "data": "{}"})
    await eventually(lambda: _keys(system))
    assert await system.history("late") == ["started: running -> first:action:1"]


async def test_dead_letters_go_once_they_were_replayed_and_kept_for_their_time(system: System) -> None:
    await system.start_in_one(**KEPT_ONE_DAY)
    bad = [system.add(system.names.events, {"type": "nonsense", "number": str(number)}) for number in range(2)]
    numbers = [(await system.dead_letter(system.names.events, entry_id))["id"] for entry_id in bad]
    assert (await system.command("dead-letters", "replay", str(numbers[0]))).exit_code == 0

    async def three_letters() -> bool:
        return bool(await system.value("select count(*) from saga.dead_letters") == 3)

    await eventually(three_letters, what="the replayed entry is a dead letter once more")
    await system.fetch(AGE_LETTERS)

    async def the_replayed_one_is_gone() -> bool:
        return bool(await system.value("select count(*) from saga.dead_letters where id = $1", numbers[0]) == 0)

    await eventually(the_replayed_one_is_gone, 20.0)
    assert await system.value("select count(*) from saga.dead_letters where replayed_at is null") == 2


async def test_a_time_that_a_command_may_outlast_is_refused_at_the_start(system: System, tmp_path: Path) -> None:
    slow = tmp_path / "slow.yaml"
    slow.write_text("{name: slow, steps: [{name: ship, action: sea.ship, timeout: 2d}]}")

    refused = await system.command("run", SAGA_DEFINITIONS=str(slow), **KEPT_ONE_DAY)

    assert refused.exit_code != 0
    assert (
        "SAGA_ENDED_SAGAS_RETENTION_DAYS (1) must be longer than any command may take, and is not for 'ship' of 'slow'"
        in refused.err + refused.out
    )
