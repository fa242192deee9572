"""The registry of processes, in Postgres: this replica's own report, and copies of those that workers leave in Redis.

Every replica copies all, so that none has a duty that others rest on. Nothing that sagas need waits for it: with Redis
away this replica still says that it is alive, and with Postgres away nothing is said.

Reports are copied once in a period, and at once when a worker has appeared: each second the names in Redis are compared
with those of the second before. So nobody who has just started a worker is told that there is none.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from saga_service.base.lifecycle import Milestone, Shutdown
from saga_service.engine.failures import StoreUnavailable
from saga_service.runtime.lane import Lane
from saga_service.wire.process_report import ProcessReport
from saga_service.wire.transport import TransportError

log = structlog.get_logger(__name__)
LOOK_PERIOD_S = 1.0
LAST_REPORT_S_MAX = 0.5
"""A stop must not wait for a Postgres that is away."""


class Received(Protocol):
    """A report with its age."""

    @property
    def report(self) -> ProcessReport: ...

    @property
    def age_ms(self) -> int: ...


class WorkerReports(Protocol):
    """The reports of workers. All methods raise TransportError."""

    async def names(self) -> Collection[str]:
        """The names of those that have reported within the last minute."""
        ...

    async def reports(self) -> Sequence[Received]:
        """Reports of the last minute."""
        ...

    async def clock_ahead_ms(self) -> int | None:
        """How far this machine's clock is ahead of the workers' common one; None where that is not known."""
        ...


class ProcessRows(Protocol):
    """Where the reports go."""

    async def record(self, reports: Sequence[tuple[ProcessReport, int]]) -> None:
        """Keep each report, with its age in milliseconds, in place of an older one. Raises StoreUnavailable."""
        ...


class ProcessRegistration:
    """A loop that reports once in a period, when a worker has appeared, and once more when it ends.

    `own` is this replica at rest.
    """

    def __init__(
        self,
        own: ProcessReport,
        lanes: Sequence[Lane],
        workers: WorkerReports,
        rows: ProcessRows,
        *,
        period_s: float,
        shutdown: Shutdown,
        look_period_s: float = LOOK_PERIOD_S,
    ) -> None:
        self.name = "registration of processes"
        self.started = Milestone()
        self.looked = Milestone()
        self.reported = Milestone()
        self._own = own
        self._lanes = lanes
        self._workers = workers
        self._rows = rows
        self._period_s = period_s
        self._look_period_s = look_period_s
        self._shutdown = shutdown
        self._names: frozenset[str] = frozenset()
        self._counted = 0
        self._counted_at_s = time.monotonic()
        self._is_refused = False

    async def run(self) -> None:
        self.started.reached()
        while not self._shutdown:
            # Before the report, so that whoever appears meanwhile is found by the next look.
            await self._somebody_has_appeared()
            await self._report()
            await self._pause()
        if self.reported.count:
            await self._report_last()

    async def _pause(self) -> None:
        """Wait until the period is over, or somebody has appeared of whom nothing is recorded yet."""
        ends_at_s = time.monotonic() + self._period_s * random.uniform(0.75, 1.0)
        while (left_s := ends_at_s - time.monotonic()) > 0:
            await self._shutdown.pause(min(self._look_period_s, left_s))
            if self._shutdown or await self._somebody_has_appeared():
                return

    async def _somebody_has_appeared(self) -> bool:
        """True if a name has reported that had not at the last look."""
        try:
            found = frozenset(await self._workers.names())
        except TransportError:
            # The next report says so.
            return False
        known, self._names = self._names, found
        self.looked.reached()
        return not found <= known

    async def _report(self) -> None:
        workers, clock_ahead_ms = await self._workers_in_redis()
        own = replace(
            self._own,
            in_flight=sum(lane.is_busy for lane in self._lanes),
            handled_per_s=self._handled_per_s(),
            clock_ahead_ms=clock_ahead_ms,
        )
        await self._record([(own, 0), *((each.report, each.age_ms) for each in workers)])
        self.reported.reached()

    async def _report_last(self) -> None:
        try:
            async with asyncio.timeout(LAST_REPORT_S_MAX):
                await self._record([(replace(self._own, in_flight=0, has_stopped=True), 0)])
        except TimeoutError:
            log.debug("the last report could not be made in time")

    async def _workers_in_redis(self) -> tuple[Sequence[Received], int | None]:
        try:
            found = await self._workers.reports(), await self._workers.clock_ahead_ms()
        except TransportError as error:
            if not self._is_refused:
                log.warning("the reports of workers cannot be read; saga.processes lacks them", error=str(error))
            self._is_refused = True
            return (), None
        self._is_refused = False
        return found

    async def _record(self, reports: Sequence[tuple[ProcessReport, int]]) -> None:
        try:
            await self._rows.record(reports)
        except StoreUnavailable as error:
            log.debug("processes are not recorded now", error=str(error))
        except Exception as error:
            # The sagas must not end for want of a list.
            log.error("processes cannot be recorded; saga.processes grows old", error=str(error), exc_info=True)

    def _handled_per_s(self) -> float:
        counted, now_s = sum(lane.handled for lane in self._lanes), time.monotonic()
        rate = (counted - self._counted) / max(now_s - self._counted_at_s, 0.001)
        self._counted, self._counted_at_s = counted, now_s
        return round(rate, 1)
