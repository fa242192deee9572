"""`migrate`, `health` and `doctor` on real servers."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from redis import Redis

from saga_service import Saga, Step
from saga_service.admin.failure_kinds import Failure
from saga_service.cli.access.postgres_writers import create_inbox
from saga_service.cli.checks import stored_sagas as checks
from saga_service.definitions import check_saga
from saga_service.engine.ports import Batch, Write
from saga_service.store.schema.migrate import HEAD
from saga_service.wire.dead_letters import dead_letter
from saga_service.wire.entries import Entry
from saga_service.wire.process_report import ProcessReport
from saga_service.worker import PostgresInbox, Worker
from tests.support.builders import ONCE, SagaInMemory, definition, step
from tests.support.command_line import Ran, report, run, run_aside, store
from tests.support.ended_sagas import put


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, redis_url: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAGA_REDIS_URL", redis_url)


@pytest.fixture
def migrated(monkeypatch: pytest.MonkeyPatch, postgres_dsn: str) -> None:
    monkeypatch.setenv("SAGA_POSTGRES_DSN", postgres_dsn)


@pytest.fixture
def blank(monkeypatch: pytest.MonkeyPatch, blank_postgres_dsn: str) -> None:
    monkeypatch.setenv("SAGA_POSTGRES_DSN", blank_postgres_dsn)


# --------------------------------------------------------------------------------------------------------- schema


@pytest.mark.parametrize("arguments", [["list"], ["show", "A-1"], ["dead-letters", "list"]], ids=" ".join)
def test_a_missing_schema_leads_to_migrate(blank: None, arguments: list[str]) -> None:
    ran = run(*arguments)

    assert (ran.exit_code, ran.out) == (4, "")
    assert ran.err.endswith("; run: saga-service migrate\n")
    assert len(ran.err.splitlines()) == 1


def test_migrating_twice_is_once(blank: None) -> None:
    first, second = run("migrate"), run("migrate")

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.out == second.out == f"the schema is at revision {HEAD}\n"


def test_a_database_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, postgres_dsn: str) -> None:
    monkeypatch.setenv("SAGA_POSTGRES_DSN", postgres_dsn.replace("/saga_test_", "/no_such_"))

    ran = run("list")

    assert ran.exit_code == 3
    assert "does not exist; check user, password and database in SAGA_POSTGRES_DSN" in ran.err


# ------------------------------------------------------------------------------------------------------------ doctor


def findings(ran: Ran) -> dict[str, tuple[str, str]]:
    return {finding["check"]: (finding["verdict"], finding["text"]) for finding in ran.json}


def test_the_doctor_finds_a_missing_schema(blank: None) -> None:
    ran = run("doctor", "--json")

    assert ran.exit_code == 1
    assert findings(ran)["postgres"][0] == "ok"
    [schema] = [finding for finding in ran.json if finding["check"] == "schema"]
    assert (schema["verdict"], schema["advice"]) == ("problem", "run: saga-service migrate")
    assert "stuck sagas" not in findings(ran), "nothing to count yet"


async def test_the_doctor_finds_nothing_where_all_is_well(migrated: None, redis_url: str, postgres_dsn: str) -> None:
    await report(postgres_dsn, ProcessReport(kind="service", name="s-1"))
    with Redis.from_url(redis_url) as client:
        for stream in ("saga:events", "saga:replies", "saga:dead-letter"):
            client.xgroup_create(stream, "saga-service", "0", mkstream=True)

    ran = await run_aside("doctor", "--json")

    assert {verdict for verdict, _ in findings(ran).values()} == {"ok"}
    assert ran.exit_code == 0


@pytest.mark.parametrize(
    ("setting", "verdict", "text", "advice"),
    [
        ("default_transaction_read_only = on", "problem", "is read-only, and no saga goes on", "read_only to off"),
        (
            "default_transaction_isolation = 'serializable'",
            "ok",
            "transactions are serializable by default",
            "alter role … set default_transaction_isolation",
        ),
    ],
)
async def test_the_doctor_finds_defaults_of_sessions_that_hold_up_sagas(
    migrated: None, postgres_dsn: str, setting: str, verdict: str, text: str, advice: str
) -> None:
    administrator: asyncpg.Connection = await asyncpg.connect(postgres_dsn)
    try:
        await administrator.execute(f'alter database "{urlsplit(postgres_dsn).path[1:]}" set {setting}')
        ran = await run_aside("doctor", "--json")
    finally:
        await administrator.close()
    [found] = [each for each in ran.json if each["check"] == "postgres"]
    assert found["verdict"] == verdict
    assert text in found["text"]
    assert advice in found["advice"]


def test_the_doctor_misses_the_service_and_the_workers(migrated: None, redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        client.xadd("saga:commands:payment", {"id": "1"})

    ran = run("doctor", "--json")

    assert ran.exit_code == 1
    found = findings(ran)
    assert found["saga:events"] == ("problem", "group 'saga-service' has not read it yet")
    assert found["saga:commands:payment"] == ("problem", "no worker has ever read it")


def test_the_doctor_finds_entries_that_nobody_takes(migrated: None, redis_url: str) -> None:
    long_ago_ms = time.time_ns() // 1_000_000 - 600_000
    with Redis.from_url(redis_url) as client:
        for stream in ("saga:events", "saga:replies"):
            client.xgroup_create(stream, "saga-service", "0", mkstream=True)
            for sequence in (1, 2):
                client.xadd(stream, {"type": "order"}, id=f"{long_ago_ms}-{sequence}")
        client.xreadgroup("saga-service", "one-that-died", {"saga:replies": ">"})

    found = findings(run("doctor", "--json"))

    assert found["saga:events"][0] == found["saga:replies"][0] == "problem"
    assert "unread, the oldest since 10 min, none pending" in found["saga:events"][1]
    assert found["saga:replies"][1] == "group 'saga-service': none unread, 2 pending, the oldest since 10 min"


def test_the_doctor_finds_a_redis_that_evicts(migrated: None, redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            ran = run("doctor", "--json")
        finally:
            client.config_set("maxmemory-policy", "noeviction")

    [redis] = [finding for finding in ran.json if finding["check"] == "redis"]
    assert redis["verdict"] == "problem"
    assert "allkeys-lru" in redis["text"]
    assert "noeviction" in redis["advice"]


async def test_the_doctor_counts_what_needs_a_person(migrated: None, postgres_dsn: str) -> None:
    stuck = SagaInMemory(definition(step("reserve", compensation_retry=ONCE), "charge"))
    stuck.start()
    stuck.succeed("reserve")
    stuck.reject("charge")
    stuck.undo_fails("reserve")
    letter = dead_letter(Entry("saga:events", "1-1", {b"type": b"ordre"}), "no such saga", 1)
    await store(postgres_dsn, Batch(writes=[Write(stuck.state, 0)], history=stuck.history, dead_letters=[letter]))

    ran = await run_aside("doctor", "--json")

    assert ran.exit_code == 1
    assert findings(ran)["stuck sagas"] == ("problem", "1")
    assert findings(ran)["overdue sagas"] == ("ok", "none")
    assert findings(ran)["dead letters"] == ("problem", "1")


async def test_the_doctor_finds_sagas_that_nobody_looks_after(migrated: None, postgres_dsn: str) -> None:
    long_running = SagaInMemory(definition("reserve"))
    long_running.start()
    await store(postgres_dsn, Batch(writes=[Write(long_running.state, 0)], history=long_running.history))

    ran = await run_aside("doctor", "--json")

    assert findings(ran)["overdue sagas"] == ("problem", "1")


async def test_the_doctor_says_when_ended_sagas_pile_up_because_nothing_removes_them(
    migrated: None, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    for number in range(3):
        await put(connection, f"A-{number}")
    await put(connection, "young", ended_at_ms=time.time_ns() // 1_000_000)
    await connection.close()

    few = await run_aside("doctor", "--json")
    monkeypatch.setattr(checks, "KEPT_LONG_SAGAS_MAX", 2)
    many = await run_aside("doctor", "--json")
    monkeypatch.setenv("SAGA_ENDED_SAGAS_RETENTION_DAYS", "30")
    removed = await run_aside("doctor", "--json")

    assert findings(few)["ended sagas"] == ("ok", "are kept for ever")
    assert findings(many)["ended sagas"] == ("problem", "are kept for ever; more than 2 ended over 90 days ago")
    assert "set SAGA_ENDED_SAGAS_RETENTION_DAYS, or: saga-service archive --before 90d" in many.out
    assert findings(removed)["ended sagas"] == ("ok", "are removed after 30 days")


async def ask(postgres_dsn: str, *commands: str) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    try:
        for command in commands:
            await connection.execute(command)
    finally:
        await connection.close()


async def test_the_doctor_finds_requests_that_nobody_answers(migrated: None, postgres_dsn: str) -> None:
    one_of_today = "select saga.signal('paid', saga_id => gen_random_uuid())"
    await ask(postgres_dsn, one_of_today)
    young = await run_aside("doctor", "--json")
    await ask(postgres_dsn, "update saga_private.requests set at_ms = at_ms - 20000")
    old = await run_aside("doctor", "--json")

    assert findings(young)["unanswered requests"] == ("ok", "none")
    assert findings(old)["unanswered requests"] == ("problem", "1")


async def test_the_doctor_names_the_steps_that_nobody_can_take_over_in_time(
    migrated: None, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [Step("reserve", action="inventory.reserve", timeout="1m"), Step("ship", action="shop.ship", timeout="5m")]
    await store(postgres_dsn, Batch(), check_saga(Saga("order", steps=steps)).document)

    monkeypatch.setenv("SAGA_RECLAIM_IDLE_MS", "60000")
    slow = await run_aside("doctor", "--json")
    monkeypatch.delenv("SAGA_RECLAIM_IDLE_MS")
    quick = await run_aside("doctor", "--json")

    text = "their steps are taken over after 1 min, but these count as not answered before: order.reserve"
    assert findings(slow)["killed workers"] == ("ok", text)
    assert "lower SAGA_RECLAIM_IDLE_MS" in slow.out
    assert findings(quick)["killed workers"] == ("ok", "every step can be taken over in time")


async def test_the_doctor_says_that_it_needs_the_role_of_the_service(
    migrated: None, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    separator = "&" if "?" in postgres_dsn else "?"
    monkeypatch.setenv("SAGA_POSTGRES_DSN", f"{postgres_dsn}{separator}role=saga_reader")

    ran = await run_aside("doctor", "--json")

    assert findings(ran)["postgres"][0] == "ok"
    assert findings(ran)["schema"] == ("problem", "the role in SAGA_POSTGRES_DSN may not look at the schema's version")
    assert "use the service's own role" in ran.out


async def test_an_inbox_that_cannot_be_reached_is_told_with_its_address_and_what_to_do() -> None:
    worker = Worker("payment", inbox=PostgresInbox("postgresql://payment:secret@127.0.0.1:1/payment"))
    with pytest.raises(Failure) as failure:
        await create_inbox(worker)
    said = str(failure.value)
    where = "the database of the inbox of worker 'payment' cannot be used"
    assert said.startswith(f"{where}, at postgresql://payment:***@127.0.0.1:1/payment: ")
    assert "(ConnectionRefusedError); check the address that its PostgresInbox is given" in said
    assert "os.environ['SAGA_POSTGRES_DSN']" in said
    assert "secret" not in said
