"""All that writes, two of a kind and two kinds at a time, on the same rows in any order: no two wait for each other."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import asyncpg

from saga_service.base.clock import now_ms
from saga_service.base.postgres import close_pool
from saga_service.core.vocabulary import Operation
from saga_service.definitions import definition_from_document, definition_to_document
from saga_service.encryption.aes_gcm import AesGcmCipher
from saga_service.engine.failures import RequestsAnswered, RequestsOutOfOrder, RevisionConflict
from saga_service.engine.ports import Batch, Deferred, LetterOperation, RequestResult, Write
from saga_service.store.dead_letters import DeadLetterBox
from saga_service.store.encryption import PostgresKeyRotation
from saga_service.store.jobs import PostgresJobs
from saga_service.store.pool import create_pool
from saga_service.store.postgres_store import PostgresStore
from saga_service.store.requests import OperationCall
from saga_service.store.retention import PostgresRemoval, WrittenSaga
from saga_service.wire.dead_letters import dead_letter
from saga_service.wire.entries import Entry, RequestRow
from tests.support.ciphers import NEW, OF_BOTH, OLD
from tests.support.store_batches import batch, saga_ids, start

ROWS = 8
ROUNDS = 2
TABLES = ("requests", "sagas", "dead_letters", "outbox", "definitions", "jobs", "job_items")
FAR_MS = 2**50
SLOWLY = """
create function saga_private.slowly() returns trigger language plpgsql
as $$ begin perform pg_sleep(0.0005); return coalesce(new, old); end $$
"""
T = TypeVar("T")

DOCUMENTS = [definition_to_document(f"saga-{number}", (), {}, None) | {"version": "v1"} for number in range(ROWS)]


class Writers:
    """Everything of the service and of people's commands that writes, each on rows in an order by chance."""

    def __init__(self, pool: asyncpg.Pool, chance: random.Random) -> None:
        self._pool = pool
        self._chance = chance
        self._store = PostgresStore(pool, definition_from_document, cipher=OF_BOTH)
        self._sagas = saga_ids(ROWS)

    def _shuffled(self, rows: Sequence[T]) -> list[T]:
        return self._chance.sample(rows, len(rows))

    async def _requests(self) -> list[Entry]:
        numbers = [row[0] for row in await self._pool.fetch("select id from saga_private.requests")]
        return [Entry("saga.requests", str(number), {}, request=RequestRow(number, 1, 1)) for number in numbers]

    async def begin(self) -> None:
        """With every row that is written held for a moment, so that two writers meet."""
        await self._pool.execute(SLOWLY)
        for table in TABLES:
            await self._pool.execute(
                f"create trigger slowly before update or delete on saga_private.{table}"
                " for each row execute function saga_private.slowly()"
            )
        await self._store.remember_definitions(DOCUMENTS)
        await self._store.commit(batch(*(start(f"order-{number}") for number in range(ROWS))))

    async def commit(self) -> None:
        """A whole batch: requests, sagas, dead letters, outbox rows."""
        requests, outbox = self._shuffled(await self._requests()), await self._outbox()
        states = self._shuffled(await self._store.load(self._sagas))
        made = Batch(
            writes=[Write(state._replace(revision=state.revision + 1), state.revision) for state in states],
            dead_letters=[
                dead_letter(Entry("saga:events", f"1700-{number}", {}), "broken", 1)
                for number in self._shuffled(range(ROWS))
            ],
            results=[RequestResult(int(entry.id), "applied", "", None) for entry in requests[:2]],
            deferred=[
                *(Deferred(entry, 1) for entry in requests[2:]),
                *(Deferred(Entry("saga:events", f"{n}-1", {}), 1) for n in self._shuffled(range(1, 10))),
            ],
            published=self._shuffled(outbox),
        )
        await self._store.commit(made)

    async def _outbox(self) -> list[int]:
        return [row[0] for row in await self._pool.fetch("select id from saga_private.outbox")]

    async def start_again(self) -> None:
        made = [start(f"order-{number}") for number in range(ROWS)]
        await self._store.commit(batch(*self._shuffled(made)))

    async def ask(self) -> None:
        for saga_id in self._shuffled(self._sagas)[:5]:
            await self._pool.execute("select saga.operate('pause', $1)", saga_id)

    async def claim(self) -> None:
        await self._store.claim_requests(FAR_MS, ROWS, 0)
        await self._store.claim_due(FAR_MS, ROWS, 0)

    async def relay(self) -> None:
        claimed = await self._store.claim_unpublished(FAR_MS, 0, ROWS)
        for row, messages in claimed[:2]:
            await self._store.keep_unpublished(row, messages)
        await self._store.forget_published(self._shuffled([row for row, _ in claimed]))

    async def forget(self) -> None:
        await self._store.forget_answered(FAR_MS)

    async def retain(self) -> None:
        removal = PostgresRemoval(self._pool)
        await removal.remove_ended(FAR_MS, ROWS)
        await removal.remove_replayed(FAR_MS, ROWS)

    async def archive(self) -> None:
        states = self._shuffled(await self._store.load(self._sagas))
        await PostgresRemoval(self._pool).remove_written([WrittenSaga(s.id, s.revision) for s in states], FAR_MS)

    async def rotate(self) -> None:
        cipher = AesGcmCipher(self._shuffled((OLD, NEW)))
        await PostgresKeyRotation(self._pool, cipher).rotate(self._shuffled(self._sagas))

    async def _letters(self) -> list[int]:
        letters = [dead_letter(Entry("saga:events", f"1700-{n}", {}), "broken", 1) for n in self._shuffled(range(ROWS))]
        await self._store.commit(Batch(dead_letters=letters))
        return [row[0] for row in await self._pool.fetch("select id from saga_private.dead_letters")]

    async def replay(self) -> None:
        box = DeadLetterBox(self._pool)
        await box.mark_replayed(self._shuffled(await self._letters()), now_ms())

    async def drop(self) -> None:
        await DeadLetterBox(self._pool).drop_dead_letters(self._shuffled(await self._letters()))

    async def carry_on_jobs(self) -> None:
        """A few turns of jobs, whoever made them, and a job that somebody stops."""
        jobs, pause = PostgresJobs(self._pool), OperationCall(Operation.PAUSE, "ada", "a look")
        made = [
            await jobs.preview_sagas(pause, self._shuffled(self._sagas), {}),
            await jobs.preview_letters(
                LetterOperation.DROP, "ada", "a look", self._shuffled(await self._letters()), {}
            ),
        ]
        for job in made:
            await jobs.confirm(job.job_id, job.confirm, "ada")
        for _ in range(4):
            turn = await jobs.take_turn(now_ms(), 0, ROWS)
            if turn is not None and turn.positions:
                await jobs.drop_letters(turn, now_ms())
            elif turn is not None and not turn.has_ended:
                await jobs.request(turn, now_ms())
        await jobs.stop(self._chance.choice(made).job_id, "ada")
        await PostgresRemoval(self._pool).remove_jobs(FAR_MS, FAR_MS, ROWS)

    async def register(self) -> None:
        await self._store.remember_definitions(self._shuffled(DOCUMENTS))

    async def stay_deployed(self) -> None:
        await self._pool.execute(
            "update saga_private.definitions set seen_at = seen_at - interval '1 day' where saga = $1",
            self._chance.choice(DOCUMENTS)["saga"],
        )
        definitions = [definition_from_document(document) for document in self._shuffled(DOCUMENTS)]
        await self._store.still_deployed(definitions)


WRITERS: list[Callable[[Writers], Awaitable[None]]] = [
    Writers.commit,
    Writers.start_again,
    Writers.ask,
    Writers.claim,
    Writers.relay,
    Writers.forget,
    Writers.retain,
    Writers.archive,
    Writers.rotate,
    Writers.replay,
    Writers.drop,
    Writers.carry_on_jobs,
    Writers.register,
    Writers.stay_deployed,
]


async def test_no_pair_of_writers_waits_for_each_other(postgres_dsn: str, random_seed: int) -> None:
    pool = await create_pool(postgres_dsn, 8)
    writers = Writers(pool, random.Random(random_seed))
    try:
        await writers.begin()
        for one, other in itertools.combinations_with_replacement(WRITERS, 2):
            for _ in range(ROUNDS):
                await asyncio.gather(*(_raced(work(writers)) for work in (one, other, one, other)))
        await pool.execute("select pg_stat_force_next_flush()")
    finally:
        await close_pool(pool)
    assert await _deadlocks(postgres_dsn) == 0


async def _raced(work: Awaitable[None]) -> None:
    """A lost race is nothing to talk about; a deadlock would be raised as another error."""
    with contextlib.suppress(RevisionConflict, RequestsAnswered, RequestsOutOfOrder):
        await work


async def _deadlocks(dsn: str) -> int:
    connection: asyncpg.Connection = await asyncpg.connect(dsn)
    try:
        return int(
            await connection.fetchval("select deadlocks from pg_stat_database where datname = current_database()")
        )
    finally:
        await connection.close()
