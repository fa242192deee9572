"""`saga.processes`: who is alive, who has stopped, who was lost, and for how long that is remembered."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from saga_service.store.process_registry import PostgresProcesses
from saga_service.wire.process_report import ProcessReport

SERVICE = ProcessReport(kind="service", name="s-1", definitions={"order": "v1"}, slots=2)
WORKER = ProcessReport(kind="worker", name="w-1", services=[{"service": "payment", "handlers": []}], slots=64)


async def statuses(pool: asyncpg.Pool) -> dict[str, str]:
    return {row["name"]: row["status"] for row in await pool.fetch("select name, status from saga.processes")}


async def test_a_process_that_says_so_is_alive_with_all_that_it_says(pool: asyncpg.Pool) -> None:
    await PostgresProcesses(pool).record([(SERVICE, 0), (WORKER, 2_000)])

    assert await statuses(pool) == {"s-1": "alive", "w-1": "alive"}
    row = await pool.fetchrow("select * from saga.processes where name = 'w-1'")
    assert row is not None
    assert (row["kind"], row["slots"], row["started_at"]) == ("worker", 64, None)
    assert '"payment"' in row["services"]


@pytest.mark.parametrize(
    ("report", "age_ms", "status"),
    [
        pytest.param(WORKER, 60_000, "lost", id="nothing for a minute"),
        pytest.param(ProcessReport(kind="worker", name="w-1", has_stopped=True), 0, "stopped", id="ended well"),
    ],
)
async def test_a_process_that_is_gone_is_told_from_one_that_ended(
    pool: asyncpg.Pool, report: ProcessReport, age_ms: int, status: str
) -> None:
    await PostgresProcesses(pool).record([(report, age_ms)])
    assert await statuses(pool) == {"w-1": status}


async def test_the_latest_report_counts_whoever_copies_it(pool: asyncpg.Pool) -> None:
    rows = PostgresProcesses(pool)
    await rows.record([(ProcessReport(kind="worker", name="w-1", in_flight=5), 0)])
    await rows.record([(ProcessReport(kind="worker", name="w-1", in_flight=1), 9_000)])
    assert await pool.fetchval("select in_flight from saga.processes") == 5

    await rows.record([(ProcessReport(kind="worker", name="w-1", has_stopped=True), 0)])
    assert await statuses(pool) == {"w-1": "stopped"}


async def test_the_dead_are_forgotten_after_a_day(pool: asyncpg.Pool) -> None:
    rows = PostgresProcesses(pool)
    await rows.record([(WORKER, 86_300_000), (ProcessReport(kind="worker", name="older"), 86_500_000)])
    await rows.record([(SERVICE, 0)])
    assert await statuses(pool) == {"s-1": "alive", "w-1": "lost"}


async def test_replicas_record_the_same_workers_at_once(pool: asyncpg.Pool) -> None:
    reports = [(ProcessReport(kind="worker", name=f"w-{number}"), 86_500_000) for number in range(50)]
    await asyncio.gather(*(PostgresProcesses(pool).record(reports) for _ in range(4)))
    await asyncio.gather(*(PostgresProcesses(pool).record([(SERVICE, 0)]) for _ in range(4)))
    assert await statuses(pool) == {"s-1": "alive"}


async def test_whoever_reads_the_contract_reads_who_is_alive(pool: asyncpg.Pool) -> None:
    await PostgresProcesses(pool).record([(SERVICE, 0)])
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("set local role saga_reader")
        assert await connection.fetchval("select count(*) from saga.processes") == 1
