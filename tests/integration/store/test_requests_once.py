"""A request that two replicas have in hand, or one whose link dies in COMMIT, is carried out once."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from saga_service.base.clock import Backoff
from saga_service.core.ids import command_id, saga_id_from_key
from saga_service.core.state import Fault
from saga_service.core.vocabulary import Direction, Kind, Operation, Outcome
from saga_service.engine.engine import Engine
from saga_service.engine.failures import StoreUnavailable
from saga_service.engine.outbox import OutboxRows
from saga_service.engine.ports import Batch
from saga_service.store.postgres_store import PostgresStore
from saga_service.store.requests import OperationCall, PostgresRequests, Result
from saga_service.wire.entries import Entry
from saga_service.wire.replies import write_failure
from saga_service.wire.transport import StreamNames
from tests.support.builders import PlainBlueprint, PlainCatalog, definition, delivered, step
from tests.support.fakes import start
from tests.support.replica import engine_on, process
from tests.support.store_batches import no_definition

NAMES = StreamNames()
ORDER = definition(step("reserve", kind=Kind.RETRIABLE), step("charge", kind=Kind.RETRIABLE))
ONE = saga_id_from_key("order", "order-1")


class DeafStore(PostgresStore):
    """Postgres commits, and its next answers never arrive."""

    answers_lost = 0

    async def commit(self, batch: Batch) -> int | None:
        outbox_id = await super().commit(batch)
        if self.answers_lost:
            self.answers_lost -= 1
            raise StoreUnavailable("the link died")
        return outbox_id


def rejected(name: str) -> Entry:
    command = command_id(ONE, name, Direction.ACTION, 1)
    fault = Fault("no_stock", "sold out")
    return delivered(write_failure(NAMES.replies, command, ONE, Outcome.REJECTED, fault), f"1800-{len(name)}")


@pytest.fixture
def deaf(pool: asyncpg.Pool) -> DeafStore:
    return DeafStore(pool, no_definition)


@pytest.fixture
async def engine(deaf: DeafStore) -> Engine:
    """With a saga whose first step waits for a person."""
    engine = replica(deaf)
    await process(engine, [start()])
    await process(engine, [rejected("reserve")])
    return engine


def replica(store: PostgresStore) -> Engine:
    return engine_on(store, PlainCatalog(PlainBlueprint(ORDER, integers=["amount"])), [ORDER], OutboxRows())


async def steps(store: PostgresStore) -> list[str]:
    [state] = await store.load([ONE])
    return [step.status.value for step in state.steps]


async def ask(pool: asyncpg.Pool, operation: Operation) -> int:
    [number] = await PostgresRequests(pool).operate([ONE], OperationCall(operation, "ann"))
    return number


async def test_a_skip_that_comes_late_does_not_skip_the_next_step_as_well(
    engine: Engine, deaf: DeafStore, pool: asyncpg.Pool
) -> None:
    number = await ask(pool, Operation.SKIP)
    slow = await deaf.claim_requests(now_ms=1_000_000, limit=10, lease_ms=10_000)
    quick = await deaf.claim_requests(now_ms=1_010_000, limit=10, lease_ms=10_000)
    assert [entry.id for entry in slow] == [entry.id for entry in quick], "the lease was over"

    await process(replica(deaf), quick)
    await process(engine, [rejected("charge")])
    await process(engine, slow)

    assert await steps(deaf) == ["skipped", "failed"]
    assert await PostgresRequests(pool).results([number]) == {number: Result("applied", "")}


async def test_a_skip_whose_commit_was_not_heard_of_does_not_skip_the_next_step_as_well(
    engine: Engine, deaf: DeafStore, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await ask(pool, Operation.SKIP)
    entries = await deaf.claim_requests(now_ms=1_000_000, limit=10, lease_ms=10_000)
    other = replica(PostgresStore(pool, no_definition))

    async def meanwhile(_: Backoff) -> None:
        """While the replica waits for Postgres to come back, the next step comes to wait for a person."""
        await process(other, [rejected("charge")])

    monkeypatch.setattr(Backoff, "wait", meanwhile)
    deaf.answers_lost = 1
    await process(engine, entries)

    assert deaf.answers_lost == 0
    assert await steps(deaf) == ["skipped", "failed"]
    assert await PostgresRequests(pool).results([number]) == {number: Result("applied", "")}


async def test_many_replicas_that_hold_the_same_requests_carry_each_out_once(
    engine: Engine, deaf: DeafStore, pool: asyncpg.Pool
) -> None:
    numbers = [await ask(pool, Operation.PAUSE if place % 2 else Operation.RETRY) for place in range(10)]
    entries = await deaf.claim_requests(now_ms=1_000_000, limit=100, lease_ms=10_000)

    await asyncio.gather(*(process(replica(deaf), entries) for _ in range(4)))

    answers = await PostgresRequests(pool).results(numbers)
    assert sorted(answers) == numbers
    assert len({row[0] for row in await pool.fetch("select id from saga_private.outbox")}) == 2
    lines = [row[0] for row in await pool.fetch("select event from saga_private.history order by revision")]
    assert lines == ["started", "action_rejected", "retry_requested", "pause_requested"]
