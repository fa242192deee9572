"""`health` of workers that run: alive while Redis is away, and ready without a Postgres of the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from saga_service.base.health_report import ProcessHealth, read_health_reports
from saga_service.base.lifecycle import cancel
from saga_service.worker import PostgresInbox, StepContext, Worker, WorkerOptions, run_workers, runner
from tests.support.command_line import run_aside
from tests.support.waiting import eventually

NOBODY = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAGA_HEALTH_DIR", str(tmp_path / "health"))
    monkeypatch.setenv("SAGA_POSTGRES_DSN", "postgresql://127.0.0.1:1/saga")
    return str(tmp_path / "health")


@asynccontextmanager
async def working(redis_url: str, directory: str, inbox: PostgresInbox | None = None) -> AsyncIterator[None]:
    worker = Worker("payment", inbox=inbox)

    @worker.handler("payment.charge")
    async def charge(data: dict[str, object], context: StepContext) -> None:
        return

    options = WorkerOptions(redis_url=redis_url, health_dir=directory, read_block_ms=100)
    stop = asyncio.Event()
    task = asyncio.create_task(run_workers([worker], options, stop=stop))
    try:
        yield
    finally:
        stop.set()
        _, left = await asyncio.wait([task], timeout=10)
        await cancel(left)


def _reads(process: ProcessHealth) -> bool:
    return "reading saga:commands:payment" in [loop.name for loop in process.loops]


async def test_a_worker_without_a_postgres_is_ready(
    redis_url: str, directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGA_REDIS_URL", redis_url)
    async with working(redis_url, directory):
        await eventually(lambda: any(_reads(each) for each in read_health_reports(Path(directory))))
        alive, ready = await run_aside("health"), await run_aside("health", "--ready")
    assert (alive.exit_code, ready.exit_code) == (0, 0), ready.err
    assert ready.out.startswith("ok: worker of payment ")


async def test_a_worker_whose_redis_is_away_is_alive_and_not_ready(directory: str) -> None:
    async with working(NOBODY, directory):
        await eventually(lambda: any(each.not_ready for each in read_health_reports(Path(directory))))
        alive, ready = await run_aside("health"), await run_aside("health", "--ready")
    assert alive.exit_code == 0
    assert ready.exit_code == 1
    assert ready.err.endswith("is not ready: worker 'payment' waits for Redis\n")


async def test_a_worker_whose_inbox_cannot_be_used_any_more_is_alive_and_not_ready(
    redis_url: str, directory: str, blank_postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGA_REDIS_URL", redis_url)
    monkeypatch.setattr(runner, "INBOX_WATCHED_EVERY_S", 0.05)
    inbox = PostgresInbox(blank_postgres_dsn)
    await inbox.create_tables()
    async with working(redis_url, directory, inbox):
        await eventually(lambda: any(_reads(each) for each in read_health_reports(Path(directory))))
        before = await run_aside("health", "--ready")
        connection = await asyncpg.connect(blank_postgres_dsn)
        await connection.execute("drop schema saga_worker cascade")
        await connection.close()
        await eventually(lambda: any(each.not_ready for each in read_health_reports(Path(directory))))
        alive, ready = await run_aside("health"), await run_aside("health", "--ready")
    assert (before.exit_code, alive.exit_code, ready.exit_code) == (0, 0, 1)
    assert "is not ready: worker 'payment' waits for its inbox: " in ready.err
