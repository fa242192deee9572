"""The loop that records which processes are alive: with either server away it goes on with what it has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from saga_service.base.lifecycle import Shutdown
from saga_service.engine.failures import StoreBroken, StoreUnavailable
from saga_service.runtime.process_registry import ProcessRegistration
from saga_service.wire.process_report import ProcessReport
from saga_service.wire.transport import StreamRefused, TransportUnavailable
from tests.support.fakes import Faults

OWN = ProcessReport(kind="service", name="me", slots=2)


@dataclass
class Received:
    report: ProcessReport
    age_ms: int


class Workers:
    def __init__(self) -> None:
        self.faults = Faults()
        self.alive = ["w-1"]

    async def names(self) -> list[str]:
        self.faults.strike()
        return self.alive

    async def reports(self) -> list[Received]:
        self.faults.strike()
        return [Received(ProcessReport(kind="worker", name=name), 700) for name in self.alive]

    async def clock_ahead_ms(self) -> int | None:
        return -40


class Rows:
    def __init__(self) -> None:
        self.faults = Faults()
        self.recorded: list[list[tuple[ProcessReport, int]]] = []

    async def record(self, reports: Sequence[tuple[ProcessReport, int]]) -> None:
        self.faults.strike()
        self.recorded.append(list(reports))


class Registration:
    def __init__(self, period_s: float = 0.001) -> None:
        self.workers, self.rows, self.shutdown = Workers(), Rows(), Shutdown()
        self.loop = ProcessRegistration(
            OWN, [], self.workers, self.rows, period_s=period_s, shutdown=self.shutdown, look_period_s=0.001
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.loop.run())
        try:
            async with asyncio.timeout(10):
                yield
        finally:
            self.shutdown.request()
            await task


async def test_this_replica_and_all_workers_are_recorded_at_once() -> None:
    registration = Registration()
    async with registration.running():
        await registration.loop.reported.times(1)
    [(own, own_age_ms), (worker, worker_age_ms)] = registration.rows.recorded[0]
    assert (own.name, own.clock_ahead_ms, own.in_flight, own_age_ms) == ("me", -40, 0, 0)
    assert (worker.name, worker_age_ms) == ("w-1", 700)


async def test_a_worker_that_appears_is_recorded_long_before_the_period_is_over() -> None:
    registration = Registration(period_s=3600)
    async with registration.running():
        await registration.loop.reported.times(1)
        registration.workers.alive = ["w-1", "w-2"]
        await registration.loop.reported.times(2)
    assert [report.name for report, _ in registration.rows.recorded[1]] == ["me", "w-1", "w-2"]


async def test_while_nobody_appears_nothing_is_recorded_before_the_period_is_over() -> None:
    registration = Registration(period_s=3600)
    async with registration.running():
        await registration.loop.looked.times(3)
        registration.workers.alive = []
        await registration.loop.looked.times(6)
        assert registration.loop.reported.count == 1


async def test_a_replica_that_ends_in_good_order_says_so() -> None:
    registration = Registration()
    async with registration.running():
        await registration.loop.reported.times(1)
    [(last, _)] = registration.rows.recorded[-1]
    assert (last.name, last.has_stopped) == ("me", True)


@pytest.mark.parametrize("fault", [TransportUnavailable("away"), StreamRefused("NOPERM")])
async def test_with_redis_away_this_replica_is_recorded_and_the_log_says_so_once(fault: Exception) -> None:
    registration = Registration()
    registration.workers.faults.lasting = fault
    with capture_logs() as logs:
        async with registration.running():
            await registration.loop.reported.times(3)
    assert [report.name for report, _ in registration.rows.recorded[0]] == ["me"]
    assert [line["event"] for line in logs] == ["the reports of workers cannot be read; saga.processes lacks them"]


@pytest.mark.parametrize("fault", [StoreUnavailable("gone"), StoreBroken("no such table"), ValueError("a bug")])
async def test_with_postgres_away_nothing_ends(fault: Exception) -> None:
    registration = Registration()
    registration.rows.faults.then(fault, fault)
    async with registration.running():
        await registration.loop.reported.times(3)
    assert registration.rows.recorded
