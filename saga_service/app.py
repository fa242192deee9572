"""The one composition root: settings in, a running service out. Only here do the parts meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property, partial

import asyncpg
import structlog

from saga_service.admin.letter_replay import job_letters
from saga_service.base.clock import now_ms
from saga_service.base.health_file import Identity, kept_health_file
from saga_service.base.lifecycle import Loop, Shutdown, limited_after, shutdown_on, stop_on_signals
from saga_service.base.liveness import Liveness
from saga_service.definitions import Catalog, definition_from_document, readable_saga_spec
from saga_service.encryption import Cipher
from saga_service.engine.batch import BatchDecoder
from saga_service.engine.decode import Decoder
from saga_service.engine.deferral import DeferralPolicy
from saga_service.engine.engine import Engine
from saga_service.engine.outbox import OutboxRows, Outgoing
from saga_service.engine.saga_loader import SagaCache, SagaLoader
from saga_service.http.companion import http_beside
from saga_service.http.watched_process import WatchedProcess
from saga_service.metrics.engine_metrics import EngineMetrics, LaneMetrics
from saga_service.metrics.measurements import Measurements
from saga_service.metrics.process_gauges import add_service_gauges
from saga_service.metrics.worker_metrics import worker_metrics
from saga_service.runtime.intake import Inlets, Intake
from saga_service.runtime.job_runner import OPEN_MAX, JobRunner
from saga_service.runtime.lane import Lane
from saga_service.runtime.maintenance import Maintenance, Retention, Task
from saga_service.runtime.process_registry import ProcessRegistration
from saga_service.runtime.recovery import Recovery
from saga_service.runtime.relay import Relay
from saga_service.runtime.request_poller import RequestPoller
from saga_service.runtime.service import Service
from saga_service.runtime.timers import Timers
from saga_service.settings import Settings
from saga_service.startup import (
    StartupStopped,
    configured_catalog,
    configured_cipher,
    opened_pool,
    register_deployment,
    wait_for_servers,
    with_postgres,
)
from saga_service.store.jobs import PostgresJobs
from saga_service.store.postgres_store import PostgresDefinitionRegistry, PostgresStore
from saga_service.store.process_registry import PostgresProcesses
from saga_service.store.retention import PostgresRemoval
from saga_service.streams.connection import RedisClient, connected
from saga_service.streams.consumer import Consumer
from saga_service.streams.consumer_loop import ConsumerLoop, Pace
from saga_service.streams.process_registry import ProcessRegistry, own_report
from saga_service.streams.publisher import RedisPublisher
from saga_service.streams.sight import StreamSight, UnhandledStarts, watched_streams
from saga_service.streams.trimming import StreamTrimmer
from saga_service.wire.transport import StreamNames
from saga_service.worker import load_worker, run_workers
from saga_service.worker.options import worker_options

log = structlog.get_logger(__name__)
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
UPKEEP_PERIOD_S = 15.0
"""How often a replica says which definitions it has. Those of which none has said so for a minute count as replaced."""
PROCESSES_PERIOD_S = 10.0
STANDSTILL_S = 60.0
LAST_READ_MS = 500
"""How long a read may go on at a stop. A busy stream answers well within it, so that nothing is left to hand back."""


async def run_service(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT, and then until what was taken in is done; a second signal ends it at once.

    Raises StartupRefused, DefinitionErrors or WorkerNotLoaded before anything runs; ExceptionGroup where a loop failed
    in a way that it has no answer for.
    """
    async with stop_on_signals() as stop:
        await serve(settings, stop)


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run until `stop` is set, and then until what was taken in is done. Raises as `run_service` does."""
    process = WatchedProcess(stop, _standstill_s(settings))
    identity = Identity("service", settings.consumer_name, (), process.standstill_s)
    async with (
        kept_health_file(settings.health_dir, identity, process.service),
        http_beside(settings, process, may_have_api=True) as measurements,
    ):
        try:
            await _serve(settings, process, measurements)
        except StartupStopped:
            log.info("stopped before the servers answered")


def _standstill_s(settings: Settings) -> float:
    """How long a loop may be at work without a move: a wait for a connection and a statement, or the longest read."""
    return (2 * settings.postgres_timeout_ms + settings.read_block_ms) / 1000 + STANDSTILL_S


async def _serve(settings: Settings, process: WatchedProcess, measurements: Measurements | None) -> None:
    stop, liveness = process.stop, process.service
    catalog, cipher = configured_catalog(settings), configured_cipher(settings)
    workers = [load_worker(target) for target in settings.workers]
    liveness.awaited["servers"] = "it waits for Postgres and Redis, or has just begun"
    await wait_for_servers(settings, stop)
    async with (
        shutdown_on(stop) as shutdown,
        _deployment(settings, catalog, cipher, shutdown, measurements) as deployment,
    ):
        log.info(
            "saga_service runs",
            consumer=settings.consumer_name,
            sagas=[definition.name for definition in catalog.definitions()],
            streams=[consumer.stream for consumer in deployment.consumers],
            workers=[worker.service for worker in workers],
        )
        await deployment.recovery.find_losses()
        liveness.awaited.clear()
        async with limited_after(shutdown, settings.shutdown_grace_ms / 1000), asyncio.TaskGroup() as group:
            group.create_task(deployment.service(liveness).run())
            if workers:
                options, observer_of = worker_options(settings), worker_metrics(measurements)
                group.create_task(
                    run_workers(workers, options, stop=stop, liveness=process.workers, observer_of=observer_of)
                )
    log.info("saga_service has stopped")


@dataclass(frozen=True)
class Deployment:
    """One replica as it is configured and connected. Its methods make the parts of the service and wire them.

    `consumers` are the streams that are read: the replies first, then events, dead letters, and the streams of others.
    """

    settings: Settings
    catalog: Catalog
    names: StreamNames
    cipher: Cipher | None
    pool: asyncpg.Pool
    client: RedisClient
    consumers: tuple[Consumer, ...]
    shutdown: Shutdown
    measurements: Measurements | None = None

    def service(self, liveness: Liveness) -> Service:
        """All loops, ready to run."""
        lanes = self.lanes()
        if self.measurements is not None:
            add_service_gauges(self.measurements, self.pool, self.intake, lanes)
        upkeep = (self.maintenance(), self.upkeep(), self.job_runner(), self.process_registration(lanes))
        return Service(
            intake=self.intake,
            feeders=[*self.consumer_loops(), self.timers, self.request_poller(), self.recovery, *upkeep],
            lanes=lanes,
            relay=self.relay(),
            members=self.consumers,
            shutdown=self.shutdown,
            liveness=liveness,
        )

    def engine(self) -> Engine:
        settings, deferral = self.settings, DeferralPolicy(self.settings.deferral_max_ms)
        decoder = Decoder(self.catalog, self.names, settings.entry_bytes_max, self.cipher)
        registry = PostgresDefinitionRegistry(self.pool, readable_saga_spec, acquire_timeout_s=self.postgres_timeout_s)
        deployed = {(definition.name, definition.version): definition for definition in self.catalog.definitions()}
        return Engine(
            self.store,
            BatchDecoder(decoder, registry, deferral, now_ms),
            SagaLoader(self.store, deployed, SagaCache(settings.cached_sagas_max), now_ms),
            Outgoing(self.names, self.outbox, self.cipher, settings.entry_bytes_max),
            deferral=deferral,
            now_ms=now_ms,
            starts=self.starts_backlog(),
            observer=None if self.measurements is None else EngineMetrics(self.measurements),
        )

    def starts_backlog(self) -> UnhandledStarts:
        """What may start sagas: the stream of events, and the streams of others."""
        not_starting = (self.names.replies, self.names.dead_letters)
        groups = [(each.stream, each.group) for each in self.consumers if each.stream not in not_starting]
        return UnhandledStarts(self.client, groups, now_ms)

    def lanes(self) -> list[Lane]:
        engine, batch_max = self.engine(), self.settings.batch_entries_max
        observer = None if self.measurements is None else LaneMetrics(self.measurements, now_ms)
        lane = partial(Lane, self.intake, engine, self.publisher, self.outbox, batch_max, self.timers.expect, observer)
        return [lane() for _ in range(self.settings.lanes)]

    def consumer_loops(self) -> list[Loop]:
        """One for each stream. What is in flight on our own is sent again after a loss; those of others have none."""
        inlets = (self.inlets.replies, *self.inlets.beginnings)
        pace = Pace(
            read_block_ms=self.settings.read_block_ms,
            reclaim_idle_ms=self.settings.reclaim_idle_ms,
            reclaim_period_ms=self.settings.reclaim_period_ms,
            entries_max=self.settings.batch_entries_max,
            last_read_ms=LAST_READ_MS,
        )
        return [
            ConsumerLoop(
                consumer,
                inlet.room,
                inlet.put,
                pace,
                self.shutdown,
                on_loss=self.recovery.record_losses if consumer.stream in self.own_streams else None,
                on_mended=self.recovery.look_soon,
            )
            for consumer, inlet in zip(self.consumers, inlets, strict=True)
        ]

    def request_poller(self) -> RequestPoller:
        return RequestPoller(
            self.store,
            self.inlets.requests,
            poll_ms=self.settings.requests_poll_ms,
            lease_ms=self.settings.requests_lease_ms,
            requests_max=self.settings.batch_entries_max,
            now_ms=now_ms,
            shutdown=self.shutdown,
        )

    def job_runner(self) -> JobRunner:
        jobs = PostgresJobs(self.pool, self.cipher)
        letters = job_letters(jobs, self.pool, self.cipher, self.client)
        open_max = min(OPEN_MAX, self.settings.batch_entries_max)
        return JobRunner(jobs, letters, open_max=open_max, now_ms=now_ms, shutdown=self.shutdown)

    def relay(self) -> Relay:
        return Relay(
            self.store,
            self.outbox,
            self.publisher,
            lease_ms=self.settings.outbox_lease_ms,
            period_s=self.settings.outbox_poll_ms / 1000,
            now_ms=now_ms,
            shutdown=self.shutdown,
        )

    def maintenance(self) -> Maintenance:
        trimmer, names, settings = StreamTrimmer(self.client, now_ms), self.names, self.settings
        commands = [names.commands(service) for service in self.catalog.services()]
        # A task for each stream, so that one in trouble keeps none of the others from its turn.
        tasks: list[Task] = [
            *(partial(trimmer.trim_handled, stream) for stream in (names.events, names.replies, *commands)),
            partial(trimmer.trim_older, names.outcomes, settings.outcomes_retention_hours * HOUR_MS),
            partial(trimmer.trim_older, names.dead_letters, settings.dead_letters_retention_hours * HOUR_MS),
            self._forget_answered,
            *self._removals(),
        ]
        return Maintenance(tasks, settings.trim_period_ms / 1000, self.shutdown)

    async def register(self) -> None:
        """Put the deployment on record and look at open sagas. Raises StartupRefused and StoreUnavailable."""
        await register_deployment(self.store, self.settings, self.catalog)

    def upkeep(self) -> Maintenance:
        """What has a short period of its own: the definitions are still deployed, and old changes are forgotten."""
        return Maintenance([self._still_deployed, self.store.forget_changes], UPKEEP_PERIOD_S, self.shutdown)

    def process_registration(self, lanes: Sequence[Lane]) -> Loop:
        return ProcessRegistration(
            own_report(
                "service",
                self.settings.consumer_name,
                reads=[(consumer.stream, consumer.group) for consumer in self.consumers],
                definitions={definition.name: definition.version for definition in self.catalog.definitions()},
                slots=len(lanes),
            ),
            lanes,
            ProcessRegistry(self.client, self.names),
            PostgresProcesses(self.pool, acquire_timeout_s=self.postgres_timeout_s),
            period_s=PROCESSES_PERIOD_S,
            shutdown=self.shutdown,
        )

    async def _still_deployed(self) -> None:
        await self.store.still_deployed(self.catalog.definitions())

    async def _forget_answered(self) -> None:
        await self.store.forget_answered(now_ms() - HOUR_MS)

    def _removals(self) -> Iterator[Task]:
        """Tasks of the retention; none for what is kept for ever, by a setting of 0."""
        settings = self.settings
        # Half of the time at most: the other tasks have their turn however much there is to remove.
        budget_s = settings.trim_period_ms / 2000
        removal = PostgresRemoval(self.pool, acquire_timeout_s=self.postgres_timeout_s)
        retention = Retention(removal, budget_s=budget_s, now_ms=now_ms, shutdown=self.shutdown)
        if settings.ended_sagas_retention_days:
            yield partial(retention.remove_ended, settings.ended_sagas_retention_days * DAY_MS)
        if settings.replayed_dead_letters_retention_days:
            yield partial(retention.remove_replayed, settings.replayed_dead_letters_retention_days * DAY_MS)
        yield partial(retention.remove_jobs, settings.jobs_retention_days * DAY_MS)

    @property
    def own_streams(self) -> tuple[str, str]:
        """The streams that the service reads and on which something is in flight. Of the third, the dead letters, the
        table has all but what is being read."""
        return self.names.replies, self.names.events

    @property
    def postgres_timeout_s(self) -> float:
        """How long a statement, and the wait for a free connection, may take."""
        return self.settings.postgres_timeout_ms / 1000

    @cached_property
    def store(self) -> PostgresStore:
        wait_s = self.postgres_timeout_s
        return PostgresStore(self.pool, definition_from_document, cipher=self.cipher, acquire_timeout_s=wait_s)

    @cached_property
    def outbox(self) -> OutboxRows:
        return OutboxRows()

    @cached_property
    def publisher(self) -> RedisPublisher:
        return RedisPublisher(self.client, {consumer.stream: consumer for consumer in self.consumers})

    @cached_property
    def intake(self) -> Intake:
        return Intake(self.settings.batch_bytes_max, self.shutdown)

    @cached_property
    def inlets(self) -> Inlets:
        intake, settings = self.intake, self.settings
        return Inlets(
            replies=intake.inlet(settings.intake_entries_max),
            timers=intake.inlet(settings.timers_batch_sagas_max),
            requests=intake.inlet(settings.batch_entries_max),
            beginnings=tuple(intake.inlet(settings.intake_entries_max) for _ in self.consumers[1:]),
        )

    @cached_property
    def recovery(self) -> Recovery:
        settings = self.settings
        return Recovery(
            StreamSight(self.client, watched_streams(self.names, settings.consumer_group, self.catalog.services())),
            self.store,
            found_by=settings.consumer_name,
            sagas_max=settings.batch_entries_max,
            now_ms=now_ms,
            shutdown=self.shutdown,
        )

    @cached_property
    def timers(self) -> Timers:
        return Timers(
            self.store,
            self.inlets.timers,
            poll_ms=self.settings.timers_poll_ms,
            lease_ms=self.settings.timers_lease_ms,
            sagas_max=self.settings.timers_batch_sagas_max,
            now_ms=now_ms,
            shutdown=self.shutdown,
        )


@asynccontextmanager
async def _deployment(
    settings: Settings, catalog: Catalog, cipher: Cipher | None, shutdown: Shutdown, measurements: Measurements | None
) -> AsyncIterator[Deployment]:
    """The deployment with its connections open and its definitions on record. Raises StartupRefused."""
    names = StreamNames(settings.stream_prefix)
    async with AsyncExitStack() as connections:
        pool = await connections.enter_async_context(opened_pool(settings, shutdown))
        # Each lane publishes on a connection of its own; the loops that do small things share the others.
        redis = partial(connected, connections, settings.redis_url.get_secret_value())
        client = redis(connections_max=settings.lanes + 4, knows_server=True)
        reading = partial(redis, connections_max=1, blocking_ms=settings.read_block_ms)
        consumers = [
            Consumer(reading(), client, stream, group, settings.consumer_name)
            for stream, group in _streams(settings, catalog, names)
        ]
        deployment = Deployment(
            settings, catalog, names, cipher, pool, client, tuple(consumers), shutdown, measurements
        )
        await with_postgres(settings, deployment.register, shutdown)
        yield deployment


def _streams(settings: Settings, catalog: Catalog, names: StreamNames) -> Iterator[tuple[str, str]]:
    """Every stream that is read, with its group."""
    for stream in (names.replies, names.events, names.dead_letters):
        yield stream, settings.consumer_group
    for stream, group in catalog.trigger_streams():
        yield stream, group or settings.consumer_group
