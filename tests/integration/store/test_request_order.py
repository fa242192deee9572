"""What is requested of one saga is done in the order of the requests, whichever replicas have them in hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import asyncpg
import pytest

from saga_service.base.clock import now_ms
from saga_service.core.ids import SagaId, saga_id_from_key
from saga_service.core.vocabulary import Operation
from saga_service.engine.engine import Engine
from saga_service.engine.failures import RequestsOutOfOrder
from saga_service.engine.outbox import OutboxRows
from saga_service.engine.ports import Asked, Batch, Deferred
from saga_service.store.postgres_store import PostgresStore
from saga_service.store.requests import OperationCall, PostgresRequests
from saga_service.wire.entries import Entry
from tests.support.builders import PlainBlueprint, PlainCatalog, definition, entry
from tests.support.fakes import NAMES, start
from tests.support.replica import engine_on, process
from tests.support.store_batches import no_definition

ORDER = definition("reserve", "charge")
ONE, TWO = (saga_id_from_key("order", f"order-{number}") for number in (1, 2))
NOW_MS, LEASE_MS = 1_000_000, 10_000
LEASE_OVER_MS = NOW_MS + LEASE_MS


@pytest.fixture
def store(pool: asyncpg.Pool) -> PostgresStore:
    return PostgresStore(pool, no_definition)


@pytest.fixture
async def engine(store: PostgresStore) -> Engine:
    """A replica, with two sagas that run."""
    engine = replica(store)
    await process(engine, [start(1), start(2)])
    return engine


def replica(store: PostgresStore) -> Engine:
    return engine_on(store, PlainCatalog(PlainBlueprint(ORDER, integers=["amount"])), [ORDER], OutboxRows())


async def ask(pool: asyncpg.Pool, operation: Operation, saga_id: SagaId = ONE) -> int:
    [number] = await PostgresRequests(pool).operate([saga_id], OperationCall(operation, "ann"))
    return number


async def claim(store: PostgresStore, at_ms: int = NOW_MS, limit: int = 100) -> list[Entry]:
    return await store.claim_requests(at_ms, limit, LEASE_MS)


async def verdicts(pool: asyncpg.Pool, *numbers: int) -> list[str]:
    results = await PostgresRequests(pool).results(numbers)
    return [results[number].verdict if number in results else "open" for number in numbers]


def ids(entries: Sequence[Entry]) -> list[str]:
    return [each.id for each in entries]


async def status(store: PostgresStore, saga_id: SagaId = ONE) -> str:
    [state] = await store.load([saga_id])
    return state.status.value


def paused_by_an_event() -> Entry:
    return entry({"type": "saga.pause", "saga_id": ONE, "actor": "bo"}, NAMES.events, "1900-1")


async def test_a_resume_waits_for_the_pause_that_a_stalled_replica_holds(
    engine: Engine, store: PostgresStore, pool: asyncpg.Pool
) -> None:
    pause = await ask(pool, Operation.PAUSE)
    held_by_the_stalled = await claim(store)
    resume = await ask(pool, Operation.RESUME)

    assert await claim(store) == []
    taken_over = await claim(store, LEASE_OVER_MS)
    assert ids(taken_over) == [str(pause)]
    assert await claim(store, LEASE_OVER_MS) == []
    await process(engine, taken_over)
    await process(replica(store), held_by_the_stalled)
    await process(engine, await claim(store, LEASE_OVER_MS))

    assert await verdicts(pool, pause, resume) == ["applied", "applied"]
    assert await status(store) == "running"


async def test_a_lane_that_is_quicker_than_another_puts_back_what_comes_later(
    engine: Engine, store: PostgresStore, pool: asyncpg.Pool
) -> None:
    pause, resume = await ask(pool, Operation.PAUSE), await ask(pool, Operation.RESUME)
    first, second = await claim(store)

    await process(engine, [second])
    assert await verdicts(pool, pause, resume) == ["open", "open"]
    await process(replica(store), [first])
    # A moment later, and not only after its lease.
    await process(engine, await claim(store, at_ms=now_ms() + 1_000))

    assert await verdicts(pool, pause, resume) == ["applied", "applied"]
    assert await status(store) == "running"


async def test_what_is_put_back_takes_nothing_else_of_its_batch_with_it(
    engine: Engine, store: PostgresStore, pool: asyncpg.Pool
) -> None:
    pause, resume = await ask(pool, Operation.PAUSE), await ask(pool, Operation.RESUME)
    _, second = await claim(store)
    await process(engine, [second, start(3)])
    assert await verdicts(pool, pause, resume) == ["open", "open"]
    assert await status(store, saga_id_from_key("order", "order-3")) == "running"


async def test_a_request_waits_while_another_replica_claims_the_one_before_it(
    store: PostgresStore, pool: asyncpg.Pool
) -> None:
    pause, resume = await ask(pool, Operation.PAUSE), await ask(pool, Operation.RESUME)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("select from saga_private.requests where id = $1 for update", pause)
        assert await claim(store) == []
    assert ids(await claim(store)) == [str(pause), str(resume)]


async def test_requests_of_other_sagas_are_not_held_up(store: PostgresStore, pool: asyncpg.Pool) -> None:
    await ask(pool, Operation.PAUSE, ONE)
    await claim(store)
    await ask(pool, Operation.RESUME, ONE)
    other = await ask(pool, Operation.PAUSE, TWO)
    assert ids(await claim(store)) == [str(other)]


async def test_requests_that_wait_fill_no_claim(store: PostgresStore, pool: asyncpg.Pool) -> None:
    await ask(pool, Operation.PAUSE, ONE)
    await claim(store)
    for _ in range(5):
        await ask(pool, Operation.RESUME, ONE)
    other = await ask(pool, Operation.PAUSE, TWO)
    assert ids(await claim(store, limit=2)) == [str(other)]


async def test_a_request_whose_lease_is_over_goes_before_newer_ones_of_its_saga(
    store: PostgresStore, pool: asyncpg.Pool
) -> None:
    first = await ask(pool, Operation.PAUSE, ONE)
    await claim(store)
    for _ in range(5):
        await ask(pool, Operation.RESUME, ONE)
    assert ids(await claim(store, LEASE_OVER_MS, limit=1)) == [str(first)]


async def test_a_start_waits_for_no_request_of_its_saga(store: PostgresStore, pool: asyncpg.Pool) -> None:
    """A signal may be requested before its saga, and waits for the start."""
    await pool.execute(
        "insert into saga_private.definitions (saga, version, compensations, document)"
        " values ('order', 'v1', '{}', '{}')"
    )
    await pool.execute("select saga.signal('approved', key => 'A-17', saga => 'order')")
    await claim(store)
    await pool.execute("select saga.start('order', key => 'A-17')")
    assert len(await claim(store)) == 1


@pytest.mark.parametrize(
    "first",
    [
        "saga.signal('approved', key => 'order-1', saga => 'order')",
        "saga.signal('approved', key => 'order-1')",
        "saga.signal('approved', saga_id => $1)",
    ],
    ids=["name and key", "key alone", "id"],
)
@pytest.mark.parametrize(
    "second",
    [
        "saga.signal('approved', key => 'order-1', saga => 'order')",
        "saga.signal('approved', key => 'order-1')",
        "saga.operate('cancel', $1)",
    ],
    ids=["name and key", "key alone", "id"],
)
async def test_a_saga_is_the_same_whether_it_is_named_by_its_key_or_by_its_id(
    engine: Engine, store: PostgresStore, pool: asyncpg.Pool, first: str, second: str
) -> None:
    del engine  # it has started the sagas
    for request, is_claimed in ((first, True), (second, False)):
        await pool.execute(f"select {request} from (values (1)) as one where $1::uuid is not null", ONE)
        assert bool(await claim(store)) is is_claimed


async def test_a_request_by_sql_waits_for_a_deferred_entry_of_its_saga(
    engine: Engine, store: PostgresStore, pool: asyncpg.Pool
) -> None:
    paused = paused_by_an_event()
    await store.commit(Batch(deferred=[Deferred(paused, NOW_MS + 5_000, Asked(ONE, None))]))
    resume = await ask(pool, Operation.RESUME)
    assert await claim(store) == []

    await process(engine, await claim(store, NOW_MS + 5_000))
    await process(engine, await claim(store, NOW_MS + 5_000))
    assert await verdicts(pool, resume) == ["applied"]
    assert await status(store) == "running"


async def test_a_signal_by_key_waits_for_a_deferred_entry_that_names_its_saga_by_the_id(
    engine: Engine, store: PostgresStore, pool: asyncpg.Pool
) -> None:
    del engine  # it has started the sagas
    await store.commit(Batch(deferred=[Deferred(paused_by_an_event(), NOW_MS + 5_000, Asked(ONE, None))]))
    await pool.execute("select saga.signal('approved', key => 'order-1')")
    assert await claim(store) == []
    assert [each.stream for each in await claim(store, NOW_MS + 5_000)] == [NAMES.events]


@pytest.mark.parametrize("reverse", [False, True])
async def test_a_saga_that_is_not_there_yet_is_the_same_by_its_id_and_by_its_name_and_key(
    store: PostgresStore, pool: asyncpg.Pool, reverse: bool
) -> None:
    ways = ["saga_id => $1", "key => 'order-1', saga => 'order'"]
    for way, is_claimed in zip(sorted(ways, reverse=reverse), (True, False), strict=True):
        await pool.execute(f"select saga.signal('approved', {way}) where $1::uuid is not null", ONE)
        assert bool(await claim(store)) is is_claimed


NUMBER, UUID_TEXT = "7", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
SPELLINGS = [
    *((NUMBER, "integer", spelling) for spelling in ("007", "+7", "7.0", "0" * 31 + "7")),
    *(
        (UUID_TEXT, "uuid", spelling)
        for spelling in (UUID_TEXT.upper(), UUID_TEXT.replace("-", ""), f"{{{UUID_TEXT}}}")
    ),
]


@pytest.mark.parametrize(("key", "form", "spelling"), SPELLINGS)
@pytest.mark.parametrize("names_saga", [True, False], ids=["with the saga's name", "by the key alone"])
async def test_requests_that_spell_one_key_differently_keep_their_order(
    store: PostgresStore, pool: asyncpg.Pool, key: str, form: str, spelling: str, names_saga: bool
) -> None:
    await know_orders(pool, form)
    for given, is_claimed in ((spelling, True), (key, False), (spelling, False)):
        await pool.execute(
            "select saga.signal('approved', key => $1, saga => $2)", given, "order" if names_saga else None
        )
        assert bool(await claim(store)) is is_claimed


@pytest.mark.parametrize(("key", "form", "spelling"), SPELLINGS)
@pytest.mark.parametrize("is_there", [True, False])
async def test_a_key_in_another_spelling_names_the_saga_of_a_request_by_its_id(
    store: PostgresStore, pool: asyncpg.Pool, key: str, form: str, spelling: str, is_there: bool
) -> None:
    await know_orders(pool, form)
    started = saga_id_from_key("order", key)
    await pool.execute(
        "insert into saga_private.sagas"
        " (id, created_at_ms, saga, version, key, input, status, revision, updated_at_ms, steps)"
        " select $1, 0, 'order', 'v1', $2, '{}', 'running', 1, 0, '{}' where $3",
        started,
        key,
        is_there,
    )
    await pool.execute("select saga.signal('approved', saga_id => $1)", started)
    assert len(await claim(store)) == 1
    await pool.execute("select saga.signal('approved', saga => 'order', key => $1)", spelling)
    assert await claim(store) == []


@pytest.mark.parametrize(("key", "form", "spelling"), SPELLINGS)
async def test_a_deferred_entry_goes_before_a_signal_by_its_key_in_another_spelling(
    store: PostgresStore, pool: asyncpg.Pool, key: str, form: str, spelling: str
) -> None:
    await know_orders(pool, form)
    await store.commit(Batch(deferred=[Deferred(paused_by_an_event(), NOW_MS + 5_000, Asked(ONE, key))]))
    await pool.execute("select saga.signal('approved', key => $1)", spelling)
    assert await claim(store) == []


@pytest.mark.parametrize(("key", "form", "spelling"), SPELLINGS)
async def test_a_batch_whose_entry_overtakes_a_signal_by_its_key_in_another_spelling_is_refused(
    store: PostgresStore, pool: asyncpg.Pool, key: str, form: str, spelling: str
) -> None:
    await know_orders(pool, form)
    await pool.execute("select saga.signal('approved', key => $1)", spelling)
    with pytest.raises(RequestsOutOfOrder):
        await store.commit(Batch(asked=[Asked(ONE, key)]))


async def test_keys_that_no_form_writes_alike_hold_up_nothing(store: PostgresStore, pool: asyncpg.Pool) -> None:
    for key in ("A-1", "A1", "a-1", "-7", "7", "7.1", UUID_TEXT, UUID_TEXT[:-1]):
        await pool.execute("select saga.signal('approved', key => $1)", key)
        assert len(await claim(store)) == 1


async def know_orders(pool: asyncpg.Pool, form: str) -> None:
    await pool.execute(
        "insert into saga_private.definitions (saga, version, compensations, document)"
        " values ('order', 'v1', '{}', json_build_object('key', 'number', 'key_form', $1::text))",
        form,
    )


async def test_an_event_waits_for_a_deferred_one_of_its_saga(
    engine: Engine, store: PostgresStore, pool: asyncpg.Pool
) -> None:
    paused = paused_by_an_event()
    await store.commit(Batch(deferred=[Deferred(paused, NOW_MS + 5_000, Asked(ONE, None))]))
    resumed = entry({"type": "saga.resume", "saga_id": ONE, "actor": "bo"}, NAMES.events, "1900-2")
    [committed] = await process(engine, [resumed])
    assert committed.handled == {NAMES.events: ["1900-2"]}

    await process(engine, await claim(store, at_ms=2**50))
    await process(engine, await claim(store, at_ms=2**51))
    assert await status(store) == "running"
    lines = await pool.fetch("select event from saga.history where saga_id = $1 order by revision", ONE)
    assert [line["event"] for line in lines] == ["started", "pause_requested", "resume_requested"]


async def test_a_request_that_ends_unanswerable_holds_up_nothing_after_it(
    engine: Engine, store: PostgresStore, pool: asyncpg.Pool
) -> None:
    """The first names a step that is not there, the second is good."""
    await pool.execute("select saga.operate('skip', $1, step => 'nothing')", ONE)
    pause = await ask(pool, Operation.PAUSE)
    await process(engine, await claim(store))
    assert await verdicts(pool, pause) == ["applied"]


async def test_any_number_of_replicas_that_stall_keep_the_order(
    engine: Engine, store: PostgresStore, pool: asyncpg.Pool, random_seed: int
) -> None:
    del engine  # it has started the sagas
    chance = random.Random(random_seed)
    numbers: dict[SagaId, list[int]] = {ONE: [], TWO: []}
    for _ in range(60):
        saga_id = chance.choice((ONE, TWO))
        operation = Operation.RESUME if len(numbers[saga_id]) % 2 else Operation.PAUSE
        numbers[saga_id].append(await ask(pool, operation, saga_id))
    at_ms = NOW_MS
    stalled: list[list[Entry]] = []
    while await pool.fetchval("select count(*) from saga_private.requests where answered_at_ms is null"):
        claimed = await asyncio.gather(*(claim(store, at_ms, chance.randint(1, 9)) for _ in range(3)))
        stalled += [entries for entries in claimed if entries]
        chance.shuffle(stalled)
        awake, stalled = stalled[: len(stalled) // 2], stalled[len(stalled) // 2 :]
        await asyncio.gather(*(process(replica(store), entries) for entries in awake))
        # What is put back is due by the clock of the machine, which is far ahead of the leases of this test.
        await pool.execute("update saga_private.requests set due_at_ms = least(due_at_ms, $1)", at_ms + LEASE_MS)
        at_ms += chance.choice((0, LEASE_MS))
    for saga_id, of_one in numbers.items():
        assert set(await verdicts(pool, *of_one)) == {"applied"}, saga_id
