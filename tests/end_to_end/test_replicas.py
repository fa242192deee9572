"""Any number of services and workers on the same sagas, added, stopped, killed and paused at any moment."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path

from redis import ResponseError

from saga_service.local.processes import Child
from saga_service.settings import Settings
from tests.end_to_end.laws import Saga, assert_lawful, nothing_is_left_over
from tests.end_to_end.plans import Plan, ends_as, random_plans
from tests.end_to_end.system import System
from tests.support.locks import somebody_locks
from tests.support.waiting import eventually

SAGAS = 300
PATIENT = {"SAGA_RECLAIM_IDLE_MS": "60000", "SAGA_OUTBOX_LEASE_MS": "60000", "SAGA_TIMERS_LEASE_MS": "60000"}
"""What is left behind is not taken over while the test lasts."""


def _as_planned(sagas: list[Saga], plans: dict[str, Plan]) -> None:
    ends = {saga.row["key"]: saga.row["status"] for saga in sagas}
    assert ends == {key: ends_as(plan) for key, plan in plans.items()}
    assert {"completed", "compensated"} <= set(ends.values()), "both ends were among them"


async def test_sagas_shared_by_three_services_and_two_workers_are_lawful(system: System, random_seed: int) -> None:
    plans = random_plans(random.Random(random_seed), SAGAS)
    await system.start(services=3, workers=2)
    system.start_sagas("trip", plans)
    _as_planned(await assert_lawful(system, SAGAS), plans)
    processed = [child for child in system.children if child.name.startswith("service")]
    for child in processed:
        child.ask_to_stop()
    for child in processed:
        assert await system.ended(child) == 0
    for stream in (system.names.events, system.names.replies):
        assert system.groups(stream)["saga-service"]["consumers"] == 0, "each has left its group"


async def test_sagas_outlive_services_that_are_killed_one_after_another(system: System, random_seed: int) -> None:
    chance = random.Random(random_seed)
    plans = random_plans(chance, SAGAS)
    services = (await system.start(services=3, workers=2))[:3]
    keys = list(plans)
    for killed in range(5):
        some = keys[killed * SAGAS // 5 : (killed + 1) * SAGAS // 5]
        system.start_sagas("trip", {key: plans[key] for key in some})
        # The pace of the disaster: there is no condition to wait for.
        await asyncio.sleep(1)
        victim = services.pop(chance.randrange(len(services)))
        victim.kill()
        services.append(system.begin_service())
    _as_planned(await assert_lawful(system, SAGAS), plans)


async def test_sagas_outlive_workers_that_are_killed_with_commands_in_hand(system: System, random_seed: int) -> None:
    chance = random.Random(random_seed)
    plans = random_plans(chance, 100)
    slow = {"flight": ["sleep 1500"], "car": ["sleep 1500", "sleep 1500"]}
    _, first, second = await system.start(workers=2)
    system.start_sagas("trip", plans | {f"slow-{number}": slow for number in range(40)})
    await eventually(lambda: _in_hand(system, "travel") >= 20)
    first.kill()
    system.begin_worker()
    await eventually(lambda: _in_hand(system, "rental") >= 10, within_s=20)
    second.kill()
    seen = await assert_lawful(system, 140)
    _as_planned([saga for saga in seen if saga.row["key"] in plans], plans)
    slow_ends = {saga.row["status"] for saga in seen if saga.row["key"].startswith("slow")}
    assert slow_ends == {"completed"}


def _in_hand(system: System, service: str) -> int:
    return int(system.groups(system.names.commands(service))[service]["pending"])


async def test_a_service_that_was_paused_changes_nothing_with_what_it_knew_before(
    system: System, random_seed: int
) -> None:
    plans = random_plans(random.Random(random_seed), 200)
    first, second, _ = await system.start(services=2)
    system.start_sagas("trip", plans)
    read = (system.names.events, system.names.replies)
    await eventually(lambda: all(system.redis.exists(stream) and system.groups(stream) for stream in read))
    await _paused_for_longer_than_the_reclaim_idle(system, first, in_hand=True)
    await _paused_for_longer_than_the_reclaim_idle(system, second)
    _as_planned(await assert_lawful(system, 200), plans)
    log = system.events_of(first) + system.events_of(second)
    assert "entries of a consumer that is gone are taken over" in log, "the pause was noticed"


async def test_a_worker_that_was_paused_adds_nothing_when_it_goes_on(system: System) -> None:
    _, first, second = await system.start(workers=2)
    slow = {"flight": ["sleep 600"], "hotel": ["sleep 600"], "invoice": ["reject"]}
    for worker in (first, second):
        system.start_sagas("trip", {f"{worker.name}-{number}": slow for number in range(30)})
        await eventually(lambda: _in_hand(system, "travel") >= 10)
        await _paused_for_longer_than_the_reclaim_idle(system, worker)
    seen = await assert_lawful(system, 60)
    assert {saga.row["status"] for saga in seen} == {"compensated"}
    carried_out = Counter((effect.idempotency_key, effect.attempt) for saga in seen for effect in saga.effects)
    assert max(carried_out.values()) > 1, "some command was carried out by two workers, and counted once"


async def _paused_for_longer_than_the_reclaim_idle(system: System, child: Child, *, in_hand: bool = False) -> None:
    """With `in_hand` at a moment when it has read entries and not acknowledged them."""
    os.kill(child.pid, signal.SIGSTOP)
    for _ in range(2_000):
        if not in_hand or _holds_entries(system, child):
            break
        os.kill(child.pid, signal.SIGCONT)
        await asyncio.sleep(0.005)
        os.kill(child.pid, signal.SIGSTOP)
    # The pause is the disaster.
    await asyncio.sleep(1.5)
    os.kill(child.pid, signal.SIGCONT)


def _holds_entries(system: System, service: Child) -> bool:
    [started] = [line for line in system.lines_of(service) if line["event"] == "saga_service runs"]
    group = Settings.model_fields["consumer_group"].default
    return any(
        consumer["pending"] > 0
        for stream in (system.names.events, system.names.replies)
        for consumer in system.redis.xinfo_consumers(stream, group)
        if consumer["name"].decode() == started["consumer"]
    )


async def test_a_service_told_to_stop_under_load_leaves_nothing_behind(system: System, random_seed: int) -> None:
    plans = random_plans(random.Random(random_seed), SAGAS)
    system.environment |= PATIENT
    first, second, third, _, _ = await system.start(services=3, workers=2)
    keys = list(plans)
    system.start_sagas("trip", {key: plans[key] for key in keys[:200]})
    await eventually(lambda: system.redis.xlen(system.names.outcomes) >= 20)
    for service in (first, second):
        service.ask_to_stop()
        assert await system.ended(service) == 0
        assert system.events_of(service)[-1] == "saga_service has stopped"
        system.start_sagas("trip", {key: plans[key] for key in keys[200:250]})
        keys = keys[:200] + keys[250:]
    assert third.is_running()
    _as_planned(await assert_lawful(system, SAGAS, within_s=30), plans)


async def test_a_worker_told_to_stop_under_load_leaves_nothing_behind(system: System, random_seed: int) -> None:
    plans = random_plans(random.Random(random_seed), 150)
    system.environment |= PATIENT
    _, first, _ = await system.start(workers=2)
    # Longer than the worker's grace period: it is handed back, and not waited for.
    system.start_saga("trip", "long", plan={"flight": ["sleep 8000"]})
    system.start_sagas("trip", plans)
    await eventually(lambda: system.redis.xlen(system.names.outcomes) >= 10)
    first.ask_to_stop()
    assert await system.ended(first) == 0
    seen = await assert_lawful(system, 151, within_s=45)
    _as_planned([saga for saga in seen if saga.row["key"] != "long"], plans)
    await nothing_is_left_over(system)


async def test_a_second_signal_ends_a_service_at_once(system: System) -> None:
    """One that has a minute for a handler inside it to come to its end, and a handler that takes half of that."""
    service = await system.start_in_one(SAGA_SHUTDOWN_GRACE_MS="60000")
    system.start_saga("trip", "slow", plan={"flight": ["sleep 30000"]})

    def is_at_work() -> bool:
        with suppress(ResponseError):  # before the group is there
            return bool(system.redis.xpending(system.names.commands("travel"), "travel")["pending"] == 1)
        return False

    await eventually(is_at_work)
    service.ask_to_stop()
    await eventually(lambda: any("stopping" in event for event in system.events_of(service)))
    service.ask_to_stop()
    assert await system.ended(service, within_s=10) == 0


APPROVAL = """
name: approval
key: trip
input: {type: object, required: [trip], properties: {trip: {type: string}, plan: {type: object}}}
steps:
  - {name: approve, signal: approved, timeout: 1h}
"""


async def test_a_resume_never_overtakes_the_pause_that_a_stalled_service_holds(
    system: System, postgres_dsn: str, tmp_path: Path
) -> None:
    (tmp_path / "approval.yaml").write_text(APPROVAL)
    settings = {"SAGA_DEFINITIONS": str(tmp_path / "approval.yaml"), "SAGA_REQUESTS_LEASE_MS": "2000"}
    stalled = system.begin_service(**settings)
    await system.ready(stalled)
    system.start_saga("approval", "A-17")
    await system.until("A-17", "running")
    [saga] = await system.fetch("select id from saga.sagas")
    ask = "select saga.operate($1, $2)"
    async with somebody_locks(postgres_dsn, "select from saga_private.sagas for update"):
        await system.fetch(ask, "pause", saga["id"])
        waiting = "from pg_stat_activity where wait_event_type = 'Lock' and application_name = 'saga_service'"
        await eventually(lambda: system.fetch(f"select {waiting}"), what="the service has the pause in hand")
        os.kill(stalled.pid, signal.SIGSTOP)
        await system.fetch(f"select pg_terminate_backend(pid) {waiting}")
    try:
        await system.ready(system.begin_service(**settings))
        await system.fetch(ask, "resume", saga["id"])
        answered = "select verdict from saga.requests where verdict is not null order by request_id"
        await eventually(lambda: _two(system, answered), what="both requests are answered")
    finally:
        os.kill(stalled.pid, signal.SIGCONT)
    assert [row["verdict"] for row in await system.fetch(answered)] == ["applied", "applied"]
    history = await system.fetch("select event from saga.history order by revision")
    assert [row["event"] for row in history][-2:] == ["pause_requested", "resume_requested"]


async def _two(system: System, query: str) -> bool:
    return len(await system.fetch(query)) == 2
