"""Two deployments beside each other: each has a database of its own, and none is let into the other's."""

from __future__ import annotations

from pathlib import Path

from tests.end_to_end.system import System
from tests.support.databases import Databases
from tests.support.waiting import eventually


async def test_two_deployments_on_one_redis_with_a_database_each_do_nothing_of_each_other_s(
    system: System, databases: Databases, redis_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "billing"
    folder.mkdir()
    dsn = databases.create_migrated()
    try:
        with System(dsn, redis_url, folder) as billing:
            for each in (system, billing):
                await each.start_in_one()
            for each in (system, billing):
                each.start_sagas("trip", {f"side-{number}": {"hotel": ["fail"]} for number in range(20)})
            for each in (system, billing):
                await each.until_ended(20)
                assert await each.value("select count(*) from saga.sagas where status = 'completed'") == 20
                assert await each.value("select count(*) from saga.dead_letters") == 0
    finally:
        databases.drop(dsn)


async def test_a_deployment_with_other_streams_is_refused_in_one_line(
    system: System, postgres_dsn: str, redis_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "billing"
    folder.mkdir()
    await system.start(workers=0)
    with System(postgres_dsn, redis_url, folder) as billing:
        for settings in ({}, {"SAGA_STREAM_PREFIX": system.names.prefix, "SAGA_CONSUMER_GROUP": "another"}):
            refused = await billing.command("run", **settings)
            [line] = refused.err.strip().splitlines()
            assert refused.exit_code != 0
            assert f"SAGA_STREAM_PREFIX={system.names.prefix} and SAGA_CONSUMER_GROUP=saga-service" in line
            assert "a database of its own" in line
            assert "saga-service migrate --rename" in line


async def test_a_deployment_that_was_renamed_on_purpose_goes_on_with_its_sagas(
    system: System, postgres_dsn: str, redis_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "renamed"
    folder.mkdir()
    [service] = await system.start(workers=0)
    system.start_sagas("trip", {f"kept-{number}": {} for number in range(20)})
    await eventually(lambda: system.redis.xlen(system.names.commands("travel")) == 20)
    service.ask_to_stop()
    assert await system.ended(service) == 0
    with System(postgres_dsn, redis_url, folder) as renamed:
        assert (await renamed.command("migrate", "--rename")).exit_code == 0
        await renamed.start()
        # A step times out after 20 seconds.
        await renamed.until_ended(20, within_s=15)
