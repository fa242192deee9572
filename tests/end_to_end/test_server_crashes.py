"""Servers that die and come back with the data that they had acknowledged."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from saga_service.local.servers import EmbeddedServers
from tests.end_to_end.laws import Saga, assert_lawful
from tests.end_to_end.plans import Plan, ends_as, random_plans
from tests.end_to_end.system import System
from tests.support.databases import Databases
from tests.support.waiting import eventually

COMPLAINTS_MAX = 200


@pytest.fixture(scope="module")
def own_servers() -> Iterator[EmbeddedServers]:
    """To be killed, whichever servers the other tests are on."""
    with EmbeddedServers() as servers:
        yield servers


@pytest.fixture(scope="module")
def own_databases(own_servers: EmbeddedServers) -> Databases:
    return Databases(own_servers.postgres_dsn)


@pytest.fixture
def own_system(own_servers: EmbeddedServers, own_databases: Databases, tmp_path: Path) -> Iterator[System]:
    dsn = own_databases.create_migrated()
    with System(dsn, own_servers.redis_url, tmp_path) as system:
        yield system


def _as_planned(system: System, sagas: list[Saga], plans: dict[str, Plan]) -> None:
    assert {saga.row["key"]: saga.row["status"] for saga in sagas} == {key: ends_as(plans[key]) for key in plans}
    for child in system.children:
        complaints = [line for line in system.lines_of(child) if line["level"] in ("warning", "error")]
        assert len(complaints) <= COMPLAINTS_MAX, f"{child.name} complained {len(complaints)} times"


async def test_sagas_go_on_after_redis_was_killed_and_came_back(
    own_system: System, own_servers: EmbeddedServers, random_seed: int
) -> None:
    plans = random_plans(random.Random(random_seed), 200)
    await own_system.start(services=2, workers=2)
    own_system.start_sagas("trip", plans)
    await eventually(lambda: own_system.redis.xlen(own_system.names.outcomes) >= 20)
    await asyncio.to_thread(own_servers.redis.kill)
    # So long it is away.
    await asyncio.sleep(1)
    await asyncio.to_thread(own_servers.redis.start)
    _as_planned(own_system, await assert_lawful(own_system, 200), plans)


async def test_sagas_go_on_after_postgres_was_killed_and_came_back(
    own_system: System, own_servers: EmbeddedServers, random_seed: int
) -> None:
    plans = random_plans(random.Random(random_seed), 200)
    await own_system.start(services=2, workers=2)
    own_system.start_sagas("trip", plans)
    await eventually(lambda: own_system.redis.xlen(own_system.names.outcomes) >= 20)
    await asyncio.to_thread(own_servers.postgres.kill)
    await asyncio.sleep(1)
    await asyncio.to_thread(own_servers.postgres.start)
    _as_planned(own_system, await assert_lawful(own_system, 200), plans)


async def test_a_service_told_to_stop_while_both_servers_are_away_ends_in_its_grace_period(
    own_system: System, own_servers: EmbeddedServers
) -> None:
    service, worker = await own_system.start(SAGA_SHUTDOWN_GRACE_MS="1500")
    own_system.start_sagas("trip", {f"trip-{number}": {"flight": ["sleep 500"]} for number in range(50)})
    await own_system.until_taken_in(50)
    await asyncio.to_thread(own_servers.redis.kill)
    await asyncio.to_thread(own_servers.postgres.kill)
    try:
        for child in (service, worker):
            child.ask_to_stop()
        for child in (service, worker):
            assert await own_system.ended(child, within_s=15) == 0
    finally:
        await asyncio.to_thread(own_servers.redis.start)
        await asyncio.to_thread(own_servers.postgres.start)
    await own_system.start()
    seen = await assert_lawful(own_system, 50)
    assert {saga.row["status"] for saga in seen} == {"completed"}
