"""Gauges of the state: what Postgres and Redis have, read by one query and two round trips at most every few seconds.

However many scrapers ask, one reading is under way at a time, and its result is kept. A reading that takes long is kept
for longer: it takes a twentieth of the time at most. While a server does not answer in time its gauges are absent, for
an old number would look like a present one, and `saga_state_errors_total` counts that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import structlog

from saga_service.metrics import declarations
from saga_service.metrics.declarations import DECLARED, Metric, Scope
from saga_service.metrics.measurements import Labels, Measurements, ReadGauge
from saga_service.streams.backlog import Backlog

log = structlog.get_logger(__name__)
KEPT_S = 4.0
"""How long a reading counts as new: less than any scrape interval that makes sense."""
PART_OF_TIME_MAX = 1 / 20
STATEMENT_S_MAX = 2.0
"""How long Postgres may take for the query, before it is told to stop."""
ANSWER_S_MAX = 3.0
"""How long a server may take in all, the wait for a connection included."""
POSTGRES, REDIS = "postgres", "redis"

StateRow = tuple[str, Sequence[str], float | None]
"""A row of `saga.state_metrics`: the metric's name, its labels, its value."""
ReadState = Callable[[], Awaitable[Iterable[StateRow]]]
ReadBacklog = Callable[[Sequence[str]], Awaitable[Backlog]]

STREAM = "stream"
"""Rows of this name have the streams to look at."""
_BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in DECLARED if metric.scope is Scope.DEPLOYMENT}
_OF_REDIS = (
    declarations.STREAM_ENTRIES,
    declarations.GROUP_LAG,
    declarations.GROUP_PENDING,
    declarations.OLDEST_UNREAD,
    declarations.OLDEST_PENDING,
)

Answer = TypeVar("Answer")
Values = dict[Metric, list[tuple[Labels, float]]]


class StateGauges:
    """`read_state` and `read_backlog` ask the servers; both may raise anything. `streams` are looked at in any case."""

    def __init__(
        self,
        measurements: Measurements,
        read_state: ReadState,
        read_backlog: ReadBacklog,
        streams: Iterable[str],
        elapsed_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read_state = read_state
        self._read_backlog = read_backlog
        self._streams = set(streams)
        self._elapsed_s = elapsed_s
        self._values: Values = {}
        self._kept_until_s = 0.0
        self._took_s = 0.0
        self._reading: asyncio.Task[None] | None = None
        self._errors = measurements.counter(declarations.STATE_ERRORS)
        self._errors.update({(POSTGRES,): 0, (REDIS,): 0})
        measurements.gauge(declarations.STATE_SECONDS, lambda: self._took_s)
        for metric in _BY_NAME.values():
            measurements.labelled_gauge(metric, self._reader(metric))

    async def refresh(self) -> None:
        """Read the state, unless it was read a moment ago. Raises nothing, and takes a few seconds at most."""
        if self._elapsed_s() < self._kept_until_s:
            return
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        # Whoever asked may go away: the others still wait for it.
        await asyncio.shield(self._reading)

    async def stop(self) -> None:
        """Wait until no reading is under way."""
        if self._reading is not None:
            await asyncio.wait([self._reading])

    async def _read(self) -> None:
        began_s = self._elapsed_s()
        values: Values = {}
        rows = await self._attempt(POSTGRES, self._read_state)
        self._took_s = self._elapsed_s() - began_s
        streams = set(self._streams)
        for name, labels, value in rows or ():
            if name == STREAM:
                streams.update(labels)
            elif value is not None:
                values.setdefault(_BY_NAME[name], []).append((tuple(labels), value))
        backlog = await self._attempt(REDIS, lambda: self._read_backlog(sorted(streams)))
        if backlog is not None:
            values |= _of(backlog)
        self._values = values
        now_s = self._elapsed_s()
        self._kept_until_s = now_s + max(KEPT_S, (now_s - began_s) / PART_OF_TIME_MAX)

    async def _attempt(self, source: str, read: Callable[[], Awaitable[Answer]]) -> Answer | None:
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                return await read()
        except Exception as error:  # noqa: BLE001 - counted, and no reason to lose the other metrics
            self._errors[(source,)] += 1
            log.debug("the state cannot be read for metrics", source=source, error=str(error) or repr(error))
            return None

    def _reader(self, metric: Metric) -> ReadGauge:
        return lambda: self._values.get(metric, ())


def _of(backlog: Backlog) -> Values:
    values: Values = {metric: [] for metric in _OF_REDIS}
    values[declarations.STREAM_ENTRIES] = [((stream,), entries) for stream, entries in backlog.entries.items()]
    for group in backlog.groups:
        found = (
            (declarations.GROUP_LAG, group.unread),
            (declarations.GROUP_PENDING, group.pending),
            (declarations.OLDEST_UNREAD, _seconds(group.oldest_unread_ms)),
            (declarations.OLDEST_PENDING, _seconds(group.oldest_pending_ms)),
        )
        for metric, value in found:
            if value is not None:
                values[metric].append(((group.stream, group.group), value))
    return values


def _seconds(moment_ms: int | None) -> float | None:
    return None if moment_ms is None else moment_ms / 1000
