"""A service without streams: it takes in what was asked by SQL, and its messages go nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import asyncpg
from structlog.testing import capture_logs

from saga_service.admin.letter_replay import job_letters
from saga_service.base.clock import now_ms
from saga_service.base.lifecycle import Shutdown
from saga_service.core.definition import Definition
from saga_service.definitions import definition_from_document
from saga_service.engine.batch import BatchDecoder, Item
from saga_service.engine.decode import Decoder
from saga_service.engine.deferral import NO_DEFERRAL
from saga_service.engine.engine import Committed, Engine
from saga_service.engine.outbox import OutboxRows, Outgoing
from saga_service.engine.ports import Store
from saga_service.engine.saga_loader import SagaCache, SagaLoader
from saga_service.runtime.intake import Intake
from saga_service.runtime.job_runner import OPEN_MAX, JobRunner
from saga_service.runtime.lane import Lane
from saga_service.runtime.request_poller import RequestPoller
from saga_service.store.jobs import PostgresJobs
from saga_service.store.postgres_store import PostgresStore
from saga_service.streams.connection import RedisClient
from saga_service.wire.encryption import Cipher
from saga_service.wire.saga_spec import Catalog
from saga_service.wire.transport import StreamNames
from tests.support.fakes import BATCH_BYTES_MAX, DATA_BYTES_MAX, MemoryPublisher

POLL_MS = 20


@asynccontextmanager
async def answering(
    pool: asyncpg.Pool, catalog: Catalog, definitions: Iterable[Definition], *, poll_ms: int = POLL_MS
) -> AsyncIterator[MemoryPublisher]:
    """While this lasts, requests are answered; what goes out is with the publisher that is given back."""
    store, outbox, publisher = PostgresStore(pool, definition_from_document), OutboxRows(), MemoryPublisher()
    shutdown = Shutdown()
    intake = Intake(BATCH_BYTES_MAX, shutdown)
    engine = engine_on(store, catalog, definitions, outbox)
    reader = RequestPoller(
        store,
        intake.inlet(100),
        poll_ms=poll_ms,
        lease_ms=10_000,
        requests_max=100,
        now_ms=now_ms,
        shutdown=shutdown,
    )
    # A command that a test runs in this process has stdout to itself.
    with capture_logs():
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(reader.run())
            group.create_task(Lane(intake, engine, publisher, outbox, 100, lambda _: None).run())
            try:
                yield publisher
            finally:
                shutdown.request()
                await reading
                intake.drained.request()


async def process(engine: Engine, items: Sequence[Item]) -> list[Committed]:
    """All that comes of a batch."""
    return [committed async for committed in engine.process(items)]


def engine_on(store: Store, catalog: Catalog, definitions: Iterable[Definition], outbox: OutboxRows) -> Engine:
    """One that trusts no copies."""
    names = StreamNames()
    deployed = {(definition.name, definition.version): definition for definition in definitions}
    return Engine(
        store,
        BatchDecoder(Decoder(catalog, names, DATA_BYTES_MAX), None, NO_DEFERRAL, now_ms),
        SagaLoader(store, deployed, SagaCache(0), now_ms),
        Outgoing(names, outbox),
        deferral=NO_DEFERRAL,
        now_ms=now_ms,
    )


@asynccontextmanager
async def carrying_jobs(
    pool: asyncpg.Pool, client: RedisClient, *, cipher: Cipher | None = None, open_max: int = OPEN_MAX
) -> AsyncIterator[None]:
    """While this lasts, jobs are carried on; `answering` has to answer what they request."""
    shutdown, jobs = Shutdown(), PostgresJobs(pool, cipher)
    letters = job_letters(jobs, pool, cipher, client)
    runner = JobRunner(jobs, letters, period_s=0.02, open_max=open_max, now_ms=now_ms, shutdown=shutdown)
    async with asyncio.TaskGroup() as group:
        group.create_task(runner.run())
        try:
            yield
        finally:
            shutdown.request()
