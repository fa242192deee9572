"""The one composition root: settings in, a running service out. Only here do the parts meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

import asyncpg
import structlog
from redis.asyncio import Redis

from saga_service.base.clock import now_ms
from saga_service.base.postgres import close_pool
from saga_service.base.signals import stop_on_signals
from saga_service.core.vocabulary import Task as StepTask
from saga_service.definitions import (
    Catalog,
    definition_from_document,
    load_definitions,
    readable_saga_spec,
)
from saga_service.encryption import Cipher, CipherNotLoaded, DecryptionFailed, UnknownKey, load_cipher
from saga_service.engine.decode import BatchDecoder, Decoder
from saga_service.engine.deferral import DeferralPolicy
from saga_service.engine.engine import Engine
from saga_service.engine.errors import StoreUnavailable
from saga_service.engine.outbox import OutboxRows, Outgoing
from saga_service.engine.saga_loader import SagaCache, SagaLoader
from saga_service.runtime.ingest import Ingest
from saga_service.runtime.intake import Inlet, Intake
from saga_service.runtime.lane import Lane
from saga_service.runtime.maintenance import Maintenance, Task
from saga_service.runtime.reclaim import Reclaim
from saga_service.runtime.recovery import Recovery
from saga_service.runtime.relay import Relay
from saga_service.runtime.request_poller import RequestPoller
from saga_service.runtime.retention import Retention
from saga_service.runtime.service import Loop, Service
from saga_service.runtime.shutdown import Shutdown
from saga_service.runtime.timers import Timers
from saga_service.settings import Settings
from saga_service.startup import StartupRefused, wait_for_servers
from saga_service.store.definitions import PostgresDefinitionRegistry
from saga_service.store.errors import translated
from saga_service.store.pool import create_pool
from saga_service.store.postgres_store import PostgresStore
from saga_service.store.retention import PostgresRemoval
from saga_service.streams.connection import connect
from saga_service.streams.group_reader import GroupReader
from saga_service.streams.publisher import RedisPublisher
from saga_service.streams.source import StreamSource
from saga_service.streams.trimming import StreamTrimmer
from saga_service.wire.stream_names import StreamNames
from saga_service.worker import load_worker, run_workers
from saga_service.worker.options import worker_options

log = structlog.get_logger(__name__)
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SAGAS_TRIED_AT_START = 100
DEAD_CONSUMER_IDLE_MS = HOUR_MS
"""A consumer that has neither read nor held anything for so long is taken off its group."""


async def run_service(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT, and then until what was taken in is done; a second signal ends it at once.

    Raises StartupRefused, DefinitionErrors or WorkerNotLoaded before anything runs; ExceptionGroup where a loop failed
    in a way that it has no answer for.
    """
    async with stop_on_signals() as stop:
        await serve(settings, stop)


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """As `run_service`, until `stop` is set."""
    shutdown = Shutdown(stop)
    catalog = _catalog(settings)
    _refuse_removal_before_late_replies(settings, catalog)
    workers = [load_worker(target) for target in settings.workers]
    names = StreamNames(settings.stream_prefix)
    cipher = _cipher(settings)
    if not await wait_for_servers(settings, stop):
        log.info("stopped before the servers answered")
        return
    async with _postgres(settings) as pool, _redis(settings) as client:
        store = PostgresStore(
            pool, definition_from_document, cipher=cipher, acquire_timeout_s=settings.postgres_timeout_ms / 1000
        )
        with _still_starting(settings):
            await store.remember_definitions(catalog.documents())
            await _refuse_without_keys(store)
        async with _streams(settings, catalog, names, client) as streams:
            service = _service(settings, catalog, names, cipher, store, pool, client, streams, shutdown)
            log.info(
                "saga_service runs",
                consumer=settings.consumer_name,
                sagas=[definition.name for definition in catalog.definitions()],
                streams=[source.stream for source in streams.sources],
                workers=[worker.service for worker in workers],
            )
            async with _time_to_stop(shutdown, settings.shutdown_grace_ms / 1000), asyncio.TaskGroup() as group:
                group.create_task(service.run())
                if workers:
                    group.create_task(run_workers(workers, worker_options(settings), stop=stop))
    log.info("saga_service has stopped")


@asynccontextmanager
async def _time_to_stop(shutdown: Shutdown, grace_s: float) -> AsyncIterator[None]:
    """Once stopping is said, what runs within has so long; then it is cut off, and other replicas take over."""

    async def limit_once_stopping() -> None:
        await shutdown.wait()
        limit.reschedule(asyncio.get_running_loop().time() + grace_s)

    try:
        async with asyncio.timeout(None) as limit:
            waiting = asyncio.create_task(limit_once_stopping())
            try:
                yield
            finally:
                waiting.cancel()
    except TimeoutError:
        if not limit.expired():
            raise
        log.warning("not finished in time; other replicas take over what is left", grace_s=grace_s)


def _catalog(settings: Settings) -> Catalog:
    if not settings.definitions:
        raise StartupRefused(
            "no saga is defined: set SAGA_DEFINITIONS to YAML files or Python modules, for example "
            "SAGA_DEFINITIONS=saga_service.demo.sagas"
        )
    return load_definitions(settings.definitions, StreamNames(settings.stream_prefix))


def _refuse_removal_before_late_replies(settings: Settings, catalog: Catalog) -> None:
    """A reply that comes late, but within its command's time, must still find its saga."""
    kept_ms = settings.ended_sagas_retention_days * DAY_MS
    too_long = [
        f"'{step.name}' of '{definition.name}'"
        for definition in catalog.definitions()
        for step in definition.steps
        if step.task is StepTask.COMMAND and max(step.timeout_ms, step.compensation_timeout_ms) >= kept_ms
    ]
    if kept_ms and too_long:
        raise StartupRefused(
            f"SAGA_ENDED_SAGAS_RETENTION_DAYS ({settings.ended_sagas_retention_days}) must be longer than any command "
            f"may take, and is not for {', '.join(too_long)}; keep ended sagas longer, or shorten these time-outs"
        )


def _cipher(settings: Settings) -> Cipher | None:
    try:
        return load_cipher(
            settings.encryption_keys.get_secret_value(),
            settings.encryption_cipher,
            encrypt=settings.encryption_enabled,
        )
    except CipherNotLoaded as error:
        raise StartupRefused(str(error)) from None


async def _refuse_without_keys(store: PostgresStore) -> None:
    """Better no replica than one that makes dead letters of all that it reads. A few sagas that are under way tell."""
    try:
        await store.load(await store.in_flight(None, SAGAS_TRIED_AT_START))
    except UnknownKey as error:
        raise StartupRefused(
            f"{error}; add the key to SAGA_ENCRYPTION_KEYS (the first encrypts, all decrypt)"
        ) from None
    except DecryptionFailed as error:
        log.error("a saga cannot be decrypted, and cannot go on", error=str(error))


@asynccontextmanager
async def _postgres(settings: Settings) -> AsyncIterator[asyncpg.Pool]:
    with _still_starting(settings):
        pool = await create_pool(
            settings.postgres_dsn.get_secret_value(),
            settings.postgres_pool_size,
            statement_cache_size=settings.postgres_statement_cache_size,
            statement_timeout_s=settings.postgres_timeout_ms / 1000,
        )
    try:
        yield pool
    finally:
        await close_pool(pool)


@contextmanager
def _still_starting(settings: Settings) -> Iterator[None]:
    try:
        with translated():
            yield
    except StoreUnavailable as error:
        raise StartupRefused(
            f"postgres at {settings.postgres_dsn} answered and went away again: {error}; start once more"
        ) from error


@asynccontextmanager
async def _redis(settings: Settings) -> AsyncIterator[Redis]:
    # Each lane publishes on a connection of its own; the loops that do small things share the others.
    client = connect(settings.redis_url.get_secret_value(), connections_max=settings.lanes + 4)
    try:
        yield client
    finally:
        await client.aclose()


# ----------------------------------------------------------------------------------------------------- the streams


@dataclass(frozen=True, slots=True)
class _Streams:
    """Every stream that is read, what goes on before what begins."""

    sources: list[StreamSource]
    readers: dict[str, GroupReader]
    commands: list[str]


@asynccontextmanager
async def _streams(settings: Settings, catalog: Catalog, names: StreamNames, client: Redis) -> AsyncIterator[_Streams]:
    ours = [(stream, settings.consumer_group) for stream in (names.replies, names.events, names.dead_letters)]
    others = [(stream, group or settings.consumer_group) for stream, group in catalog.trigger_streams()]
    commands = [names.commands(service) for service in catalog.services()]
    streams = _Streams([], {}, commands)
    async with AsyncExitStack() as connections:
        for stream, group in (*ours, *others):
            blocking = connect(
                settings.redis_url.get_secret_value(), blocking_ms=settings.read_block_ms, connections_max=1
            )
            connections.push_async_callback(blocking.aclose)
            reader = GroupReader(blocking, stream, group, settings.consumer_name)
            helper = GroupReader(client, stream, group, settings.consumer_name)
            streams.readers[stream] = reader
            streams.sources.append(StreamSource(reader, helper, settings.read_block_ms, settings.reclaim_idle_ms))
        yield streams


# ----------------------------------------------------------------------------------------------------- the service


def _service(
    settings: Settings,
    catalog: Catalog,
    names: StreamNames,
    cipher: Cipher | None,
    store: PostgresStore,
    pool: asyncpg.Pool,
    client: Redis,
    streams: _Streams,
    shutdown: Shutdown,
) -> Service:
    outbox, deferral = OutboxRows(), DeferralPolicy(settings.deferral_max_ms)
    publisher = RedisPublisher(client, streams.readers)
    registry = PostgresDefinitionRegistry(
        pool, readable_saga_spec, acquire_timeout_s=settings.postgres_timeout_ms / 1000
    )
    deployed = {(definition.name, definition.version): definition for definition in catalog.definitions()}
    engine = Engine(
        store,
        BatchDecoder(Decoder(catalog, names, settings.entry_bytes_max, cipher), registry, deferral, now_ms),
        SagaLoader(store, deployed, SagaCache(settings.cached_sagas_max), deferral, now_ms),
        Outgoing(names, outbox, cipher),
        deferral=deferral,
        now_ms=now_ms,
    )
    intake = Intake(settings.batch_bytes_max)
    # In the order in which lanes take from them. What begins comes last: timers are kept however many starts pile up.
    replies, *beginnings = streams.sources
    inlets = {replies.stream: intake.inlet(settings.intake_entries_max)}
    recovery = Recovery(store, intake.inlet(settings.batch_entries_max), shutdown)
    timers = Timers(
        store,
        intake.inlet(settings.timers_batch_sagas_max),
        poll_ms=settings.timers_poll_ms,
        lease_ms=settings.timers_lease_ms,
        sagas_max=settings.timers_batch_sagas_max,
        now_ms=now_ms,
        shutdown=shutdown,
    )
    requests = RequestPoller(
        store,
        intake.inlet(settings.batch_entries_max),
        poll_ms=settings.requests_poll_ms,
        lease_ms=settings.requests_lease_ms,
        requests_max=settings.batch_entries_max,
        now_ms=now_ms,
        shutdown=shutdown,
    )
    inlets |= {source.stream: intake.inlet(settings.intake_entries_max) for source in beginnings}
    relay = Relay(
        store,
        outbox,
        publisher,
        lease_ms=settings.outbox_lease_ms,
        period_s=settings.outbox_poll_ms / 1000,
        now_ms=now_ms,
        shutdown=shutdown,
    )
    lanes = [
        Lane(intake, engine, publisher, outbox, settings.batch_entries_max, timers.expect)
        for _ in range(settings.lanes)
    ]
    removal = PostgresRemoval(pool, acquire_timeout_s=settings.postgres_timeout_ms / 1000)
    return Service(
        sources=streams.sources,
        intake=intake,
        feeders=[
            *_feeders(settings, names, streams.sources, inlets, recovery.transport_lost, shutdown),
            timers,
            requests,
            _upkeep(settings, names, client, streams, store, removal, shutdown),
        ],
        lanes=lanes,
        recovery=recovery,
        relay=relay,
        shutdown=shutdown,
    )


def _feeders(
    settings: Settings,
    names: StreamNames,
    sources: Sequence[StreamSource],
    inlets: dict[str, Inlet],
    transport_lost: Callable[[], None],
    shutdown: Shutdown,
) -> list[Loop]:
    feeders: list[Loop] = []
    for source in sources:
        inlet = inlets[source.stream]
        # One stream speaks for all, or the same loss would be made good as often as there are streams.
        lost = transport_lost if source.stream == names.replies else _nothing
        feeders.append(Ingest(source, inlet, settings.batch_entries_max, lost, shutdown))
        feeders.append(Reclaim(source, inlet, settings.reclaim_period_ms / 1000, shutdown))
    return feeders


def _nothing() -> None:
    """What a stream's loss means where another one's speaks for it."""


def _upkeep(
    settings: Settings,
    names: StreamNames,
    client: Redis,
    streams: _Streams,
    store: PostgresStore,
    removal: PostgresRemoval,
    shutdown: Shutdown,
) -> Maintenance:
    trimmer = StreamTrimmer(client, now_ms)

    # A task for each stream, so that one in trouble keeps none of the others from its turn.
    handled = [partial(trimmer.trim_handled, stream) for stream in (names.events, names.replies, *streams.commands)]
    old = [
        partial(trimmer.trim_older, names.outcomes, settings.outcomes_retention_hours * HOUR_MS),
        partial(trimmer.trim_older, names.dead_letters, settings.dead_letters_retention_hours * HOUR_MS),
    ]
    consumers = [partial(source.remove_dead_consumers, DEAD_CONSUMER_IDLE_MS) for source in streams.sources]
    results = partial(_forget_answered, store)
    tasks: list[Task] = [*handled, *old, *consumers, results, *_removals(settings, removal, shutdown)]
    return Maintenance(tasks, settings.trim_period_ms / 1000, shutdown)


async def _forget_answered(store: PostgresStore) -> None:
    await store.forget_answered(now_ms() - HOUR_MS)


def _removals(settings: Settings, removal: PostgresRemoval, shutdown: Shutdown) -> Iterator[Task]:
    """What is kept for ever, by a setting of 0, has none."""
    # Half of the time at most: the other chores have their turn however much there is to remove.
    retention = Retention(removal, budget_s=settings.trim_period_ms / 2000, now_ms=now_ms, shutdown=shutdown)
    if settings.ended_sagas_retention_days:
        yield partial(retention.remove_ended, settings.ended_sagas_retention_days * DAY_MS)
    if settings.replayed_dead_letters_retention_days:
        yield partial(retention.remove_replayed, settings.replayed_dead_letters_retention_days * DAY_MS)
