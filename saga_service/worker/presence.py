"""The presence of a run of workers: what it says of itself, in a file on its machine and in a report in Redis.

The report is made now and then, on a connection of its own, and nothing that handlers do waits for it. A worker whose
Redis user may not write it works on, and says once what is missing.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cached_property

import structlog

from saga_service.base.health_file import Identity, kept_health_file
from saga_service.base.lifecycle import cancel
from saga_service.base.liveness import Liveness, waiting
from saga_service.streams.connection import connect
from saga_service.streams.process_registry import ProcessRegistry, own_report
from saga_service.wire.process_report import ProcessReport
from saga_service.wire.transport import StreamNames, StreamRefused, TransportError
from saga_service.worker.description import describe
from saga_service.worker.dispatcher import Dispatcher
from saga_service.worker.options import WorkerOptions
from saga_service.worker.worker import Worker

log = structlog.get_logger(__name__)
REPORT_PERIOD_S = 10.0
RETRY_S = 1.0
"""How long after an outage of Redis was met the report is tried again."""
LAST_REPORT_S_MAX = 1.0
STANDSTILL_S = 60.0
"""How long a loop may be at work without a move, beyond the longest read. Redis answers in 5 s or is away."""


class Presence:
    """One run of workers. Each of them adds its dispatcher, and has its loops watched."""

    def __init__(self, workers: Sequence[Worker], options: WorkerOptions, liveness: Liveness | None = None) -> None:
        self.liveness = liveness or Liveness()
        self.dispatchers: list[Dispatcher] = []
        self._options = options
        self._workers = workers
        self._names = StreamNames(options.stream_prefix)
        self._counted = 0
        self._counted_at_s = time.monotonic()
        self._is_refused = False

    @asynccontextmanager
    async def shown(self, period_s: float = REPORT_PERIOD_S) -> AsyncIterator[None]:
        """Keep the file and the report until the block ends; the last report says that this run has stopped."""
        options = self._options
        services = [worker.service for worker in self._workers]
        identity = Identity("worker", options.consumer_name, services, STANDSTILL_S + options.read_block_ms / 1000)
        async with kept_health_file(options.health_dir, identity, self.liveness):
            client = connect(options.redis_url, connections_max=1)
            registry = ProcessRegistry(client, self._names)
            reporting = asyncio.create_task(
                self.liveness.watched("reports of this process", self._report_on(registry, period_s))
            )
            try:
                yield
                await cancel([reporting])
                await self._report_last(registry)
            finally:
                await cancel([reporting])
                await client.aclose()

    async def _report_on(self, registry: ProcessRegistry, period_s: float) -> None:
        while True:
            pause_s = period_s * random.uniform(0.75, 1.0)
            try:
                await registry.report(self._now())
                self._is_refused = False
            except TransportError as error:
                self._tell(error)
                if not isinstance(error, StreamRefused):
                    pause_s = min(pause_s, RETRY_S)
            with waiting():
                await asyncio.sleep(pause_s)

    async def _report_last(self, registry: ProcessRegistry) -> None:
        try:
            async with asyncio.timeout(LAST_REPORT_S_MAX):
                await registry.report(replace(self._at_rest, in_flight=0, handled_per_s=0.0, has_stopped=True))
        except (TransportError, TimeoutError) as error:
            log.debug("the last report could not be made", error=str(error))

    def _tell(self, error: TransportError) -> None:
        if isinstance(error, StreamRefused) and not self._is_refused:
            self._is_refused = True
            log.warning(
                "this process cannot report to redis, so saga.processes and doctor do not know it; its work goes on",
                error=str(error),
                rights_needed="+time +set +zadd +zremrangebyscore on the stream prefix",
            )
        else:
            # An outage is told by the loops that work.
            log.debug("the report of this process could not be made", error=str(error))

    @cached_property
    def _at_rest(self) -> ProcessReport:
        return own_report(
            "worker",
            self._options.consumer_name,
            reads=[(self._names.commands(worker.service), worker.group) for worker in self._workers],
            services=[describe(worker).to_json() for worker in self._workers],
            slots=sum(self._options.concurrency or worker.concurrency for worker in self._workers),
        )

    def _now(self) -> ProcessReport:
        handled, now_s = sum(dispatcher.handled for dispatcher in self.dispatchers), time.monotonic()
        rate = (handled - self._counted) / max(now_s - self._counted_at_s, 0.001)
        self._counted, self._counted_at_s = handled, now_s
        return replace(
            self._at_rest,
            in_flight=sum(dispatcher.in_flight for dispatcher in self.dispatchers),
            handled_per_s=round(rate, 1),
        )
