"""What a person asks of sagas from the command line, by way of Postgres alone: no Redis answers in any of this."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from getpass import getuser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest

from saga_service.admin.filters import STATUSES_TO_OPERATE
from saga_service.cli.console import bulk
from saga_service.cli.main import COMMANDS, OPERATE
from saga_service.core.definition import Definition, StepDefinition
from saga_service.core.effects import ChildRequest
from saga_service.core.events import Started, TransportLost
from saga_service.core.ids import saga_id_from_key
from saga_service.core.vocabulary import Kind, Operation, Task
from saga_service.definitions import definition_from_document, definition_to_document
from saga_service.definitions.schema.outputs import output_schema
from saga_service.engine.ports import Batch, Write
from saga_service.wire.dead_letters import dead_letter
from saga_service.wire.entries import Entry
from saga_service.wire.transport import REQUESTS
from tests.support.builders import ONCE, PlainBlueprint, PlainCatalog, SagaInMemory, approval, step
from tests.support.command_line import Ran, run, run_aside, store
from tests.support.replica import answering

HOUR_MS = 3_600_000
DOCUMENT = definition_to_document(
    "order", (step("reserve"), step("charge", compensation_retry=ONCE), step("ship")), {}, None
)
ORDER = definition_from_document(DOCUMENT)
FORWARD = Definition(
    "errand",
    "v1",
    (
        StepDefinition(name="fetch", action="service.fetch", compensation="service.bring-back", retry=ONCE),
        StepDefinition(name="tell", action="service.tell", kind=Kind.RETRIABLE, retry=ONCE),
    ),
)
APPROVAL = Definition(
    "approval",
    "v1",
    (
        StepDefinition(
            name="approve",
            task=Task.SIGNAL,
            action="approved",
            output=output_schema({"type": "object", "properties": {"by": {"type": "string"}}}),
        ),
        StepDefinition(name="go", action="service.go"),
    ),
)
CATALOG = PlainCatalog(PlainBlueprint(ORDER))


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, postgres_dsn: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAGA_POSTGRES_DSN", postgres_dsn)
    monkeypatch.setenv("SAGA_REDIS_URL", "redis://127.0.0.1:1/0")


@pytest.fixture
async def replica(pool: asyncpg.Pool) -> AsyncIterator[None]:
    async with answering(pool, CATALOG, [ORDER, FORWARD, APPROVAL]):
        yield


def begun(defined: Definition, key: str, ago_ms: int = 0) -> SagaInMemory:
    saga = SagaInMemory(defined, now_ms=time.time_ns() // 1_000_000 - ago_ms)
    saga.apply(Started(saga_id_from_key(defined.name, key), defined.name, defined.version, key, {"amount": 5}))
    return saga


def stuck(key: str, ago_ms: int = 0, code: str = "no_truck") -> SagaInMemory:
    """Its undo of `charge` was given up on."""
    saga = begun(ORDER, key, ago_ms)
    saga.succeed("reserve")
    saga.succeed("charge")
    saga.reject("ship", code)
    saga.undo_fails("charge", "no_account")
    assert saga.status == "stuck"
    return saga


def parked(key: str) -> SagaInMemory:
    """The saga cannot compensate, and `tell` was given up on."""
    saga = begun(FORWARD, key)
    saga.succeed("fetch")
    saga.fail("tell", "nobody_home")
    assert saga.status == "stuck"
    return saga


def done(key: str) -> SagaInMemory:
    saga = begun(ORDER, key)
    for name in ("reserve", "charge", "ship"):
        saga.succeed(name)
    return saga


async def keep(postgres_dsn: str, *sagas: SagaInMemory) -> None:
    history = [entry for saga in sagas for entry in saga.history]
    await store(postgres_dsn, Batch(writes=[Write(saga.state, 0) for saga in sagas], history=history), DOCUMENT)


async def latest(key: str) -> dict[str, Any]:
    """The last line of a saga's history. Any: what its columns hold."""
    history: list[dict[str, Any]] = (await run_aside("show", key, "--json")).json["history"]
    return history[-1]


async def status_of(key: str) -> str:
    return str((await run_aside("show", key, "--json")).json["saga"]["status"])


# ------------------------------------------------------------------------------------------------ one saga, one verb


@pytest.mark.usefixtures("replica")
async def test_a_resolved_undo_lets_the_rest_be_undone(postgres_dsn: str) -> None:
    saga = stuck("A-17")
    await keep(postgres_dsn, saga)

    ran = await run_aside(
        *("resolve", "A-17", "--step", "charge", "--as", "compensated", "--actor", "anna", "--reason", "by hand")
    )

    assert (ran.exit_code, ran.err) == (0, "")
    assert ran.out == f"order A-17 ({saga.state.id}): resolved; the saga is now compensating\n"
    line = await latest("A-17")
    assert (line["event"], line["actor"], line["reason"]) == ("resolved_compensated", "anna", "by hand")
    assert line["sent"] == ["reserve:compensation:1"]


@pytest.mark.usefixtures("replica")
async def test_a_step_is_resolved_with_what_it_returned(postgres_dsn: str) -> None:
    await keep(postgres_dsn, parked("E-1"))

    ran = await run_aside("resolve", "E-1", "--as", "succeeded", "--output", '{"told": "😀"}')

    assert ran.exit_code == 0
    shown = (await run_aside("show", "E-1", "--json")).json
    assert shown["saga"]["status"] == "completed"
    assert shown["steps"][1]["output"] == {"told": "😀"}
    assert shown["history"][-1]["actor"] == getuser()


@pytest.mark.parametrize(
    ("operation", "made", "event", "status", "said"),
    [
        ("retry", stuck, "retry_requested", "compensating", "tried again"),
        ("skip", stuck, "skip_requested", "compensating", "skipped"),
        ("retry", parked, "retry_requested", "running", "tried again"),
        ("skip", parked, "skip_requested", "completed", "skipped"),
        ("cancel", parked, "cancel_requested", "compensating", "cancelled"),
        ("compensate", done, "compensate_requested", "compensating", "will undo everything"),
        ("pause", stuck, "pause_requested", "paused", "paused"),
    ],
)
@pytest.mark.usefixtures("replica")
async def test_each_verb_does_what_it_says(
    postgres_dsn: str, operation: str, made: Any, event: str, status: str, said: str
) -> None:
    saga = made("A-17")
    await keep(postgres_dsn, saga)

    ran = await run_aside(operation, "A-17", "--reason", "why not", "--json")

    assert ran.exit_code == 0, ran.err
    [became] = ran.json
    assert became | {"request_id": 0} == {
        "saga_id": saga.state.id,
        "saga": saga.state.saga,
        "key": "A-17",
        "request_id": 0,
        "verdict": "applied",
        "reason": "",
        "status": status,
    }
    line = await latest("A-17")
    assert (line["event"], line["reason"]) == (event, "why not")


@pytest.mark.usefixtures("replica")
async def test_a_paused_saga_goes_on_when_it_is_resumed_and_a_second_time_is_no_fault(postgres_dsn: str) -> None:
    saga = stuck("A-17")
    await keep(postgres_dsn, saga)

    ran = [await run_aside(operation, "A-17") for operation in ("pause", "pause", "resume", "resume")]

    name = f"order A-17 ({saga.state.id})"
    assert [each.exit_code for each in ran] == [0, 0, 0, 1]
    assert ran[1].out == f"{name}: nothing new: the saga is paused already\n"
    assert ran[2].out == f"{name}: resumed; the saga is now stuck\n"
    assert ran[3].out == f"{name}: refused: the saga is not paused, but stuck\n"


@pytest.mark.usefixtures("replica")
async def test_what_cannot_be_done_is_refused_with_the_reason(postgres_dsn: str) -> None:
    await keep(postgres_dsn, done("A-17"))

    ran = await run_aside("cancel", "A-17")

    assert ran.exit_code == 1
    assert "refused: the saga has ended (completed); to undo it, ask for 'compensate'" in ran.out
    assert (await run_aside("dead-letters", "list", "--json")).json == []


async def test_where_nobody_answers_the_request_stays_and_is_carried_out_later(
    postgres_dsn: str, pool: asyncpg.Pool
) -> None:
    saga = stuck("A-17")
    await keep(postgres_dsn, saga)

    ran = await run_aside("retry", "A-17", "--timeout", "0.2")

    assert ran.exit_code == 7
    assert ran.out == f"order A-17 ({saga.state.id}): not answered yet\n"
    assert ran.err == (
        "saga-service: no replica answered within 0.2 s; is one running? the request stays and will be carried out\n"
    )
    async with answering(pool, CATALOG, [ORDER]):
        again = await run_aside("pause", "A-17")
    assert again.exit_code == 0
    history = (await run_aside("show", "A-17", "--json")).json["history"]
    assert [line["event"] for line in history[-2:]] == ["retry_requested", "pause_requested"]


@pytest.mark.usefixtures("replica")
async def test_who_may_read_and_operate_needs_no_other_right(
    postgres_dsn: str, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(postgres_dsn, stuck("A-17"))
    name, address = f"anna_{uuid4().hex}", urlsplit(postgres_dsn)
    await pool.execute(f"create role {name} login password 'hush' in role saga_reader, saga_operator")
    netloc = f"{name}:hush@{address.netloc.rpartition('@')[2]}"
    monkeypatch.setenv("SAGA_POSTGRES_DSN", urlunsplit(address._replace(netloc=netloc)))
    try:
        ran = [await run_aside(*words) for words in (("pause", "A-17"), ("show", "A-17"), ("retry", "--saga", "order"))]
        await pool.execute(f"revoke saga_operator from {name}")
        may_not = await run_aside("resume", "A-17")
    finally:
        await pool.execute(f"drop role {name}")

    assert [each.exit_code for each in ran] == [0, 0, 0], [each.err for each in ran]
    assert may_not.exit_code == 3
    assert "grant saga_operator" in may_not.err


async def test_an_unknown_saga_is_told_before_anything_is_asked(pool: asyncpg.Pool) -> None:
    ran = await run_aside("retry", "A-17")

    assert (ran.exit_code, ran.out) == (1, "")
    assert "no saga has the id or the key 'A-17'" in ran.err
    assert await pool.fetchval("select count(*) from saga_private.requests") == 0


@pytest.mark.usefixtures("replica")
async def test_a_key_of_several_sagas_is_told_apart_by_the_definition(postgres_dsn: str) -> None:
    await keep(postgres_dsn, stuck("A-17"), parked("A-17"))

    unclear, clear = await run_aside("pause", "A-17"), await run_aside("pause", "A-17", "--saga", "errand", "--json")

    assert unclear.exit_code == 2
    assert "several sagas have the key 'A-17'" in unclear.err
    assert [each["saga"] for each in clear.json] == ["errand"]


async def test_show_and_plan_tell_a_key_of_several_sagas_apart_as_well(postgres_dsn: str) -> None:
    await keep(postgres_dsn, stuck("A-17"), parked("A-17"))

    unclear = await run_aside("show", "A-17")
    shown, planned = [await run_aside(operation, "A-17", "--saga", "order") for operation in ("show", "plan")]

    assert unclear.exit_code == 2
    assert "name one by its id, or its definition by --saga" in unclear.err
    saga_id = saga_id_from_key("order", "A-17")
    assert shown.lines[0] == planned.lines[0] == f"order {saga_id}: stuck"
    assert f"  saga-service retry {saga_id} --step charge --reason '...'" in "\n".join(shown.lines)


async def test_the_signal_that_a_saga_waits_for_is_named_by_the_view_and_by_show(
    postgres_dsn: str, pool: asyncpg.Pool
) -> None:
    document = definition_to_document("purchase", (approval("approval", "purchase.approved"), step("buy")), {}, None)
    saga = begun(definition_from_document(document), "A-1")
    await store(postgres_dsn, Batch(writes=[Write(saga.state, 0)], history=list(saga.history)), document)

    shown = await run_aside("show", "A-1")

    found = await pool.fetch("select step, signal from saga.steps order by position")
    assert [tuple(row.values()) for row in found] == [("approval", "purchase.approved"), ("buy", None)]
    assert shown.lines[-1].strip() == "approval waits for a signal: saga-service signal purchase.approved A-1"


# -------------------------------------------------------------------------------------------------------------- many


async def chosen(*arguments: str) -> list[str]:
    """The keys of the sagas that a command would touch."""
    ran = await run_aside(*arguments, "--dry-run", "--json")
    assert ran.exit_code == 0, ran.err
    return [row["key"] for row in ran.json]


async def test_filters_leave_the_sagas_meant_the_longest_unchanged_first(postgres_dsn: str, pool: asyncpg.Pool) -> None:
    await keep(
        postgres_dsn,
        stuck("A-1", 3 * HOUR_MS),
        stuck("A-2", 9 * HOUR_MS, "card"),
        stuck("A-3"),
        parked("E-1"),
        done("D-1"),
    )

    assert await chosen("retry", "--saga", "order") == ["A-2", "A-1", "A-3"]
    assert await chosen("retry", "--status", "stuck", "--older-than", "2h") == ["A-2", "A-1"]
    assert await chosen("retry", "--older-than", "2h", "--limit", "1") == ["A-2"]
    assert await chosen("retry", "--error-code", "nobody_home") == ["E-1"]
    assert await chosen("retry", "--error-code", "card") == ["A-2"], "by why it is undone"
    assert await chosen("retry", "--error-code", "no_account") == ["A-2", "A-1", "A-3"], "by what it is stuck at"
    assert await chosen("cancel", "--status", "completed") == ["D-1"]
    assert await chosen("compensate", "--saga", "order") == ["A-2", "A-1", "A-3"], "completed ones are not meant"
    assert await chosen("resume", "--saga", "order") == []
    assert await chosen("retry", "--saga", "nothing") == []
    assert await pool.fetchval("select count(*) from saga_private.requests") == 0, "nothing was asked"


async def test_a_dry_run_shows_a_table_and_how_many_there_are(postgres_dsn: str) -> None:
    saga = stuck("A-1", 3 * HOUR_MS)
    await keep(postgres_dsn, saga, stuck("A-2"))

    ran = await run_aside("retry", "--status", "stuck", "--limit", "1", "--dry-run")

    assert [line.split() for line in ran.lines] == [
        ["id", "status", "saga", "key", "unchanged", "for", "why"],
        [
            saga.state.id,
            "stuck",
            "order",
            "A-1",
            "3",
            "h",
            "0",
            "min",
            "charge:",
            "no_account:",
            "charge:",
            "no_account",
        ],
    ]
    assert ran.err == "1 saga, the longest unchanged of the 2 that fit; nothing was requested\n"


@pytest.mark.usefixtures("replica")
async def test_many_are_asked_at_once_and_each_gets_its_line(postgres_dsn: str) -> None:
    sagas = [stuck(f"A-{number}") for number in range(60)]
    await keep(postgres_dsn, *sagas)

    ran = await run_aside("retry", "--status", "stuck", "--yes", "--reason", "the bank is back")

    assert (ran.exit_code, ran.err) == (0, "")
    assert len(ran.lines) == 60
    assert all(line.endswith(": tried again; the saga is now compensating") for line in ran.lines)
    assert [await status_of(f"A-{number}") for number in (0, 59)] == ["compensating"] * 2


@pytest.mark.usefixtures("replica")
async def test_what_the_limit_left_is_told(postgres_dsn: str) -> None:
    await keep(postgres_dsn, *(stuck(f"A-{number}") for number in range(3)))

    ran = await run_aside("retry", "--status", "stuck", "--limit", "1", "--yes")

    assert (ran.exit_code, len(ran.lines)) == (0, 1)
    assert ran.err == "2 more fit; --limit says how many are operated at once\n"


@pytest.mark.usefixtures("replica")
async def test_one_refusal_among_many_shows_in_the_exit_code(postgres_dsn: str) -> None:
    await keep(postgres_dsn, stuck("A-1"), parked("E-1"))

    ran = await run_aside("skip", "--status", "stuck", "--step", "charge", "--yes", "--json")

    assert ran.exit_code == 1
    by_key = {each["key"]: each for each in ran.json}
    assert by_key["A-1"]["verdict"] == "applied"
    assert by_key["E-1"]["verdict"] == "refused"
    assert "saga 'errand' has no step 'charge'" in by_key["E-1"]["reason"]


async def at_a_terminal(monkeypatch: pytest.MonkeyPatch, answer: str, *arguments: str) -> Ran:
    monkeypatch.setattr(bulk, "is_terminal", lambda: True)
    return await asyncio.to_thread(run, *arguments, stdin=f"{answer}\n")


@pytest.mark.usefixtures("replica")
async def test_who_is_at_a_terminal_is_asked_and_told_how_many(
    postgres_dsn: str, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(postgres_dsn, stuck("A-1"), stuck("A-2"))

    no = await at_a_terminal(monkeypatch, "n", "retry", "--saga", "order")
    asked = await pool.fetchval("select count(*) from saga_private.requests")
    yes = await at_a_terminal(monkeypatch, "y", "retry", "--saga", "order")

    assert no.exit_code == 1
    assert "retry 2 sagas? [y/N]" in no.err
    assert asked == 0
    assert yes.exit_code == 0
    assert sum("tried again" in line for line in yes.lines) == 2


async def test_a_script_has_to_say_that_it_is_sure(postgres_dsn: str, pool: asyncpg.Pool) -> None:
    await keep(postgres_dsn, stuck("A-1"))

    ran = await run_aside("retry", "--saga", "order")

    assert ran.exit_code == 2
    assert "this would retry 1 saga, and there is no terminal to ask on; look with --dry-run, then say --yes" in ran.err
    assert await pool.fetchval("select count(*) from saga_private.requests") == 0


async def test_where_no_saga_fits_nothing_is_asked_and_nothing_is_wrong(pool: asyncpg.Pool) -> None:
    told, shown = await run_aside("retry", "--saga", "order"), await run_aside("retry", "--saga", "order", "--json")

    assert (told.exit_code, told.out, told.err) == (0, "", "no saga fits\n")
    assert shown.json == []
    assert await pool.fetchval("select count(*) from saga_private.requests") == 0


# ----------------------------------------------------------------------------------------------------------- signals


@pytest.mark.usefixtures("replica")
async def test_a_signal_reaches_the_step_that_waits_for_it_and_is_known_again(postgres_dsn: str) -> None:
    saga = begun(APPROVAL, "P-1")
    await keep(postgres_dsn, saga)
    words = ("signal", "approved", "P-1", "-f", "by=anna", "-f", "amount=5", "--id", "ticket-9")

    first, again = await run_aside(*words), await run_aside(*words)

    name = f"approval P-1 ({saga.state.id})"
    assert (first.exit_code, first.out) == (0, f"{name}: signalled; the saga is now running\n")
    assert (again.exit_code, again.out) == (0, f"{name}: nothing new: the signal was received already\n")
    shown = (await run_aside("show", "P-1", "--json")).json
    assert shown["steps"][0]["output"] == {"by": "anna", "amount": 5}
    assert [(each["name"], each["signal_id"], each["taken"]) for each in shown["signals"]] == [
        ("approved", "ticket-9", True)
    ]


@pytest.mark.usefixtures("replica")
async def test_a_signal_that_no_step_waits_for_is_refused_with_those_that_some_do(postgres_dsn: str) -> None:
    await keep(postgres_dsn, begun(APPROVAL, "P-1"))

    ran = await run_aside("signal", "aproved", "P-1", "--data", "{}")

    assert ran.exit_code == 1
    assert "refused: saga 'approval' has no step that waits for a signal 'aproved'; it waits for: approved" in ran.out
    assert (await run_aside("dead-letters", "list", "--json")).json == [], "who asked has been told"


@pytest.mark.usefixtures("replica")
async def test_a_signal_that_does_not_fit_is_refused_with_the_reason_and_may_come_again(postgres_dsn: str) -> None:
    await keep(postgres_dsn, begun(APPROVAL, "P-1"))

    refused = await run_aside("signal", "approved", "P-1", "-f", "by=5", "--id", "ticket-9")
    taken = await run_aside("signal", "approved", "P-1", "-f", "by=anna", "--id", "ticket-9")

    assert (refused.exit_code, taken.exit_code) == (1, 0)
    assert "refused: the data of the signal 'approved' does not fit step 'approve': by must be string" in refused.out


@pytest.mark.usefixtures("replica")
async def test_a_signal_is_for_the_step_that_it_names(postgres_dsn: str) -> None:
    await keep(postgres_dsn, begun(APPROVAL, "P-1"))

    refused = await run_aside("signal", "approved", "P-1", "--step", "other")
    taken = await run_aside("signal", "approved", "P-1", "--step", "approve")

    assert (refused.exit_code, taken.exit_code) == (1, 0)
    assert "has no step 'other' that waits for a signal 'approved'; such steps: approve" in refused.out


async def test_a_verb_is_no_signal(postgres_dsn: str) -> None:
    await keep(postgres_dsn, begun(APPROVAL, "P-1"))

    ran = await run_aside("signal", "saga.cancel", "P-1")

    assert ran.exit_code == 2
    assert "a signal has a name that does not begin with 'saga.'" in ran.err


# ------------------------------------------------------------------------------------------------------ list and show


@pytest.mark.usefixtures("replica")
async def test_paused_sagas_are_listed(postgres_dsn: str) -> None:
    await keep(postgres_dsn, stuck("A-1"), stuck("A-2"))
    await run_aside("pause", "A-2", "--reason", "the bank is down", "--actor", "anna")

    listed = (await run_aside("list", "--status", "paused", "--json")).json
    shown = await run_aside("show", "A-2")

    assert [(row["key"], row["course"]) for row in listed] == [("A-2", "backward")]
    assert "paused by anna (the bank is down); the saga is now paused" in shown.out
    assert "saga-service resume A-2 --reason" in shown.out


async def test_children_are_listed_by_their_parent(postgres_dsn: str) -> None:
    outing = begun(Definition("outing", "v1", (StepDefinition(name="trip", task=Task.CHILD, action="order"),)), "O-1")
    [request] = outing.apply(TransportLost(outing.state.id)).commands
    assert isinstance(request, ChildRequest)
    child = SagaInMemory(ORDER)
    child.apply(Started(request.child_id, "order", ORDER.version, None, {}, None, request.command))
    await keep(postgres_dsn, outing, child, stuck("A-1"))

    listed = (await run_aside("list", "--parent", "O-1", "--json")).json
    shown = await run_aside("show", "O-1")

    assert [(row["id"], row["parent_id"], row["parent_step"]) for row in listed] == [
        (child.state.id, outing.state.id, "trip")
    ]
    assert f"the child saga of trip: order {child.state.id}, which is running" in shown.out


# ------------------------------------------------------------------------------------------------------- dead letters


async def test_a_request_that_became_a_dead_letter_is_asked_again_and_not_put_on_a_stream(
    postgres_dsn: str, pool: asyncpg.Pool
) -> None:
    saga = stuck("A-17")
    await keep(postgres_dsn, saga)
    fields = {"type": "saga.pause", "saga_id": saga.state.id, "actor": "änna"}
    entry = Entry(REQUESTS, "17", {name.encode(): value.encode() for name, value in fields.items()})
    await store(postgres_dsn, Batch(dead_letters=[dead_letter(entry, "some reason", 1_000)]))
    [letter] = (await run_aside("dead-letters", "list", "--stream", REQUESTS, "--json")).json

    replayed = await run_aside("dead-letters", "replay", str(letter["id"]), "--json")
    again = await run_aside("dead-letters", "replay", str(letter["id"]))

    assert replayed.exit_code == 0, replayed.err
    assert [each["stream"] for each in replayed.json] == [REQUESTS]
    assert again.exit_code == 1
    assert await pool.fetchval("select count(*) from saga_private.requests") == 1
    async with answering(pool, CATALOG, [ORDER]):
        assert (await run_aside("resume", "A-17")).exit_code == 0
    history = (await run_aside("show", "A-17", "--json")).json["history"]
    assert [(line["event"], line["actor"]) for line in history[-2:]] == [
        ("pause_requested", "änna"),
        ("resume_requested", getuser()),
    ]


async def test_a_letter_that_only_says_that_it_came_by_sql_is_refused_in_words(
    postgres_dsn: str, pool: asyncpg.Pool
) -> None:
    await store(postgres_dsn, Batch(dead_letters=[dead_letter(Entry(REQUESTS, "17", {b"type": b"\xff"}), "no", 1)]))
    [letter] = (await run_aside("dead-letters", "list", "--json")).json

    ran = await run_aside("dead-letters", "replay", str(letter["id"]))

    assert ran.exit_code == 1
    assert "is not text; drop it" in ran.err
    assert await pool.fetchval("select count(*) from saga_private.requests") == 0


# -------------------------------------------------------------------------------------------------------- definitions


async def test_definitions_are_listed_with_their_open_sagas(postgres_dsn: str, tmp_path: Path) -> None:
    (tmp_path / "order.yaml").write_text(
        "name: order\nsteps:\n  - {name: reserve, action: shop.reserve, compensation: shop.release}\n"
    )
    await keep(postgres_dsn, stuck("A-1"), begun(ORDER, "A-2"), done("A-3"), parked("E-1"))
    errand = definition_to_document("errand", FORWARD.steps, {}, "errand_id") | {"version": "v1"}
    await store(postgres_dsn, Batch(), errand)

    listed = (await run_aside("definitions", "list", "order.yaml", "--json")).json
    table = await run_aside("definitions", "list", "order.yaml")

    assert [(each["saga"], each["defined_in"], each["open_sagas"]) for each in listed] == [
        ("errand", None, 1),
        ("order", "order.yaml:1", 0),
        ("order", None, 2),
    ]
    assert [line.split()[-1] for line in table.lines] == ["sagas", "1", "0", "2"]
    elsewhere = listed[0]
    assert (elsewhere["key"], elsewhere["services"]) == ("errand_id", ["service"])
    assert [(each["step"], each["action"], each["compensation"]) for each in elsewhere["steps"]] == [
        ("fetch", "service.fetch", "service.bring-back"),
        ("tell", "service.tell", None),
    ]
    assert "fetch → tell" in table.lines[1]


async def test_without_a_source_the_deployed_definitions_are_listed(postgres_dsn: str) -> None:
    nothing = await run_aside("definitions", "list")
    await keep(postgres_dsn, begun(ORDER, "A-2"))
    await store(postgres_dsn, Batch(), definition_to_document("errand", FORWARD.steps, {}, "errand_id"))

    listed = (await run_aside("definitions", "list", "--json")).json

    assert nothing.exit_code == 2
    assert "no definitions are given, and none is deployed" in nothing.err
    assert [(each["saga"], each["open_sagas"]) for each in listed] == [("errand", 0), ("order", 1)]


async def test_a_definition_that_only_a_later_release_can_read_is_listed_all_the_same(
    postgres_dsn: str, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    (tmp_path / "order.yaml").write_text("name: order\nsteps:\n  - {name: reserve, action: shop.reserve}\n")
    await keep(postgres_dsn, stuck("A-1"))
    await pool.execute("update saga_private.definitions set document = '{\"format\": 99}'")

    listed = (await run_aside("definitions", "list", "order.yaml", "--json")).json
    shown = await run_aside("show", "A-1")

    assert [(each["defined_in"], each["steps"], each["open_sagas"]) for each in listed] == [
        ("order.yaml:1", [{"step": "reserve", "action": "shop.reserve", "compensation": None, "after": []}], 0),
        (None, [], 1),
    ]
    assert "its definition is not registered, or cannot be read here" in shown.out


async def test_definitions_are_listed_without_postgres(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SAGA_POSTGRES_DSN", "postgresql://127.0.0.1:1/saga")
    (tmp_path / "order.yaml").write_text("name: order\nsteps:\n  - {name: reserve, action: shop.reserve}\n")

    ran = await run_aside("definitions", "list", "order.yaml", "--json")

    assert ran.exit_code == 0
    assert [(each["saga"], each["open_sagas"]) for each in ran.json] == [("order", None)]
    assert "how many sagas of each version are open is not known: Postgres at" in ran.err


def test_every_verb_has_statuses_that_it_is_of_use_to() -> None:
    commands = {entry.name for entry in COMMANDS if entry.panel == OPERATE}
    assert commands == {operation.value for operation in Operation} == STATUSES_TO_OPERATE.keys()
