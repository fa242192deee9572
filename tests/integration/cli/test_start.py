"""`start`: the entry is what any client could have added, the id is the one that the service will give."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis import Redis

from saga_service.core.ids import saga_id_from_event, saga_id_from_key
from saga_service.core.state import SagaState
from saga_service.definitions import load_definitions
from saga_service.engine.ports import Batch, Write
from saga_service.wire.dead_letters import dead_letter
from saga_service.wire.entries import Entry
from saga_service.wire.transport import StreamNames
from tests.support.builders import ONCE, SagaInMemory, definition, step
from tests.support.command_line import Ran, run, run_aside, store

NO_SERVER = "postgresql://saga@localhost:1/saga"

ORDER = """
name: order
input:
  type: object
  properties: {order_id: {type: string}, amount: {type: integer}}
  required: [order_id]
key: order_id
triggers: [{stream: order_requests}]
steps: [{name: reserve, action: inventory.reserve, compensation: inventory.release}]
"""


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, postgres_dsn: str, redis_url: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAGA_POSTGRES_DSN", postgres_dsn)
    monkeypatch.setenv("SAGA_REDIS_URL", redis_url)


@pytest.fixture
def defined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "order.yaml").write_text(ORDER)
    monkeypatch.setenv("SAGA_DEFINITIONS", "order.yaml")


def only_entry(redis_url: str, stream: str = "saga:events") -> tuple[str, dict[bytes, bytes]]:
    with Redis.from_url(redis_url) as client:
        [(entry_id, fields)] = client.xrange(stream)
    return entry_id.decode(), fields


def nothing_is_added(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        assert client.exists("saga:events") == 0


# ------------------------------------------------------------------------------------------------------ the entry


def test_without_definitions_the_entry_is_added_as_given(redis_url: str) -> None:
    ran = run("start", "order", "-f", "amount=5", "-f", "name=Ann", "-f", 'lines=[{"sku": 1}]')

    entry_id, fields = only_entry(redis_url)
    assert ran.exit_code == 0
    assert orjson.loads(fields.pop(b"data")) == {"amount": 5, "name": "Ann", "lines": [{"sku": 1}]}
    assert fields == {b"v": b"1", b"type": b"order"}
    assert ran.out == ""
    assert ran.err == (
        f"added to saga:events as {entry_id}\n"
        "the saga's id is not known: no saga 'order' is registered in Postgres, so no service that defines it has run; "
        "set SAGA_DEFINITIONS, or look: saga-service list\n"
    )


def test_the_input_may_come_from_stdin(redis_url: str) -> None:
    assert run("start", "order", "--data", "-", stdin='{"amount": 7}').exit_code == 0

    assert orjson.loads(only_entry(redis_url)[1][b"data"]) == {"amount": 7}


def test_a_key_makes_the_id(redis_url: str) -> None:
    ran = run("start", "order", "--key", "A-1", "--id", "e-1", "--json")

    entry_id, fields = only_entry(redis_url)
    assert (fields[b"subject"], fields[b"id"]) == (b"A-1", b"e-1")
    assert ran.json == {
        "saga_id": saga_id_from_key("order", "A-1"),
        "id_unknown_because": None,
        "is_new": True,
        "status": None,
        "saga": "order",
        "stream": "saga:events",
        "entry_id": entry_id,
        "remarks": [],
    }


@pytest.mark.parametrize("key", ["007", "6BA7B810-9DAD-11D1-80B4-00C04FD430C8"])
def test_a_key_that_definitions_may_write_otherwise_makes_no_id_where_none_is_known(redis_url: str, key: str) -> None:
    ran = run("start", "order", "--key", key, "--json")

    assert only_entry(redis_url)[1][b"subject"] == key.encode()
    assert (ran.json["saga_id"], ran.exit_code) == (None, 0)
    assert "no saga 'order' is registered" in ran.json["id_unknown_because"]
    awaited = run("start", "order", "--key", key, "--wait")
    assert (awaited.exit_code, awaited.out) == (1, "")
    assert "nothing was started: no saga 'order' is registered" in awaited.err
    only_entry(redis_url)


def test_an_event_id_makes_the_id_where_there_is_no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "order.yaml").write_text(ORDER.replace("key: order_id\n", ""))
    monkeypatch.setenv("SAGA_DEFINITIONS", "order.yaml")

    assert run("start", "order", "--id", "e-1", "-f", "order_id=A-1", "--json").json["saga_id"] == saga_id_from_event(
        "order", "e-1"
    )


def test_definitions_read_the_fields_and_give_the_key(defined: None, redis_url: str) -> None:
    ran = run("start", "order", "-f", "order_id=0017", "-f", "amount=5", "--json")

    assert orjson.loads(only_entry(redis_url)[1][b"data"]) == {"order_id": "0017", "amount": 5}
    assert ran.json["saga_id"] == saga_id_from_key("order", "0017")


def test_a_triggering_stream_gets_the_fields_as_they_are(defined: None, redis_url: str) -> None:
    ran = run("start", "order", "--stream", "order_requests", "-f", "order_id=0017", "-f", "amount=5", "--json")

    assert only_entry(redis_url, "order_requests")[1] == {b"order_id": b"0017", b"amount": b"5"}
    assert ran.json["saga_id"] == saga_id_from_key("order", "0017")


def test_what_the_service_would_refuse_is_not_added(defined: None, redis_url: str) -> None:
    too_large = run("start", "order", "--data", orjson.dumps({"order_id": "A-1", "note": "x" * 2_000_000}).decode())

    assert too_large.exit_code == 2
    assert "SAGA_ENTRY_BYTES_MAX" in too_large.err
    nothing_is_added(redis_url)


def test_a_name_that_no_definition_has_is_not_added(defined: None, redis_url: str) -> None:
    ran = run("start", "ordre", "--key", "A-1")

    assert (ran.exit_code, ran.out) == (2, "")
    assert ran.err == (
        "saga-service: nothing was started: no saga 'ordre' is among SAGA_DEFINITIONS, nor started by an event of that "
        "type; did you mean 'order'?; --force adds the entry all the same\n"
    )
    nothing_is_added(redis_url)


def test_a_name_that_no_definition_has_is_added_where_that_is_forced(defined: None, redis_url: str) -> None:
    ran = run("start", "ordre", "--key", "A-1", "--force")

    assert (ran.exit_code, ran.lines) == (0, [saga_id_from_key("ordre", "A-1")])
    assert only_entry(redis_url)[1][b"type"] == b"ordre"


def test_a_signals_name_starts_nothing(defined: None, tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "order.yaml").write_text(ORDER.replace("steps: [", "steps: [{name: wait, signal: order.approved}, "))

    ran = run("start", "order.approved", "--key", "A-1")

    assert "no saga 'order.approved' is among SAGA_DEFINITIONS" in ran.err
    nothing_is_added(redis_url)


@pytest.mark.parametrize("given", [["-f", "amout=5"], ["--data", '{"order_id": "A-1", "amout": 5}']])
def test_a_misspelt_field_is_named(defined: None, redis_url: str, given: list[str]) -> None:
    ran = run("start", "order", *given)

    assert "the input has no field 'amout'; did you mean 'amount'?" in ran.err
    assert ran.exit_code == (2 if "-f" in given else 0)


def test_an_input_without_its_option_is_told_where_it_goes() -> None:
    started, signalled = run("start", "order", '{"amount": 5}'), run("signal", "approved", "A-1", "by=Ann")

    assert (started.exit_code, signalled.exit_code) == (2, 2)
    assert started.err == (
        "saga-service: nothing is known of the argument '{\"amount\": 5}'; "
        "data is given by --data with a JSON object, or by --field NAME=VALUE\n"
    )
    assert "nothing is known of the argument 'by=Ann'" in signalled.err


def test_the_prefix_is_that_of_the_settings(monkeypatch: pytest.MonkeyPatch, redis_url: str) -> None:
    monkeypatch.setenv("SAGA_STREAM_PREFIX", "shop:")

    assert run("start", "order", "--key", "A-1", "--json").json["stream"] == "shop:events"
    only_entry(redis_url, "shop:events")


# -------------------------------------------------------------------------------- without definitions: those on record


def documents(tmp_path: Path, *versions: str) -> list[Mapping[str, Any]]:
    """What the service puts on record of each version."""
    found: list[Mapping[str, Any]] = []
    for written in versions:
        (tmp_path / "recorded.yaml").write_text(written)
        found += load_definitions([str(tmp_path / "recorded.yaml")], StreamNames()).documents()
    return found


async def record(postgres_dsn: str, tmp_path: Path, *versions: str) -> None:
    for document in documents(tmp_path, *versions):
        await store(postgres_dsn, Batch(), document)


async def test_without_definitions_the_newest_on_record_reads_the_fields_and_gives_the_key(
    postgres_dsn: str, redis_url: str, tmp_path: Path
) -> None:
    await record(postgres_dsn, tmp_path, ORDER.replace("key: order_id", "key: amount"), ORDER)

    ran = await run_aside("start", "order", "-f", "order_id=17", "-f", "amount=5")

    assert orjson.loads(only_entry(redis_url)[1][b"data"]) == {"order_id": "17", "amount": 5}
    assert ran.lines == [saga_id_from_key("order", "17")]


async def test_without_definitions_a_stream_is_taken_to_trigger_the_saga(postgres_dsn: str, tmp_path: Path) -> None:
    await record(postgres_dsn, tmp_path, ORDER)

    ran = await run_aside("start", "order", "--stream", "order_requests", "-f", "order_id=17", "--json")

    assert ran.json["saga_id"] == saga_id_from_key("order", "17")


def test_without_definitions_and_without_postgres_the_id_is_not_known(
    monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    monkeypatch.setenv("SAGA_POSTGRES_DSN", NO_SERVER)

    told, shown = run("start", "order", "-f", "order_id=17"), run("start", "order", "-f", "order_id=17", "--json")

    assert (told.exit_code, told.out) == (0, "")
    assert "the saga's id is not known: Postgres at " in told.err
    assert (shown.exit_code, shown.json["saga_id"]) == (0, None)
    assert "cannot be reached" in shown.json["id_unknown_because"]


def test_a_key_makes_the_id_without_postgres_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_POSTGRES_DSN", NO_SERVER)

    assert run("start", "order", "--key", "A-1").lines == [saga_id_from_key("order", "A-1")]


def test_nothing_is_started_to_be_waited_for_where_its_id_cannot_be_known(
    monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    unknown = run("start", "order", "-f", "order_id=17", "--wait")
    monkeypatch.setenv("SAGA_POSTGRES_DSN", NO_SERVER)
    unreachable = run("start", "order", "-f", "order_id=17", "--wait")

    assert (unknown.exit_code, unreachable.exit_code) == (1, 3)
    assert unknown.err.startswith("saga-service: nothing was started: no saga 'order' is registered in Postgres")
    nothing_is_added(redis_url)


async def test_a_name_that_is_not_on_record_is_not_added_where_others_are(
    postgres_dsn: str, redis_url: str, tmp_path: Path
) -> None:
    await record(postgres_dsn, tmp_path, ORDER)

    refused = await run_aside("start", "ordre", "-f", "order_id=17")
    nothing_is_added(redis_url)
    forced = await run_aside("start", "ordre", "-f", "order_id=17", "--force")

    assert (refused.exit_code, forced.exit_code) == (2, 0)
    assert "no saga 'ordre' is registered in Postgres; did you mean 'order'?; --force" in refused.err
    assert only_entry(redis_url)[1][b"type"] == b"ordre"


# ------------------------------------------------------------------------------------------------------- waiting


def ended(status: str) -> SagaInMemory:
    """The saga `order` of the key `order-1`, at that status."""
    saga = SagaInMemory(definition(step("reserve", compensation_retry=ONCE), "charge"))
    saga.start()
    saga.succeed("reserve")
    if status == "completed":
        saga.succeed("charge")
    elif status != "running":
        saga.reject("charge", "no_money")
        (saga.undo_succeeds if status == "compensated" else saga.undo_fails)("reserve")
    assert saga.status == status
    return saga


async def start_and_wait(postgres_dsn: str, saga: SagaInMemory, *options: str) -> Ran:
    await store(postgres_dsn, Batch(writes=[Write(saga.state, 0)], history=saga.history))
    return await run_aside("start", "order", "--key", "order-1", "--wait", *options)


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("compensated", 5), ("stuck", 6)])
async def test_the_exit_code_tells_how_the_saga_ended(postgres_dsn: str, status: str, code: int) -> None:
    ran = await start_and_wait(postgres_dsn, ended(status))

    assert ran.exit_code == code
    assert ran.lines[-1] == f"{status} after 0 ms"
    assert [line for line in ran.lines if "reserve done; sent charge" in line] != []


async def test_a_key_that_has_a_saga_already_starts_nothing_new_and_that_is_said(postgres_dsn: str) -> None:
    awaited = await start_and_wait(postgres_dsn, ended("compensated"))
    told = await run_aside("start", "order", "--key", "order-1")
    shown = await run_aside("start", "order", "--key", "order-1", "--json")

    saga_id = saga_id_from_key("order", "order-1")
    assert (awaited.exit_code, told.exit_code, shown.exit_code) == (5, 0, 0)
    assert awaited.err == "nothing new was started: this saga is there already, compensated\n"
    assert told.err == awaited.err.rstrip() + f"; look: saga-service show {saga_id}\n"
    assert (shown.json["is_new"], shown.json["status"]) == (False, "compensated")


@pytest.mark.parametrize("wait", [[], ["--wait"]])
async def test_a_key_that_has_a_saga_with_another_input_is_refused(
    postgres_dsn: str, redis_url: str, defined: None, wait: list[str]
) -> None:
    await store(postgres_dsn, Batch(writes=[Write(a_running_order(amount=5, note="hush"), 0)]))

    other = await run_aside("start", "order", "-f", "order_id=A-1", "-f", "amount=6", *wait)

    saga_id = saga_id_from_key("order", "A-1")
    assert (other.exit_code, other.out) == (1, "")
    assert other.err == (
        f"saga-service: nothing was started: order {saga_id} is there already (running), and was started with another "
        f"input ('amount'); give another key for another saga, or look: saga-service show {saga_id}\n"
    )
    nothing_is_added(redis_url)


async def test_what_is_given_again_for_a_key_is_no_other_input(postgres_dsn: str, defined: None) -> None:
    await store(postgres_dsn, Batch(writes=[Write(a_running_order(amount=5, with_a_default=1), 0)]))

    assert (await run_aside("start", "order", "-f", "order_id=A-1", "-f", "amount=5")).exit_code == 0


def a_running_order(**fields: object) -> SagaState:
    """The saga of the key A-1."""
    given = {"order_id": "A-1", **fields}
    return ended("running").state._replace(id=saga_id_from_key("order", "A-1"), key="A-1", input=given)


async def test_json_tells_the_end_as_well(postgres_dsn: str) -> None:
    ran = await start_and_wait(postgres_dsn, ended("compensated"), "--json")

    assert (ran.exit_code, ran.json["status"], ran.json["error_code"]) == (5, "compensated", "no_money")


async def test_a_saga_that_takes_too_long_is_left_to_itself(postgres_dsn: str) -> None:
    ran = await start_and_wait(postgres_dsn, ended("running"), "--timeout", "0.3")

    assert ran.exit_code == 7
    assert ran.err.splitlines()[-1].startswith("saga-service: order ")
    assert "has not ended after 0.3 s; look: saga-service show " in ran.err


async def test_an_entry_that_became_a_dead_letter_ends_the_waiting(postgres_dsn: str, redis_url: str) -> None:
    # The stream's next id is known beforehand, so that its dead letter can be there before the command looks.
    with Redis.from_url(redis_url) as client:
        client.xadd("saga:events", {"x": "y"}, id="9999999999999-1")
    letter = dead_letter(Entry("saga:events", "9999999999999-2", {}), "no saga is started by that", 1)
    await store(postgres_dsn, Batch(dead_letters=[letter]))

    ran = await run_aside("start", "order", "--key", "A-1", "--wait")

    assert ran.exit_code == 1
    assert "no saga is started by that; look: saga-service dead-letters show " in ran.err
