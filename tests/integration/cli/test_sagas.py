"""`list` and `show` on sagas that are really in Postgres."""

from __future__ import annotations

import re
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from saga_service.core.events import OperationRequested, Started
from saga_service.core.ids import SagaId, saga_id_from_key, service_of
from saga_service.core.vocabulary import Operation
from saga_service.definitions import definition_from_document, definition_to_document
from saga_service.engine.ports import Batch, Write
from saga_service.wire.process_report import ProcessReport
from tests.support.builders import ONCE, SagaInMemory, definition, step
from tests.support.command_line import report, run_aside, store

HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, postgres_dsn: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAGA_POSTGRES_DSN", postgres_dsn)


def begun(name: str, key: str, *steps: str, ago_ms: int = 0) -> SagaInMemory:
    """A saga of that name and key, started so long ago."""
    defined = definition(*(steps or ("reserve", "charge")), name=name)
    saga = SagaInMemory(defined, now_ms=time.time_ns() // 1_000_000 - ago_ms)
    saga.apply(Started(saga_id_from_key(name, key), name, defined.version, key, {"amount": 5}))
    return saga


async def keep(postgres_dsn: str, *sagas: SagaInMemory) -> None:
    history = [entry for saga in sagas for entry in saga.history]
    await store(postgres_dsn, Batch(writes=[Write(saga.state, 0) for saga in sagas], history=history))


def id_of(saga: SagaInMemory) -> SagaId:
    return saga.state.id


# ------------------------------------------------------------------------------------------------------------- list


async def test_an_empty_list_says_so_and_is_empty_for_programs() -> None:
    told, shown = await run_aside("list"), await run_aside("list", "--json")

    assert (told.exit_code, told.out, told.err) == (0, "", "no sagas\n")
    assert shown.json == []


async def test_the_newest_sagas_come_first_however_old_they_are(postgres_dsn: str) -> None:
    sagas = [begun("order", f"A-{hours}", ago_ms=hours * HOUR_MS) for hours in (0, 2, 30, 800, 20_000)]
    await keep(postgres_dsn, *reversed(sagas))

    everything, latest = await run_aside("list", "--json"), await run_aside("list", "--limit", "3", "--json")

    assert [row["key"] for row in everything.json] == ["A-0", "A-2", "A-30", "A-800", "A-20000"]
    assert [row["key"] for row in latest.json] == ["A-0", "A-2", "A-30"]


async def test_a_list_can_be_narrowed_down(postgres_dsn: str) -> None:
    done, failed, other = begun("order", "A-1"), begun("order", "A-2", ago_ms=5), begun("trip", "A-1", ago_ms=9)
    done.succeed("reserve")
    done.succeed("charge")
    failed.reject("reserve", "out_of_stock")
    await keep(postgres_dsn, done, failed, other)

    async def keys(*options: str) -> list[tuple[str, str]]:
        listed = await run_aside("list", "--json", *options)
        return [(row["saga"], row["key"]) for row in listed.json]

    assert await keys("--status", "completed") == [("order", "A-1")]
    assert await keys("--status", "compensated", "--saga", "order") == [("order", "A-2")]
    assert await keys("--saga", "trip") == [("trip", "A-1")]
    assert await keys("--key", "A-1") == [("order", "A-1"), ("trip", "A-1")]
    assert await keys("--key", "A-1", "--status", "stuck") == []


async def test_a_row_has_what_the_next_command_needs(postgres_dsn: str) -> None:
    saga = begun("order", "A-1", ago_ms=90_000)
    saga.reject("reserve", "out_of_stock")
    await keep(postgres_dsn, saga)

    listed = await run_aside("list")

    assert [line.split() for line in listed.lines] == [
        ["id", "status", "saga", "key", "age", "awaits", "why"],
        [
            id_of(saga),
            "compensated",
            "order",
            "A-1",
            "1",
            "min",
            "reserve:",
            "out_of_stock:",
            "reserve:",
            "out_of_stock",
        ],
    ]


async def test_json_has_plain_values_and_iso_times(postgres_dsn: str) -> None:
    saga = begun("order", "A-1")
    await keep(postgres_dsn, saga)

    [row] = (await run_aside("list", "--json")).json

    assert row["id"] == id_of(saga)
    assert row["input"] == {"amount": 5}
    assert row["ended_at"] is None
    assert abs(datetime.fromisoformat(row["created_at"]) - datetime.now(UTC)) < timedelta(minutes=1)


# ------------------------------------------------------------------------------------------------------------- show


async def test_a_saga_is_found_by_its_id_and_by_its_key(postgres_dsn: str) -> None:
    saga = begun("order", "A-1")
    await keep(postgres_dsn, saga)

    by_id, by_key = await run_aside("show", id_of(saga).upper()), await run_aside("show", "A-1")

    assert by_id.exit_code == by_key.exit_code == 0
    assert by_id.lines[0] == by_key.lines[0] == f"order {id_of(saga)}: running"


async def test_a_key_may_look_like_an_id(postgres_dsn: str) -> None:
    key = "11111111-2222-8333-8444-555555555555"
    await keep(postgres_dsn, begun("order", key))

    assert (await run_aside("show", key)).lines[1] == f"key {key}"


async def test_a_key_that_is_a_uuid_is_found_in_any_spelling(postgres_dsn: str) -> None:
    key = "a0eebc99-9c0b-8ef8-bb6d-6bb9bd380a11"
    await keep(postgres_dsn, begun("order", key))

    assert (await run_aside("show", f"{{{key.upper()}}}")).lines[1] == f"key {key}"


@pytest.mark.parametrize(("form", "exit_code"), [("integer", 0), ("text", 1)])
async def test_a_whole_number_is_found_in_another_spelling_where_it_is_the_same_key(
    postgres_dsn: str, pool: asyncpg.Pool, form: str, exit_code: int
) -> None:
    saga = begun("order", "7")
    await keep(postgres_dsn, saga)
    await pool.execute(
        "insert into saga_private.definitions (saga, version, compensations, document)"
        " values ('order', $1, '{}', json_build_object('key_form', $2::text))",
        saga.state.version,
        form,
    )
    assert (await run_aside("show", "007", "--json")).exit_code == exit_code


async def test_what_is_not_there_is_said(postgres_dsn: str) -> None:
    shown = await run_aside("show", "A-1")

    assert (shown.exit_code, shown.out) == (1, "")
    assert shown.err == "saga-service: no saga has the id or the key 'A-1'; see: saga-service list\n"


async def test_a_key_of_several_sagas_asks_for_an_id(postgres_dsn: str) -> None:
    order, trip = begun("order", "A-1"), begun("trip", "A-1", ago_ms=5)
    await keep(postgres_dsn, order, trip)

    shown = await run_aside("show", "A-1")

    assert shown.exit_code == 2
    assert f"order {id_of(order)}, trip {id_of(trip)}; name one by its id" in shown.err


async def test_a_key_that_a_child_has_too_names_the_saga_that_was_started_with_it(
    postgres_dsn: str, pool: asyncpg.Pool
) -> None:
    order, trip = begun("order", "A-1", ago_ms=9), begun("trip", "A-1")
    await keep(postgres_dsn, order, trip)
    await pool.execute("update saga_private.sagas set parent_id = $1 where id = $2", id_of(order), id_of(trip))

    by_key, as_json = await run_aside("show", "A-1"), (await run_aside("show", "A-1", "--json")).json
    children = await run_aside("list", "--parent", "A-1", "--json")
    child = await run_aside("show", "A-1", "--saga", "trip")

    assert by_key.lines[0] == f"order {id_of(order)}: running"
    assert by_key.err == f"a child saga has the key 'A-1' too: trip {id_of(trip)}\n"
    assert as_json["saga"]["id"] == id_of(order)
    assert [each["id"] for each in as_json["children"]] == [each["id"] for each in children.json] == [id_of(trip)]
    assert f"child of order {id_of(order)} (running), for its step" in child.out


async def test_the_key_of_children_alone_names_the_one_that_there_is(postgres_dsn: str, pool: asyncpg.Pool) -> None:
    parent, child = begun("order", "A-1"), begun("trip", "A-2")
    await keep(postgres_dsn, parent, child)
    await pool.execute("update saga_private.sagas set parent_id = $1 where id = $2", id_of(parent), id_of(child))

    shown = await run_aside("show", "A-2")

    assert (shown.lines[0], shown.err) == (f"trip {id_of(child)}: running", "")


async def test_a_story_has_the_version_the_input_and_the_outputs(postgres_dsn: str) -> None:
    saga = begun("order", "A-1")
    saga.succeed("reserve", {"shelf": 7, "note": "x" * 2_990})
    await keep(postgres_dsn, saga)

    told, shown = await run_aside("show", "A-1"), (await run_aside("show", "A-1", "--json")).json

    assert f"version {saga.state.version} of its definition" in told.lines
    assert 'input    {"amount":5}' in told.lines
    [output] = [line for line in told.lines if line.startswith("reserve  {")]
    assert output.startswith('reserve  {"note":"xxx')
    assert output.endswith("… (1,011 characters more: --json)")
    assert shown["saga"]["input"] == {"amount": 5}
    assert shown["steps"][0]["output"]["note"] == "x" * 2_990


async def test_a_parent_s_key_of_several_sagas_asks_for_an_id_and_for_nothing_else(postgres_dsn: str) -> None:
    await keep(postgres_dsn, begun("order", "A-1"), begun("trip", "A-1"))

    listed = await run_aside("list", "--parent", "A-1")

    assert listed.exit_code == 2
    assert listed.err.endswith("; name one by its id\n")


async def test_a_key_that_looks_like_an_option_is_not_in_lines_to_paste(postgres_dsn: str) -> None:
    saga = begun("order", "-dash")
    await keep(postgres_dsn, saga)

    shown = await run_aside("show", "--", "-dash")

    assert f"saga-service show {id_of(saga)}" in shown.out


@pytest.mark.parametrize(
    "key",
    ["two words", "it's", "line\nbreak", "zero\u200bwidth", "\u202etfel", "red \x1b[31m", 'say "$HOME"', "a\\nb"],
    ids=ascii,
)
async def test_a_key_is_printed_as_it_can_be_pasted(postgres_dsn: str, key: str) -> None:
    saga = begun("order", key)
    await keep(postgres_dsn, saga)

    listed, shown = await run_aside("list"), await run_aside("show", key)

    assert (listed.out + shown.out).replace("\n", "").isprintable()
    [row] = listed.lines[1:]
    assert read_by_a_shell(row) == [id_of(saga), "running", "order", key]
    [key_line] = [line for line in shown.lines if line.startswith("key ")]
    assert read_by_a_shell(key_line) == ["key", key]
    [advice] = [line for line in shown.lines if "look again" in line]
    assert read_by_a_shell(advice.partition("look again: ")[2]) == ["saga-service", "show", key]


def read_by_a_shell(line: str) -> list[str]:
    """The first words of a line as a shell reads them, without what describes a saga's age."""
    line = re.sub(r" +\d+ m?s\b.*", "", line)
    printed = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True).stdout
    return printed.decode().removesuffix("\0").split("\0")


async def test_why_names_a_step_only_where_one_is_meant(postgres_dsn: str) -> None:
    called_off = begun("order", "A-1")
    called_off.apply(
        OperationRequested(saga_id=id_of(called_off), operation=Operation.CANCEL, actor="anna", reason="no more")
    )
    await keep(postgres_dsn, called_off)

    assert "  cancelled: requested by anna: no more" in (await run_aside("list")).out


async def test_the_timeline_tells_a_saga_that_was_undone(postgres_dsn: str) -> None:
    saga = begun("order", "A-1", "reserve", "charge", "ship")
    saga.succeed("reserve")
    saga.succeed("charge")
    saga.reject("ship", "no_truck")
    saga.undo_succeeds("charge")
    saga.undo_succeeds("reserve")
    await keep(postgres_dsn, saga)

    shown = await run_aside("show", "A-1")

    happened = [line[24:].split("  ")[-1].strip() for line in shown.lines if " ms " in line or "started; " in line]
    assert happened == [
        "started; sent reserve",
        "reserve done; sent charge",
        "charge done; sent ship",
        "ship refused by its worker: no_truck: ship: no_truck; the saga is now compensating; sent undo of charge",
        "charge undone; sent undo of reserve",
        "reserve undone; the saga is now compensated",
    ]
    assert "nothing is left to be undone" in shown.out


async def test_a_stuck_saga_tells_its_debt_in_the_order_of_undoing(postgres_dsn: str) -> None:
    steps = (step("reserve"), step("charge", compensation_retry=ONCE), step("note", undoable=False), step("ship"))
    document = definition_to_document("order", steps, {}, None)
    saga = SagaInMemory(definition_from_document(document))
    saga.start()
    for name in ("reserve", "charge", "note"):
        saga.succeed(name)
    saga.reject("ship", "no_truck")
    saga.undo_fails("charge", "no_account")
    await store(postgres_dsn, Batch(writes=[Write(saga.state, 0)], history=saga.history), document)

    told, shown = await run_aside("show", id_of(saga)), await run_aside("show", id_of(saga), "--json")

    assert shown.json["saga"]["status"] == "stuck"
    assert [(debt["step"], debt["status"]) for debt in shown.json["debt"]] == [
        ("charge", "compensation_failed"),
        ("reserve", "succeeded"),
    ]
    assert [entry["revision"] for entry in shown.json["history"]] == list(range(1, saga.state.revision + 1))
    assert [each["step"] for each in shown.json["steps"]] == ["reserve", "charge", "note", "ship"]
    assert f"saga-service resolve {id_of(saga)} --step charge --as compensated --reason '...'" in told.out


async def test_show_tells_that_no_worker_carries_out_what_is_awaited(postgres_dsn: str) -> None:
    document = definition_to_document("order", (step("charge"),), {}, None)
    saga = SagaInMemory(definition_from_document(document))
    saga.start()
    action = saga.definition.steps[0].action
    assert action is not None
    await store(postgres_dsn, Batch(writes=[Write(saga.state, 0)], history=saga.history), document)
    service = service_of(action)
    handler = {"type": f"{service}.something_else"}
    await report(
        postgres_dsn,
        ProcessReport(kind="service", name="s-1"),
        ProcessReport(kind="worker", name="w-1", services=[{"service": service, "handlers": [handler]}]),
    )

    shown = await run_aside("show", saga.state.id)

    assert f"  no worker that is known to be alive carries out {action}" in shown.out
    assert f"start a worker that carries out {action}: saga-service worker MODULE:WORKER" in shown.out
    assert "goes on by itself" not in shown.out

    await store(postgres_dsn, Batch(), definition_to_document("order", (step("another"),), {}, None))
    after_a_release = await run_aside("show", saga.state.id)

    older = f"this saga goes by version {saga.state.version}, which is no longer the deployed one and sends {action}"
    assert older in after_a_release.out
    assert f"saga-service cancel {saga.state.id} --reason '...'" in after_a_release.out
