"""`health` over the processes of this machine: it asks no server, and names what stands still."""

from __future__ import annotations

from pathlib import Path

import pytest

from saga_service.base import health_file
from saga_service.base.health_file import Identity, kept_health_file
from saga_service.base.liveness import Liveness, LoopLiveness
from tests.support.command_line import run_aside

SERVICE = Identity("service", "host-7-ab", (), standstill_s=60.0)
WORKER = Identity("worker", "host-8-cd", ("fleet", "planning"), standstill_s=60.0)


@pytest.fixture(autouse=True)
def directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAGA_HEALTH_DIR", str(tmp_path / "health"))
    # No server answers here, and none is needed.
    monkeypatch.setenv("SAGA_POSTGRES_DSN", "postgresql://127.0.0.1:1/saga")
    monkeypatch.setenv("SAGA_REDIS_URL", "redis://127.0.0.1:1/0")
    return tmp_path / "health"


def standing_still(name: str) -> Liveness:
    liveness = Liveness()
    liveness.loops.append(LoopLiveness(name, moved_at_s=-100.0))
    return liveness


async def test_a_process_that_goes_on_is_healthy_without_any_server(directory: Path) -> None:
    async with kept_health_file(directory, WORKER, Liveness()):
        ran = await run_aside("health")
    assert (ran.exit_code, ran.err) == (0, "")
    assert ran.out.startswith("ok: worker of fleet, planning host-8-cd (pid ")


async def test_where_nothing_runs_health_says_what_to_start(directory: Path) -> None:
    ran = await run_aside("health")
    assert (ran.exit_code, ran.out) == (1, "")
    assert ran.err.startswith("saga-service: no service and no worker is running here: nothing in ")
    assert "start one (saga-service run, saga-service worker)" in ran.err


async def test_a_loop_that_stands_still_is_named(directory: Path) -> None:
    async with kept_health_file(directory, SERVICE, standing_still("timers")):
        ran = await run_aside("health")
    assert (ran.exit_code, ran.out) == (1, "")
    assert len(ran.err.splitlines()) == 1
    assert ran.err.startswith("saga-service: the loop 'timers' of service host-7-ab (pid ")
    assert "has stood still for" in ran.err


async def test_a_blocked_event_loop_is_found_by_its_old_file(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class LongAgo:
        monotonic = staticmethod(lambda: -1_000.0)

    monkeypatch.setattr(health_file, "time", LongAgo)
    async with kept_health_file(directory, SERVICE, Liveness(), period_s=3_600):
        ran = await run_aside("health")
    assert ran.exit_code == 1
    assert ran.err.startswith("saga-service: the event loop of service host-7-ab (pid ")


@pytest.mark.parametrize(
    ("name", "exit_code"), [("worker", 0), ("planning", 0), ("host-8-cd", 0), ("service", 1), (None, 1), ("other", 1)]
)
async def test_one_of_several_processes_can_be_named(directory: Path, name: str | None, exit_code: int) -> None:
    async with (
        kept_health_file(directory, SERVICE, standing_still("timers")),
        kept_health_file(directory, WORKER, Liveness()),
    ):
        ran = await run_aside("health", *(["--name", name] if name else []))
    assert ran.exit_code == exit_code
    if name == "other":
        assert "no process 'other' is running here, but: service host-7-ab" in ran.err


async def test_a_process_that_waits_for_a_server_is_alive_and_not_ready(directory: Path) -> None:
    liveness = Liveness()
    liveness.awaited["fleet"] = "worker 'fleet' waits for its inbox"
    async with kept_health_file(directory, WORKER, liveness):
        alive, ready = await run_aside("health"), await run_aside("health", "--ready")
    assert alive.exit_code == 0
    assert ready.exit_code == 1
    assert ready.err.endswith("is not ready: worker 'fleet' waits for its inbox\n")


async def test_readiness_asks_the_servers(directory: Path) -> None:
    async with kept_health_file(directory, WORKER, Liveness()):
        ran = await run_aside("health", "--ready")
    assert ran.exit_code == 3
    assert "Redis at redis://127.0.0.1:1/0 cannot be reached" in ran.err


async def test_the_directory_may_be_set_in_a_file_too(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SAGA_HEALTH_DIR")
    (tmp_path / ".env").write_text(f"SAGA_HEALTH_DIR={directory}\n")
    async with kept_health_file(directory, SERVICE, Liveness()):
        assert (await run_aside("health")).exit_code == 0
