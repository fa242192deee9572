"""The page at `/metrics` of one process, which is written once a second at most."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from saga_service.http.server_pools import ServerPools
from saga_service.metrics.exposition import Exposition
from saga_service.metrics.measurements import Measurements
from saga_service.metrics.process_gauges import add_build_info, measured_loop_delay
from saga_service.metrics.state_gauges import STATEMENT_S_MAX, StateGauges, StateRow
from saga_service.store import queries
from saga_service.streams.backlog import Backlog, backlog_of

KEPT_S = 1.0


class MetricsPage:
    """Writes the page. `state` has the gauges of the deployment; None for a process that has none."""

    def __init__(self, measurements: Measurements, state: StateGauges | None) -> None:
        self._exposition = Exposition(measurements)
        self._state = state
        self._pages: dict[str, tuple[float, tuple[bytes, str]]] = {}

    async def page(self, accept: str) -> tuple[bytes, str]:
        """The page in the format that the header asks for, and its media type."""
        if self._state is not None:
            await self._state.refresh()
        kept_until_s, page = self._pages.get(accept, (0.0, (b"", "")))
        if (now_s := time.monotonic()) < kept_until_s:
            return page
        page = self._exposition.page(accept)
        # One format is asked for again and again; whoever sends ever other headers is no scraper.
        self._pages = {accept: (now_s + KEPT_S, page)}
        return page


@asynccontextmanager
async def metrics_page(
    measurements: Measurements, servers: ServerPools | None, streams: Iterable[str] = ()
) -> AsyncIterator[MetricsPage]:
    """A page that can be asked for until the block ends. Without `servers` it has the process's own numbers alone."""
    add_build_info(measurements)
    async with measured_loop_delay(measurements):
        if servers is None:
            yield MetricsPage(measurements, None)
            return
        state = state_gauges(measurements, servers, streams)
        try:
            yield MetricsPage(measurements, state)
        finally:
            await state.stop()


def state_gauges(measurements: Measurements, servers: ServerPools, streams: Iterable[str]) -> StateGauges:
    """The gauges of a deployment, read by these connections."""

    async def read_state() -> list[StateRow]:
        async with servers.postgres() as connection:
            # Postgres itself ends the statement, or it would go on for nobody.
            rows = await connection.fetch(queries.STATE_METRICS, timeout=STATEMENT_S_MAX)
        return [(row["metric"], row["labels"], row["value"]) for row in rows]

    async def read_backlog(names: Sequence[str]) -> Backlog:
        async with servers.redis() as client:
            return await backlog_of(client, names)

    return StateGauges(measurements, read_state, read_backlog, streams)
