"""What operators and SQL callers ask of sagas, on a service that runs: from the command line to the effects."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import orjson
import pytest

from saga_service.core.ids import saga_id_from_key
from tests.end_to_end.effects import Effect
from tests.end_to_end.system import WORKERS, Finished, System
from tests.support.databases import Databases, empty_redis
from tests.support.servers import Addresses
from tests.support.waiting import eventually

SAGAS = """
name: errand
key: trip
input:
  type: object
  required: [trip]
  properties: {trip: {type: string, minLength: 1}, plan: {type: object}}
steps:
  - name: flight
    action: travel.flight
    compensation: travel.undo_flight
    compensation_retry: {attempts: 1}
  - {name: hotel, action: travel.hotel, compensation: travel.undo_hotel, retry: {attempts: 1}}
  - {name: invoice, action: rental.invoice, kind: pivot, retry: {attempts: 1}}
  - {name: car, action: rental.car, kind: retriable, retry: {attempts: 1}}
---
name: approval
key: trip
input:
  type: object
  required: [trip]
  properties: {trip: {type: string, minLength: 1}, plan: {type: object}}
steps:
  - {name: flight, action: travel.flight, compensation: travel.undo_flight}
  - {name: approve, signal: approved, timeout: 1h}
  - {name: hotel, action: travel.hotel, compensation: travel.undo_hotel}
"""


@pytest.fixture(scope="module")
def standing(servers: Addresses, databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One service with the workers inside it, which runs for all tests of this module."""
    empty_redis(servers.redis_url)
    dsn = databases.create_migrated()
    folder = tmp_path_factory.mktemp("operating")
    for number, document in enumerate(SAGAS.split("---\n"), start=1):
        (folder / f"saga-{number}.yaml").write_text(document)
    with System(dsn, servers.redis_url, folder, SAGA_DEFINITIONS=str(folder), SAGA_REQUESTS_POLL_MS="50") as system:
        system.begin_service(SAGA_WORKERS=",".join(WORKERS))
        yield system
    databases.drop(dsn)


@pytest.fixture
async def running(standing: System) -> System:
    await standing.ready(standing.children[0])
    return standing


async def operate(system: System, *arguments: str) -> Finished:
    """Run a command for which no Redis answers."""
    return await system.command(*arguments, SAGA_REDIS_URL="redis://127.0.0.1:1/0")


async def stuck(system: System, key: str, **plan: list[str]) -> None:
    system.start_saga("errand", key, plan=plan)
    await system.until(key, "stuck")


async def waiting(system: System, key: str) -> None:
    """A saga that waits for its approval."""
    system.start_saga("approval", key)
    await system.until_history(key, "action_succeeded")


async def step_of(system: System, key: str, step: str) -> asyncpg.Record:
    (row,) = await system.fetch(
        "select steps.* from saga.steps join saga.sagas on sagas.id = saga_id where key = $1 and step = $2", key, step
    )
    return row


def effects_of(system: System, key: str) -> list[str]:
    """What workers have done for one saga, in order."""
    saga_ids = {str(saga_id_from_key(saga, key)) for saga in ("errand", "approval")}
    done: list[Effect] = [effect for effect in system.effects() if effect.saga_id in saga_ids]
    return [
        f"{'undo ' if effect.direction == 'compensation' else ''}{effect.step}"
        for effect in sorted(done, key=lambda effect: effect.at_ns)
        if effect.outcome == "succeeded"
    ]


# ------------------------------------------------------------------------------------------------------------- verbs


async def test_retry_sets_a_saga_going_that_can_only_go_forward(running: System) -> None:
    await stuck(running, "retried", car=["fail"])

    ran = await operate(running, "retry", "retried", "--actor", "anna", "--reason", "the garage is open")

    assert ran.exit_code == 0, ran.err
    await running.until("retried", "completed")
    assert effects_of(running, "retried") == ["flight", "hotel", "invoice", "car"]
    line = await running.until_history("retried", "retry_requested")
    assert (line["actor"], line["reason"]) == ("anna", "the garage is open")


async def test_skip_goes_on_without_the_step(running: System) -> None:
    await stuck(running, "skipped", car=["reject"])

    ran = await operate(running, "skip", "skipped", "--step", "car")

    assert ran.exit_code == 0, ran.err
    await running.until("skipped", "completed")
    assert (await step_of(running, "skipped", "car"))["status"] == "skipped"


async def test_resolve_takes_a_persons_word_for_the_result(running: System) -> None:
    await stuck(running, "resolved", car=["reject"])

    ran = await operate(running, "resolve", "resolved", "--as", "succeeded", "--output", '{"plate": "S-17"}')

    assert ran.exit_code == 0, ran.err
    await running.until("resolved", "completed")
    assert (await step_of(running, "resolved", "car"))["output"] == {"plate": "S-17"}


async def test_resolve_takes_a_persons_word_for_an_undo(running: System) -> None:
    await stuck(running, "undone", hotel=["reject"], **{"undo flight": ["reject"]})

    ran = await operate(running, "resolve", "undone", "--step", "flight", "--as", "compensated")

    assert ran.exit_code == 0, ran.err
    await running.until("undone", "compensated")


async def test_cancel_undoes_what_was_done(running: System) -> None:
    await waiting(running, "cancelled")

    ran = await operate(running, "cancel", "cancelled", "--reason", "the customer called")

    assert ran.exit_code == 0, ran.err
    saga = await running.until("cancelled", "compensated")
    assert saga["error_code"] == "cancelled"
    assert effects_of(running, "cancelled") == ["flight", "undo flight"]


async def test_a_saga_past_its_pivot_refuses_to_be_cancelled(running: System) -> None:
    await stuck(running, "decided", car=["reject"])

    ran = await operate(running, "cancel", "decided")

    assert ran.exit_code == 1
    assert "refused: the pivot 'invoice' is done, or may be: the saga can only go forward" in ran.out


async def test_compensate_undoes_a_completed_saga(running: System) -> None:
    await waiting(running, "regretted")
    await operate(running, "signal", "approved", "regretted")
    await running.until("regretted", "completed")

    ran = await operate(running, "compensate", "regretted")

    assert ran.exit_code == 0, ran.err
    await running.until("regretted", "compensated")
    assert effects_of(running, "regretted") == ["flight", "hotel", "undo hotel", "undo flight"]


async def test_a_paused_saga_sends_nothing_until_it_is_resumed(running: System) -> None:
    await waiting(running, "halted")

    paused = await operate(running, "pause", "halted")
    told = await operate(running, "signal", "approved", "halted", "-f", "by=anna")
    still = await running.saga("halted")
    before = effects_of(running, "halted")
    resumed = await operate(running, "resume", "halted")

    assert [paused.exit_code, told.exit_code, resumed.exit_code] == [0, 0, 0]
    assert still is not None
    assert still["status"] == "paused"
    assert before == ["flight"]
    await running.until("halted", "completed")
    assert effects_of(running, "halted") == ["flight", "hotel"]


async def test_many_are_set_going_by_one_command(running: System) -> None:
    keys = [f"many-{number}" for number in range(25)]
    running.start_sagas("errand", {key: {"car": ["fail"]} for key in keys})
    for key in keys:
        await running.until(key, "stuck")

    ran = await operate(running, "retry", "--saga", "errand", "--error-code", "planned", "--yes", "--json")

    touched = {each["key"] for each in orjson.loads(ran.out) if each["verdict"] == "applied"}
    assert touched >= set(keys)
    for key in keys:
        await running.until(key, "completed")


# --------------------------------------------------------------------------------------------------------------- SQL


async def test_ten_starts_at_once_with_one_key_are_one_saga(running: System) -> None:
    given = await asyncio.gather(
        *(running.value("select saga.start('approval', $1, 'sql-1')::text", {"trip": "sql-1"}) for _ in range(10))
    )

    assert set(given) == {saga_id_from_key("approval", "sql-1")}
    await running.until_history("sql-1", "action_succeeded")
    await running.value("select saga.signal('approved', key => 'sql-1', data => $1)", {"by": "the shop"})
    await running.until("sql-1", "completed")
    assert effects_of(running, "sql-1") == ["flight", "hotel"]
    assert (await step_of(running, "sql-1", "approve"))["output"] == {"by": "the shop"}


async def test_by_sql_and_by_stream_the_same_business_key_is_one_saga(running: System) -> None:
    await running.value("select saga.start('approval', $1)", {"trip": "both"})
    running.start_saga("approval", "both")

    await running.until_history("both", "action_succeeded")
    await running.value("select saga.signal('approved', key => 'both')")
    await running.until("both", "completed")

    assert effects_of(running, "both") == ["flight", "hotel"]


async def test_an_operator_by_sql_reads_the_answer(running: System) -> None:
    await waiting(running, "sql-2")
    request = await running.value("select saga.operate('cancel', $1, 'anna')", saga_id_from_key("approval", "sql-2"))

    saga = await running.until("sql-2", "compensated")
    (answer,) = await running.fetch("select * from saga.request_results($1)", [request])

    assert (answer["verdict"], answer["reason"], str(answer["saga_id"])) == ("applied", "", str(saga["id"]))


async def test_a_start_that_does_not_fit_becomes_a_dead_letter_that_can_be_replayed(running: System) -> None:
    await running.value("select saga.start('approval', $1)", {"trip": "odd", "plan": "none"})

    async def letters() -> list[asyncpg.Record]:
        return await running.fetch("select * from saga.dead_letters where stream = 'saga.requests' order by id")

    [letter] = await eventually(letters, what="the dead letter")
    assert "the data does not fit the input of saga 'approval': plan: " in letter["reason"]

    replayed = await operate(running, "dead-letters", "replay", str(letter["id"]))

    assert replayed.exit_code == 0, replayed.err

    async def again() -> list[asyncpg.Record]:
        return (await letters())[1:]

    [second] = await eventually(again, what="the dead letter of the request that was made again")
    assert second["fields"] == letter["fields"]
    assert second["entry_id"] != letter["entry_id"]


async def test_the_service_and_its_workers_are_listed_as_alive(standing: System) -> None:
    async def alive() -> list[dict[str, object]]:
        ran = await standing.command("processes", "--json")
        assert ran.exit_code == 0
        found: list[dict[str, object]] = orjson.loads(ran.out)
        return found if {each["kind"] for each in found} == {"service", "worker"} else []

    [service, worker] = await eventually(alive, within_s=30)
    assert service["name"] == worker["name"], "the workers run inside"
    assert sorted(service["definitions"]) == ["approval", "errand"]  # type: ignore[call-overload]  # an object
    assert {each["service"] for each in worker["services"]} >= {"travel", "rental"}  # type: ignore[attr-defined]  # a list
