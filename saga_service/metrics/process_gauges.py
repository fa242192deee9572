"""What a process is and how busy it is: its versions, its event loop, and the service's lanes and pool."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version

import asyncpg

from saga_service.base.lifecycle import cancel
from saga_service.metrics import declarations
from saga_service.metrics.measurements import Measurements
from saga_service.runtime.intake import Intake
from saga_service.runtime.lane import Lane
from saga_service.store.pool import waiting_for_connection

LOOKED_EVERY_S = 0.5


def add_build_info(measurements: Measurements) -> None:
    """Export the versions that this process runs."""
    labels = (version("saga-service"), platform.python_version())
    measurements.labelled_gauge(declarations.BUILD_INFO, lambda: [(labels, 1)])


@asynccontextmanager
async def measured_loop_delay(measurements: Measurements) -> AsyncIterator[None]:
    """Measure how late the event loop is, until the block ends."""
    delay = measurements.histogram(declarations.LOOP_DELAY)

    async def look_on() -> None:
        while True:
            due_s = time.monotonic() + LOOKED_EVERY_S
            await asyncio.sleep(LOOKED_EVERY_S)
            delay.observe((), time.monotonic() - due_s)

    looking = asyncio.create_task(look_on())
    try:
        yield
    finally:
        await cancel([looking])


def add_service_gauges(measurements: Measurements, pool: asyncpg.Pool, intake: Intake, lanes: Sequence[Lane]) -> None:
    """Export how busy the service's lanes, its intake and its pool are."""
    gauge = measurements.gauge
    gauge(declarations.LANES, lambda: len(lanes))
    gauge(declarations.LANES_BUSY, lambda: sum(lane.is_busy for lane in lanes))
    gauge(declarations.INTAKE, lambda: intake.waiting)
    measurements.labelled_gauge(declarations.POOL, lambda: _connections(pool))
    gauge(declarations.POOL_LIMIT, pool.get_max_size)
    gauge(declarations.POOL_WAITING, lambda: waiting_for_connection(pool))


def _connections(pool: asyncpg.Pool) -> list[tuple[tuple[str], float]]:
    idle = pool.get_idle_size()
    return [(("idle",), idle), (("busy",), pool.get_size() - idle)]
