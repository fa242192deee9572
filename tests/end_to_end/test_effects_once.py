"""Workers' effects happen once, whoever is killed and whenever."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import asyncpg

from saga_service.definitions import Retry, Saga, Step
from saga_service.worker import PostgresInbox
from tests.end_to_end.ledger import CREATE
from tests.end_to_end.proxy import postgres_proxy
from tests.end_to_end.system import System

SAGAS = 200
KILLS = 6
STEPS = ("first", "second", "third")

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


async def test_each_effect_happens_once_though_workers_are_killed_in_the_middle_of_it(
    blank_postgres_dsn: str, system: System, random_seed: int
) -> None:
    chance = random.Random(random_seed)
    ledger = await asyncpg.connect(blank_postgres_dsn)
    try:
        await ledger.execute(CREATE)
        await PostgresInbox(blank_postgres_dsn).create_tables()
        settings = {
            "SAGA_DEFINITIONS": "tests.end_to_end.test_effects_once:booking",
            "SAGA_TEST_LEDGER": blank_postgres_dsn,
        }
        await system.ready(system.begin_service(**settings))
        worker = "tests.end_to_end.ledger:ledger"
        workers = [system.begin("worker", "worker", worker, **settings) for _ in range(3)]
        for child in workers:
            await system.ready(child)
        wanted = {f"b-{number}": chance.choice(["completed", "completed", "compensated"]) for number in range(SAGAS)}
        for some in range(KILLS):
            keys = list(wanted)[some::KILLS]
            system.start_sagas("booking", {key: {"ends_as": [wanted[key]]} for key in keys})
            # The pace of the disaster: there is no condition to wait for.
            await asyncio.sleep(chance.uniform(0.05, 0.6))
            workers.pop(chance.randrange(len(workers))).kill()
            workers.append(system.begin("worker", "worker", worker, **settings))
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
    finally:
        await ledger.close()


async def test_what_waits_for_an_inbox_that_is_away_fails_and_never_times_out(
    blank_postgres_dsn: str, system: System
) -> None:
    ledger = await asyncpg.connect(blank_postgres_dsn)
    try:
        await ledger.execute(CREATE)
        await PostgresInbox(blank_postgres_dsn).create_tables()
        async with postgres_proxy(blank_postgres_dsn) as (proxy, through_it):
            settings = {
                "SAGA_DEFINITIONS": "tests.end_to_end.test_effects_once:booking",
                "SAGA_TEST_LEDGER": through_it,
            }
            await system.ready(system.begin_service(**settings))
            await system.ready(system.begin("worker", "worker", "tests.end_to_end.ledger:ledger", **settings))
            await proxy.close()
            system.start_saga("booking", "inbox-away", plan={"ends_as": ["completed"]})
            await system.until_history("inbox-away", "action_failed")
            await proxy.open()
            await system.until("inbox-away", "completed", within_s=30.0)
        lines = await system.fetch("select event, error_code from saga.history order by revision")
        assert "action_timed_out" not in [line["event"] for line in lines]
        assert (lines[1]["event"], lines[1]["error_code"]) == ("action_failed", "inbox_unavailable")
        assert [row["step"] for row in await ledger.fetch("select step from ledger")] == list(STEPS)
    finally:
        await ledger.close()


def _effects(end: str) -> dict[str, list[str]]:
    if end == "completed":
        return {step: ["action"] for step in STEPS}
    return {"first": ["action", "compensation"], "second": ["action", "compensation"], "third": []}
