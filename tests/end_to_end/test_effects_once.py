"""Workers' effects happen once, whoever is killed and whenever."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import pytest

from saga_service.definitions import Retry, Saga, Step
from saga_service.local.processes import Child
from saga_service.worker import PostgresInbox
from tests.end_to_end.ledger import CREATE
from tests.end_to_end.proxy import postgres_proxy
from tests.end_to_end.system import System
from tests.support.waiting import eventually

SAGAS = 200
KILLS = 6
STEPS = ("first", "second", "third")
BOOKING = "tests.end_to_end.test_effects_once:booking"
WORKER = "tests.end_to_end.ledger:ledger"

_PATIENTLY = Retry(attempts=20, first_delay="100ms", max_delay="500ms")

booking = Saga(
    "booking",
    input={
        "type": "object",
        "required": ["trip"],
        "properties": {"trip": {"type": "string"}, "plan": {"type": "object"}},
    },
    key="trip",
    steps=[
        Step(
            name,
            action=f"ledger.{name}",
            compensation=f"ledger.undo_{name}",
            timeout="2s",
            compensation_timeout="2s",
            retry=_PATIENTLY,
            compensation_retry=_PATIENTLY,
        )
        for name in STEPS
    ],
)
"""Its time-outs are short, so that later attempts overtake what a killed worker left behind."""


@pytest.fixture
async def ledger(blank_postgres_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(blank_postgres_dsn)
    await connection.execute(CREATE)
    await PostgresInbox(blank_postgres_dsn).create_tables()
    yield connection
    await connection.close()


def _begin_worker(system: System, dsn: str) -> Child:
    return system.begin("worker", "worker", WORKER, SAGA_TEST_LEDGER=dsn)


async def test_each_effect_happens_once_though_workers_are_killed_in_the_middle_of_it(
    blank_postgres_dsn: str, ledger: asyncpg.Connection, system: System, random_seed: int
) -> None:
    chance = random.Random(random_seed)
    await system.ready(system.begin_service(SAGA_DEFINITIONS=BOOKING))
    workers = [_begin_worker(system, blank_postgres_dsn) for _ in range(3)]
    for child in workers:
        await system.ready(child)
    wanted = {f"b-{number}": chance.choice(["completed", "completed", "compensated"]) for number in range(SAGAS)}
    for some in range(KILLS):
        keys = list(wanted)[some::KILLS]
        system.start_sagas("booking", {key: {"ends_as": [wanted[key]]} for key in keys})
        # The pace of the disaster: there is no condition to wait for.
        await asyncio.sleep(chance.uniform(0.05, 0.6))
        workers.pop(chance.randrange(len(workers))).kill()
        workers.append(_begin_worker(system, blank_postgres_dsn))
    await system.until_ended(SAGAS)
    ends = {row["key"]: row["status"] for row in await system.fetch("select key, status from saga.sagas")}
    assert ends == wanted
    ids = {row["key"]: row["id"] for row in await system.fetch("select key, id from saga.sagas")}
    lines = Counter(
        (row["saga_id"], row["step"], row["direction"]) for row in await ledger.fetch("select * from ledger")
    )
    assert lines == Counter(
        (ids[key], step, direction)
        for key, end in wanted.items()
        for step, directions in _effects(end).items()
        for direction in directions
    )


async def test_what_waits_for_an_inbox_that_is_away_fails_and_never_times_out(
    blank_postgres_dsn: str, ledger: asyncpg.Connection, system: System
) -> None:
    async with postgres_proxy(blank_postgres_dsn) as (proxy, through_it):
        await system.ready(system.begin_service(SAGA_DEFINITIONS=BOOKING))
        await system.ready(_begin_worker(system, through_it))
        await proxy.close()
        system.start_saga("booking", "inbox-away", plan={"ends_as": ["completed"]})
        await system.until_history("inbox-away", "action_failed")
        await proxy.open()
        await system.until("inbox-away", "completed", within_s=30.0)
    lines = await system.fetch("select event, error_code from saga.history order by revision")
    assert "action_timed_out" not in [line["event"] for line in lines]
    assert (lines[1]["event"], lines[1]["error_code"]) == ("action_failed", "inbox_unavailable")
    assert [row["step"] for row in await ledger.fetch("select step from ledger")] == list(STEPS)


# ------------------------------------------------------------------------------------- probes that the inbox answers


async def test_what_happened_and_was_never_told_is_found_out_by_a_probe(
    blank_postgres_dsn: str, ledger: asyncpg.Connection, system: System
) -> None:
    service = system.begin_service()
    await system.ready(service)
    await system.ready(_begin_worker(system, blank_postgres_dsn))
    system.start_saga("recorded", "never-told")
    # Once it is out of the outbox it is not sent again, and it is in the worker's hands.
    await eventually(lambda: system.groups(system.names.commands("ledger"))["ledger"]["pending"])
    await eventually(lambda: _outbox_is_empty(system))
    service.kill()
    ((reply, _),) = await eventually(lambda: system.entries(system.names.replies), what="the reply is there")
    system.redis.xdel(system.names.replies, reply)
    await system.ready(system.begin_service())
    await system.until("never-told", "completed", within_s=30.0)
    assert await _events(system, "never-told") == ["started", "action_timed_out charge 1", "probe_confirmed charge 1"]
    assert await ledger.fetchval("select count(*) from ledger") == 1
    assert await system.value("select output from saga.steps") == {"attempt": 1}


async def test_what_never_began_is_denied_by_a_probe_and_done_by_a_later_attempt(
    blank_postgres_dsn: str, ledger: asyncpg.Connection, system: System
) -> None:
    await system.ready(system.begin_service())
    system.start_saga("recorded", "never-begun")
    await system.until_history("never-begun", "action_timed_out")
    # The command is lost: a worker that finds it says by itself that it never began.
    commands = system.names.commands("ledger")
    [lost] = [entry_id for entry_id, fields in system.entries(commands) if ":action:1" in fields["id"]]
    system.redis.xdel(commands, lost)
    await system.ready(_begin_worker(system, blank_postgres_dsn))
    await system.until("never-begun", "completed", within_s=30.0)
    events = await _events(system, "never-begun")
    assert events[-1] == "action_succeeded charge 2"
    assert any(event.startswith("probe_denied") for event in events)
    assert [row["attempt"] for row in await ledger.fetch("select attempt from ledger")] == [2]


async def _outbox_is_empty(system: System) -> bool:
    return bool(await system.value("select count(*) = 0 from saga_private.outbox"))


async def _events(system: System, key: str) -> list[str]:
    return [line.partition(":")[0] for line in await system.history(key)]


def _effects(end: str) -> dict[str, list[str]]:
    if end == "completed":
        return {step: ["action"] for step in STEPS}
    return {"first": ["action", "compensation"], "second": ["action", "compensation"], "third": []}
