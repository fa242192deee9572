"""What cannot work is refused with one line that says what to do; what is not there yet is waited for."""

from __future__ import annotations

from pathlib import Path

import pytest

from saga_service.cli.exits import ExitCode
from saga_service.local.processes import Child
from tests.end_to_end.laws import assert_lawful
from tests.end_to_end.proxy import Cut, postgres_proxy, redis_proxy
from tests.end_to_end.system import WORKERS, Finished, System
from tests.support.waiting import eventually

NOBODY = "127.0.0.1:1"
WRONG = """
name: Order
steps:
  - {name: reserve, action: reserve}
  - {name: charge, action: payment.charge, timeout: soon, retyr: {attempts: 3}}
"""


def _said(finished: Finished) -> list[str]:
    """What it said to people, which is all but its log."""
    assert finished.exit_code not in (0, None)
    assert "Traceback" not in finished.err
    assert finished.out == ""
    return [line for line in finished.err.splitlines() if not line.startswith("{")]


async def _refused(system: System, **settings: str) -> str:
    """The one line with which `saga-service run` refuses."""
    (line,) = _said(await system.command("run", **{"SAGA_STARTUP_WAIT_S": "0.3", **settings}))
    return line


async def test_a_database_without_tables_is_refused(system: System, blank_postgres_dsn: str) -> None:
    line = await _refused(system, SAGA_POSTGRES_DSN=blank_postgres_dsn)
    assert "has no saga_service tables; run: saga-service migrate" in line


async def test_a_schema_that_is_too_new_is_refused(system: System) -> None:
    await system.fetch("insert into saga_private.migrations (revision, migrated_by) values ('9999', '7.1.0')")
    line = await _refused(system)
    assert "older than the schema (revision 9999" in line
    assert "deploy version 7.1.0 or later" in line


async def test_no_definitions_are_refused(system: System) -> None:
    assert "set SAGA_DEFINITIONS to YAML files or Python modules" in await _refused(system, SAGA_DEFINITIONS="")


async def test_a_redis_that_evicts_streams_is_refused(system: System) -> None:
    before = system.redis.config_get("maxmemory-policy")["maxmemory-policy"]
    system.redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        line = await _refused(system)
    finally:
        system.redis.config_set("maxmemory-policy", before)
    assert "maxmemory-policy allkeys-lru" in line
    assert "CONFIG SET maxmemory-policy noeviction" in line


async def test_wrong_definitions_are_refused_with_everything_that_is_wrong(system: System, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(WRONG)
    finished = await system.command("run", SAGA_DEFINITIONS="wrong.yaml")
    first, *problems = _said(finished)
    assert first.endswith("problems in the saga definitions:")
    places = [problem.strip().split(": ")[:2] for problem in problems]
    assert [place for place, _ in places] == ["wrong.yaml:2", "wrong.yaml:4", "wrong.yaml:5", "wrong.yaml:5"]


@pytest.mark.parametrize(
    ("variable", "url", "server"),
    [
        ("SAGA_POSTGRES_DSN", f"postgresql://saga:secret@{NOBODY}/saga", "postgres"),
        ("SAGA_REDIS_URL", f"redis://:secret@{NOBODY}/0", "redis"),
    ],
)
async def test_a_server_that_does_not_come_is_refused_without_its_password(
    system: System, variable: str, url: str, server: str
) -> None:
    line = await _refused(system, **{variable: url})
    assert f"{server} at " in line
    assert NOBODY in line
    assert "did not answer within 0.3 s" in line
    assert "secret" not in line


async def test_a_wrong_setting_is_refused(system: System) -> None:
    lines = _said(await system.command("run", SAGA_LANES="0", SAGA_LANE="3"))
    assert any("SAGA_LANES" in line and "greater than or equal to 1" in line for line in lines)
    assert any("SAGA_LANE" in line and "did you mean SAGA_LANES?" in line for line in lines)


async def test_a_worker_that_is_not_there_is_refused(system: System) -> None:
    (line,) = _said(await system.command("worker", "tests.end_to_end.workers:flight"))
    assert "has no 'flight'; its workers: fleet, lab, mapping, planning, rental, travel" in line


async def test_a_service_started_before_its_servers_waits_for_them_and_then_runs(
    system: System, postgres_dsn: str, redis_url: str
) -> None:
    async with postgres_proxy(postgres_dsn) as (postgres, dsn), redis_proxy(redis_url) as (redis_server, url):
        await postgres.close()
        await redis_server.close()
        service = system.begin_service(SAGA_POSTGRES_DSN=dsn, SAGA_REDIS_URL=url, SAGA_WORKERS=",".join(WORKERS))
        await eventually(lambda: _says(system, service, "waiting for postgres at "), within_s=20)
        await postgres.open()
        await eventually(lambda: _says(system, service, "waiting for redis at "), within_s=20)
        await redis_server.open()
        await system.ready(service)
        system.start_saga("trip", "after-the-wait")
        await system.until("after-the-wait", "completed")
        await assert_lawful(system, 1)


async def test_a_postgres_that_goes_away_during_the_start_is_waited_for(system: System, postgres_dsn: str) -> None:
    async with postgres_proxy(postgres_dsn) as (proxy, dsn):
        # The pool's first connection, which says its name; the look at the schema before it says none.
        proxy.cut = Cut(b"application_name\x00saga_service", b"R", times=2)
        await system.ready(system.begin_service(SAGA_POSTGRES_DSN=dsn))


async def test_a_postgres_that_stays_away_during_the_start_is_told_in_one_line(
    system: System, postgres_dsn: str
) -> None:
    async with postgres_proxy(postgres_dsn) as (proxy, dsn):
        proxy.cut = Cut(b"application_name\x00saga_service", b"R", times=1_000)
        line = await _refused(system, SAGA_POSTGRES_DSN=dsn)
    assert "did not answer within 0.3 s" in line


async def test_a_service_that_waits_for_its_servers_can_be_stopped(system: System) -> None:
    service = system.begin_service(SAGA_REDIS_URL=f"redis://{NOBODY}/0", SAGA_STARTUP_WAIT_S="600")
    await eventually(lambda: _says(system, service, "waiting for redis at "), within_s=20)
    service.ask_to_stop()
    assert await system.ended(service, within_s=5) == 0


async def test_a_right_that_is_taken_away_ends_a_running_service_with_one_line(system: System) -> None:
    """With an exit code for scripts, and no traceback."""
    service = system.begin_service()
    await system.ready(service)
    await system.fetch("alter function saga_private.claim_requests rename to claimed_requests")
    assert await system.ended(service, within_s=20) == ExitCode.UNREACHABLE
    (line,) = [line for line in system.log_of(service).splitlines() if not line.startswith("{")]
    assert "refuses what the service needs, and the service has ended" in line
    assert "claim_requests" in line


def _says(system: System, child: Child, beginning: str) -> bool:
    return any(event.startswith(beginning) for event in system.events_of(child))


async def test_services_that_bring_the_schema_up_to_date_at_the_same_moment_all_run(
    blank_postgres_dsn: str, system: System
) -> None:
    bringing = {"SAGA_POSTGRES_DSN": blank_postgres_dsn, "SAGA_MIGRATE_AT_START": "true"}
    services = [system.begin_service(**bringing) for _ in range(3)]
    for service in services:
        await system.ready(service)
    health = await system.command("health", "--ready", **bringing)
    assert (health.exit_code, health.out.count("ok: service ")) == (0, 3)
