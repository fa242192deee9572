"""Waiting costs nothing, ends on time, and outlives whoever waits."""

from __future__ import annotations

import asyncio
import time

from tests.end_to_end.laws import assert_lawful
from tests.end_to_end.proxy import postgres_proxy
from tests.end_to_end.system import System
from tests.support.waiting import eventually

WAITING_SAGAS = 2_000
WAIT_MS = 25_000
QUIET_S = 2.0
LATE_S_MAX = 5.0


async def test_the_wait_before_another_attempt_outlives_the_service(system: System) -> None:
    (service, _) = await system.start()
    system.start_saga("trip", "waits", plan={"hotel": ["fail 4000"]})
    failed = await system.until_history("waits", "action_failed")
    service.kill()
    await system.start(workers=0)
    await system.until("waits", "completed")
    again = await system.until_history("waits", "action_retry_due")
    assert 4.0 <= (again["at"] - failed["at"]).total_seconds() <= 4.0 + LATE_S_MAX
    await assert_lawful(system, 1)


async def test_sagas_that_wait_cost_no_query_of_their_own_and_wake_on_time(system: System, postgres_dsn: str) -> None:
    async with postgres_proxy(postgres_dsn) as (proxy, dsn):
        looks = ("SAGA_TIMERS_POLL_MS", "SAGA_OUTBOX_POLL_MS", "SAGA_REQUESTS_POLL_MS")
        system.environment |= dict.fromkeys(looks, "1000") | {"SAGA_TRIM_PERIOD_MS": "60000"}
        await system.start(services=2, SAGA_POSTGRES_DSN=dsn)
        wake_at_ms = int(time.time() * 1000) + WAIT_MS
        plan = {"flight": [f"fail until {wake_at_ms}", "reject"]}
        system.start_sagas("trip", {f"waits-{number}": plan for number in range(WAITING_SAGAS)})
        await eventually(lambda: _all_wait(system), within_s=WAIT_MS / 1000)

        async def two_replicas_look_once_a_second_and_no_more() -> bool:
            before = proxy.requests
            # A span in which nothing happens can only be let pass.
            await asyncio.sleep(QUIET_S)
            # Timers, requests, the outbox and jobs, two messages each where a connection has not had the statement
            # before; and now and then what is kept up. A query for each saga would be many times as many.
            asked = proxy.requests - before
            assert asked <= 10 * QUIET_S * 2 < WAITING_SAGAS, asked
            return True

        await eventually(two_replicas_look_once_a_second_and_no_more, within_s=10)
        assert time.time() * 1000 < wake_at_ms, "they still wait"

        await system.until_ended(WAITING_SAGAS, within_s=45)
        (row,) = await system.fetch(
            "select min(ms) as early_ms, max(ms) as late_ms from ("
            "select extract(epoch from at) * 1000 - $1 as ms from saga.history where event = 'action_retry_due') as h",
            wake_at_ms,
        )
        assert row["early_ms"] >= -100
        assert row["late_ms"] <= LATE_S_MAX * 1000
        await assert_lawful(system, WAITING_SAGAS)


async def _all_wait(system: System) -> bool:
    waiting = "select count(*) from saga.steps where waiting_for = 'retry'"
    outbox = "select count(*) from saga_private.outbox"
    return bool(await system.value(waiting) == WAITING_SAGAS and await system.value(outbox) == 0)


async def test_timers_are_kept_while_starts_pile_up(system: System) -> None:
    # Small batches make a small pile last.
    slow = {"SAGA_BATCH_ENTRIES_MAX": "1", "SAGA_INTAKE_ENTRIES_MAX": "50", "SAGA_LANES": "1"}
    await system.start_in_one(**slow)
    system.start_saga("trip", "on-time", plan={"flight": ["fail 500"]})
    failed = await system.until_history("on-time", "action_failed")
    piled = 3_000
    system.start_sagas("trip", {f"piled-{number}": {} for number in range(piled)})
    again = await system.until_history("on-time", "action_retry_due", within_s=60)
    taken_in = await system.value("select count(*) from saga.sagas where created_at < $1", again["at"])
    assert taken_in < piled / 2, "the pile was still there"
    assert (again["at"] - failed["at"]).total_seconds() < 0.5 + LATE_S_MAX
