"""Health files as processes keep them: one for each, gone with its process, and never in the way."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from structlog.testing import capture_logs

from saga_service.base.health_file import Identity, kept_health_file
from saga_service.base.health_report import read_health_reports
from saga_service.base.liveness import Liveness
from tests.support.waiting import eventually

SERVICE = Identity("service", "host-7-ab", (), standstill_s=60.0)
WORKER = Identity("worker", "host-7-ab", ("fleet", "planning"), standstill_s=60.0)


async def test_a_process_is_found_while_it_lives_and_not_afterwards(tmp_path: Path) -> None:
    async with kept_health_file(tmp_path / "new", SERVICE, Liveness()):
        [found] = read_health_reports(tmp_path / "new")
        assert (found.kind, found.name, found.pid) == ("service", "host-7-ab", os.getpid())
    assert read_health_reports(tmp_path / "new") == []
    assert list((tmp_path / "new").iterdir()) == []


async def test_a_service_and_its_workers_have_a_file_each_in_one_process(tmp_path: Path) -> None:
    async with (
        kept_health_file(tmp_path, SERVICE, Liveness()),
        kept_health_file(tmp_path, WORKER, Liveness()),
        kept_health_file(tmp_path, WORKER, Liveness()),
    ):
        assert [each.kind for each in read_health_reports(tmp_path)] == ["service", "worker", "worker"]


async def test_the_file_follows_the_loops_and_what_the_process_waits_for(tmp_path: Path) -> None:
    liveness = Liveness()
    liveness.awaited["payment"] = "worker 'payment' waits for its inbox"
    async with kept_health_file(tmp_path, SERVICE, liveness, period_s=0.01):
        assert read_health_reports(tmp_path)[0].not_ready == "worker 'payment' waits for its inbox"
        liveness.awaited.clear()
        loop = asyncio.create_task(liveness.watched("timers", asyncio.sleep(3_600)))
        await eventually(lambda: [each.name for each in read_health_reports(tmp_path)[0].loops] == ["timers"])
        assert read_health_reports(tmp_path)[0].not_ready is None
        loop.cancel()
        await asyncio.wait([loop])


async def test_a_file_that_somebody_has_removed_is_made_anew(tmp_path: Path) -> None:
    async with kept_health_file(tmp_path, SERVICE, Liveness(), period_s=0.01):
        os.unlink(tmp_path / os.listdir(tmp_path)[0])
        await eventually(lambda: len(read_health_reports(tmp_path)) == 1)


async def test_a_process_that_cannot_write_says_so_once_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with capture_logs() as logs:
        async with kept_health_file(tmp_path / "file", SERVICE, Liveness(), period_s=0.001):
            await asyncio.sleep(0.02)
    [line] = logs
    assert line["log_level"] == "warning"
    assert "SAGA_HEALTH_DIR names another directory" in line["event"]
