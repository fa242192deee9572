"""Redis is a disposable transport: whatever befalls it, every saga that was taken in goes on."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.end_to_end.laws import assert_lawful
from tests.end_to_end.plans import ends_as, random_plans
from tests.end_to_end.proxy import Cut, redis_proxy
from tests.end_to_end.system import System
from tests.support.waiting import eventually

ERRORS_MAX = 100
"""Of one process during one disaster of a second or two: it waits between two tries."""


def _assert_no_hot_loop(system: System) -> None:
    for child in system.children:
        complaints = [line for line in system.lines_of(child) if line["level"] in ("warning", "error")]
        assert len(complaints) <= ERRORS_MAX, f"{child.name} complained {len(complaints)} times"


async def test_sagas_in_flight_go_on_after_redis_has_lost_everything(system: System, random_seed: int) -> None:
    plans = random_plans(random.Random(random_seed), 200)
    # No step times out within the test: only sending again can bring these to their end.
    for plan in plans.values():
        plan["flight"] = ["sleep 500", *plan.get("flight", [])]
    await system.start(services=2, workers=2)
    system.start_sagas("trip", plans)
    await system.until_taken_in(200)
    system.redis.flushdb()
    await eventually(lambda: system.redis.xlen(system.names.outcomes) >= 20, within_s=30)
    system.redis.flushdb()
    seen = await assert_lawful(system, 200, within_s=45, redis_lost_data=True)
    assert {saga.row["key"]: saga.row["status"] for saga in seen} == {key: ends_as(plans[key]) for key in plans}
    _assert_no_hot_loop(system)
    system.start_saga("trip", "afterwards")
    await system.until("afterwards", "completed")


async def test_what_redis_lost_while_no_service_ran_is_sent_again_at_the_next_start(system: System) -> None:
    service, _ = await system.start()
    system.start_saga("trip", "lost", plan={"flight": ["fail 600000"], "hotel": ["sleep 600"]})
    system.start_saga("trip", "in-flight", plan={"flight": ["sleep 1000"]})
    await system.until_history("lost", "action_failed")
    await system.until_history("in-flight", "started")

    async def all_is_published() -> bool:
        return not await system.fetch("select from saga_private.outbox limit 1")

    await eventually(all_is_published)
    service.kill()
    await eventually(lambda: system.redis.xlen(system.names.replies) >= 2)
    system.redis.flushdb()
    await system.start(workers=0)
    await system.until("in-flight", "completed")


async def test_a_replica_that_dies_once_it_has_made_the_groups_anew_leaves_the_recovery_to_another(
    system: System,
) -> None:
    [service] = await system.start(workers=0)
    groups = system.events_of(service).count("the consumer group is made")
    system.start_sagas("trip", {f"owed-{number}": {} for number in range(20)})
    await eventually(lambda: system.redis.xlen(system.names.commands("travel")) == 20)
    system.redis.flushdb()
    await eventually(lambda: system.events_of(service).count("the consumer group is made") > groups)
    service.kill()
    assert "what was in flight on lost streams is sent again" not in system.events_of(service)
    await system.start()
    # A step times out after 20 seconds.
    await system.until_ended(20, within_s=15)


async def test_a_stream_of_commands_that_is_lost_alone_is_noticed_before_any_time_out(system: System) -> None:
    await system.start(workers=0)
    system.start_sagas("trip", {f"lost-{number}": {} for number in range(20)})
    commands = system.names.commands("travel")
    await eventually(lambda: system.redis.xlen(commands) == 20)
    await system.until_seen(commands)
    system.redis.delete(commands)
    system.begin_worker()
    await system.until_ended(20, within_s=15)


async def test_a_pivot_that_never_began_while_redis_was_away_goes_on(system: System, redis_url: str) -> None:
    statuses = "select distinct status from saga.sagas"

    async def all_completed() -> bool:
        return [row["status"] for row in await system.fetch(statuses)] == ["completed"]

    async with redis_proxy(redis_url) as (proxy, url):
        service, worker = await system.start(SAGA_REDIS_URL=url)
        system.start_sagas("decisive", {"before": {}})
        await system.until_ended(1)
        await proxy.close()
        await eventually(lambda: any("is held up" in event for event in system.events_of(service)))
        await system.fetch(
            "select saga.start('decisive', json_build_object('trip', 'away-' || number)::jsonb)"
            " from generate_series(1, 20) as number"
        )
        await system.until_history("away-20", "action_timed_out")
        assert {row["status"] for row in await system.fetch(statuses)} == {"completed", "stuck"}
        await proxy.open()
        await eventually(all_completed, 20.0, "all sagas are completed")
        assert "a command came after its deadline and is skipped" in system.events_of(worker)
        assert [effect.step for effect in system.effects()] == ["flight"] * 21


async def test_the_oldest_redis_carries_sagas_and_may_lose_everything_too(
    postgres_dsn: str, floor_redis_url: str, tmp_path: Path
) -> None:
    with System(postgres_dsn, floor_redis_url, tmp_path) as system:
        await system.start_in_one()
        plan = {"flight": ["sleep 500"], "car": ["fail"], "invoice": ["reject"]}
        system.start_sagas("trip", {f"old-{number}": plan for number in range(50)})
        await system.until_taken_in(50)
        system.redis.flushdb()
        seen = await assert_lawful(system, 50, within_s=45, redis_lost_data=True)
        assert {saga.row["status"] for saga in seen} == {"compensated"}


async def test_redis_out_of_memory_holds_sagas_up_and_loses_none(system: System, random_seed: int) -> None:
    plans = random_plans(random.Random(random_seed), 150)
    await system.start(services=2, workers=2)
    system.start_sagas("trip", plans)
    await eventually(lambda: system.redis.xlen(system.names.outcomes) >= 10)
    before = system.redis.config_get("maxmemory")["maxmemory"]
    system.redis.config_set("maxmemory", "1")
    try:
        held_up = "redis refuses messages; they stay in the outbox"
        services = [child for child in system.children if child.name.startswith("service")]
        await eventually(lambda: any(held_up in system.events_of(child) for child in services))
        # So long the disaster lasts.
        await asyncio.sleep(1.5)
    finally:
        system.redis.config_set("maxmemory", before)
    seen = await assert_lawful(system, 150)
    assert {saga.row["key"]: saga.row["status"] for saga in seen} == {key: ends_as(plans[key]) for key in plans}
    _assert_no_hot_loop(system)


@pytest.mark.parametrize(
    ("request_cut", "answer"),
    [
        # An entry's id, a command in an entry, a number.
        ("XADD", b"-"),
        ("XREADGROUP", b":action:"),
        ("XACK", b":"),
    ],
)
async def test_an_answer_of_redis_that_never_arrives_doubles_and_loses_nothing(
    system: System, redis_url: str, request_cut: str, answer: bytes
) -> None:
    async with redis_proxy(redis_url) as (proxy, url):
        # Nobody takes over what an answer told of that never came: whoever asked finds out by asking again.
        await system.start_in_one(SAGA_REDIS_URL=url, SAGA_RECLAIM_IDLE_MS="60000")
        proxy.cut = Cut(request_cut.encode(), answer, times=6)
        system.start_sagas("trip", {f"cut-{number}": {} for number in range(40)})
        await system.until_ended(40)
        assert proxy.cut.done == 6
        seen = await assert_lawful(system, 40)
        assert {saga.row["status"] for saga in seen} == {"completed"}
        _assert_no_hot_loop(system)


async def test_a_key_of_another_kind_in_the_place_of_a_stream_stops_nothing_else(system: System) -> None:
    system.redis.set("saga_requests", "not a stream")
    await system.start_in_one()
    system.start_saga("trip", "beside-it")
    await system.until("beside-it", "completed")
    system.redis.delete("saga_requests")
    system.add("saga_requests", {"robot_count": "1", "area": "ZoneA"})
    await system.until_ended(2)
