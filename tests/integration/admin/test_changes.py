"""A look at what has changed: it misses nothing, tells nothing twice, and costs by what has changed alone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson
import pytest

from saga_service.admin.changes import (
    LOOK,
    Changes,
    Cursor,
    EntryPlace,
    LetterOfEntry,
    Wanted,
    _parameters,
    changes_since,
    cursor_in,
)
from saga_service.admin.filters import SagaFilter
from saga_service.admin.server_access import read_plain_values
from saga_service.admin.views import SagaSummary, rows_of
from saga_service.base.clock import now_ms
from saga_service.core.effects import Transition
from saga_service.engine.ports import Batch
from saga_service.store.postgres_store import PostgresStore
from saga_service.store.retention import PostgresRemoval
from saga_service.wire.dead_letters import dead_letter
from saga_service.wire.entries import Entry
from tests.integration.cli.test_sagas import begun, id_of, keep
from tests.support.databases import Databases, run_apart
from tests.support.ended_sagas import DAY_MS, put
from tests.support.store_batches import batch, saga_ids, start, state_of, succeed

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
async def reader(postgres_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection: asyncpg.Connection = await asyncpg.connect(postgres_dsn)
    await read_plain_values(connection)
    yield connection
    await connection.close()


async def now(reader: asyncpg.Connection) -> Cursor:
    return (await changes_since(reader, Wanted())).cursor


async def test_a_look_tells_the_sagas_that_were_committed_since_the_one_before(
    store: PostgresStore, reader: asyncpg.Connection
) -> None:
    await store.commit(batch(start("before")))
    first = await changes_since(reader, Wanted(await now(reader), changed_max=10))
    assert (first.changed, first.sagas) == (0, {})

    one, two = start("one"), start("two")
    await store.commit(batch(one))
    await store.commit(batch(two))
    second = await changes_since(reader, Wanted(first.cursor, changed_max=10))

    assert second.sagas.keys() == {state_of(one).id, state_of(two).id}
    assert (second.sagas[state_of(one).id].revision, second.changed) == (1, 2)
    assert (await changes_since(reader, Wanted(second.cursor, changed_max=10))).changed == 0


async def test_no_more_are_looked_up_than_are_wanted_and_all_are_counted(
    store: PostgresStore, reader: asyncpg.Connection
) -> None:
    before = await now(reader)
    await store.commit(batch(*(start(f"order-{number}") for number in range(20))))
    found = await changes_since(reader, Wanted(before, changed_max=5))
    assert (len(found.sagas), found.changed) == (5, 20)


async def test_the_history_of_a_saga_that_is_watched_comes_from_its_revision_on(
    store: PostgresStore, reader: asyncpg.Connection
) -> None:
    begun_, other = start("one"), start("other")
    await store.commit(batch(begun_, other))
    watched: dict[str, int | None] = {state_of(begun_).id: 1, state_of(other).id: 1, NOBODY: 0}
    before = await now(reader)
    await store.commit(batch(succeed(begun_)))

    found = await changes_since(reader, Wanted(before, watched=watched))

    assert {saga: [line.revision for line in lines] for saga, lines in found.lines.items()} == {
        state_of(begun_).id: [2]
    }
    assert found.sagas.keys() == {state_of(begun_).id}


async def test_what_is_fresh_is_looked_up_though_it_has_not_changed(
    store: PostgresStore, reader: asyncpg.Connection
) -> None:
    one = start("one")
    await store.commit(batch(one))
    found = await changes_since(reader, Wanted(await now(reader), fresh={state_of(one).id: 0, NOBODY: None}))
    assert found.sagas.keys() == {state_of(one).id}
    assert [line.event for line in found.lines[state_of(one).id]] == ["started"]


async def test_a_removal_is_told_unless_the_saga_is_there_again(
    store: PostgresStore, pool: asyncpg.Pool, reader: asyncpg.Connection
) -> None:
    gone, back = [await put(pool, key, ended_at_ms=now_ms() - 3 * DAY_MS) for key in ("gone", "back")]
    before = await now(reader)
    await PostgresRemoval(pool).remove_ended(now_ms() - 2 * DAY_MS, 100)
    await store.commit(batch(start("back")))
    found = await changes_since(reader, Wanted(before, changed_max=10))
    assert (list(found.removed), list(found.sagas)) == ([gone], [back])


async def test_answers_and_dead_letters_are_told_in_the_same_look(
    store: PostgresStore, pool: asyncpg.Pool, reader: asyncpg.Connection
) -> None:
    request = await pool.fetchval("select saga.operate('pause', $1, 'anna', 'a look')", NOBODY)
    await store.commit(Batch(dead_letters=[dead_letter(Entry("saga:events", "7-0", {b"type": b"x"}), "no data", 1)]))
    wanted = Wanted(requests=[request], entries=[EntryPlace("saga:events", "7-0"), EntryPlace("saga:events", "8-0")])
    unanswered = await changes_since(reader, wanted)
    await pool.execute(
        "update saga_private.requests set answered_at_ms = 1, verdict = 'refused', reason = 'so' where id = $1", request
    )
    answered = await changes_since(reader, wanted)

    assert unanswered.answers == {}
    assert {number: tuple(answer) for number, answer in answered.answers.items()} == {request: ("refused", "so")}
    letter = await pool.fetchval("select id from saga.dead_letters")
    assert answered.letters == {EntryPlace("saga:events", "7-0"): LetterOfEntry(letter, "no data")}


async def test_however_commits_overlap_each_change_is_told_once(
    store: PostgresStore, pool: asyncpg.Pool, reader: asyncpg.Connection, postgres_dsn: str
) -> None:
    """Two writers commit as they will while looks go on, and a third begins first and commits last."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    drawn = random.Random(seed)
    slow: asyncpg.Connection = await asyncpg.connect(postgres_dsn)
    outer = slow.transaction()
    await outer.start()
    await slow.execute("insert into saga_private.changes (saga_ids) values (array[$1::uuid])", NOBODY)
    told: list[Changes] = []
    cursor = await now(reader)

    async def write(name: str) -> int:
        commits = drawn.randrange(20, 40)
        made: list[Transition] = []
        for number in range(commits):
            made = [succeed(made[0])] if made and drawn.random() < 0.3 else [start(f"{name}-{number}")]
            await store.commit(batch(*made))
        return commits

    writing = asyncio.gather(write("a"), write("b"))
    try:
        while not writing.done():
            await asyncio.sleep(0)
            told.append(await changes_since(reader, Wanted(cursor, changed_max=100)))
            cursor = told[-1].cursor
        await outer.commit()
        told.append(await changes_since(reader, Wanted(cursor, changed_max=100)))
    finally:
        await slow.close()

    last = [each.sagas for each in told]
    revisions: dict[str, list[int]] = {}
    for sagas in last:
        for saga in sagas.values():
            revisions.setdefault(saga.id, []).append(saga.revision)
    there = {str(row["id"]): row["revision"] for row in await pool.fetch("select id, revision from saga.sagas")}
    assert {saga_id: seen[-1] for saga_id, seen in revisions.items()} == there, "the last state of each was told"
    assert all(seen == sorted(set(seen)) for seen in revisions.values()), "no state was told twice"
    assert sum(each.changed for each in told) >= len(there) + 1
    assert (await writing)[0] > 0


@pytest.mark.parametrize(
    "text", ["", "5", "5@", "@1:2:", "5@1:x:", "5@1:2", "5@1:2:3;drop", "x" * 5000, "5@1:2:" + "9" * 5000], ids=len
)
def test_what_is_no_cursor_is_known_as_none(text: str) -> None:
    assert cursor_in(text) is None


async def test_a_cursor_is_text_and_is_remembered_for_a_minute(reader: asyncpg.Connection) -> None:
    cursor = await now(reader)
    again = cursor_in(str(cursor))
    assert again is not None
    assert (again.snapshot, round(again.at.timestamp(), 3)) == (cursor.snapshot, round(cursor.at.timestamp(), 3))
    later = cursor._replace(at=cursor.at.replace(year=cursor.at.year + 1))
    assert again.is_remembered_at(await now(reader))
    assert not again.is_remembered_at(later), "too old"
    assert not later.is_remembered_at(cursor), "of another database, which is ahead"
    assert not cursor._replace(snapshot="9999999:9999999:").is_remembered_at(cursor), "of another database"


UUID_KEY = "5fc78230-6705-8a70-9e7f-d493631ce20d"
FILTERS = [
    SagaFilter(),
    SagaFilter(statuses=("running",)),
    SagaFilter(statuses=("completed", "compensated")),
    SagaFilter(saga="trip"),
    SagaFilter(key="A-2"),
    SagaFilter(key=f"{{{UUID_KEY.upper()}}}"),
    SagaFilter(error_code="out_of_stock"),
    SagaFilter(error_code="undo_refused"),
    SagaFilter(statuses=("stuck",), error_code="undo_refused"),
    SagaFilter(parent_id=NOBODY),
]


async def test_a_filter_fits_in_memory_what_it_fits_in_postgres(
    postgres_dsn: str, pool: asyncpg.Pool, reader: asyncpg.Connection
) -> None:
    done, failed, stuck = begun("order", "A-1"), begun("order", "A-2"), begun("order", "A-3")
    uuid, trip, child = (
        begun("order", "5fc78230-6705-8a70-9e7f-d493631ce20d"),
        begun("trip", "A-2"),
        begun("order", "c"),
    )
    done.succeed("reserve")
    done.succeed("charge")
    failed.reject("reserve", "out_of_stock")
    await keep(postgres_dsn, done, failed, stuck, uuid, trip, child)
    await pool.execute(
        "update saga_private.sagas set status = 'stuck', extra = '{\"course\": \"backward\"}',"
        ' steps = \'[["reserve","compensation_failed",1,1,2,null,null,[],null,["undo_refused","no"],1,2]]\''
        " where id = $1",
        id_of(stuck),
    )
    await pool.execute("update saga_private.sagas set parent_id = $1 where id = $2", NOBODY, id_of(child))
    rows = await rows_of(reader, SagaSummary, "sagas", "", [])
    for wanted in FILTERS:
        conditions = wanted.conditions()
        fitting = await rows_of(reader, SagaSummary, "sagas", conditions.where(), conditions.values)
        assert fitting, wanted
        assert {row.id for row in rows if wanted.fits(row)} == {row.id for row in fitting}, wanted
        assert all(wanted.could_fit(row) for row in fitting)


# --------------------------------------------------------------------------------------------------------------- cost

SAGAS = 50_000
COMMITS = 20_000
FILL = """
insert into saga_private.sagas (
    id, created_at_ms, saga, version, key, input, status, revision, updated_at_ms, ended_at_ms, steps
)
select gen_random_uuid(), number, 'order', 'v1', 'key-' || number, '{}', 'completed', 3, number, number, '[]'
from generate_series(1, $1::integer) as number
"""
FILL_HISTORY = """
insert into saga_private.history (saga_id, revision, at_ms, event, status)
select id, line, 1, 'started', 'running' from saga_private.sagas cross join generate_series(1, 3) as line
"""
# Two minutes of a busy service: every commit has a transaction of its own.
FILL_CHANGES = """
insert into saga_private.changes (transaction_id, saga_ids)
select (pg_current_xact_id()::text::bigint + 1 + number)::text::xid8, array[gen_random_uuid(), gen_random_uuid()]
from generate_series(1, $1::integer) as number
"""
FILL_REQUESTS = """
insert into saga_private.requests (at_ms, fields) select 1, '{}' from generate_series(1, $1::integer)
"""
FILL_LETTERS = """
insert into saga_private.dead_letters (at_ms, stream, entry_id, reason, preview, raw)
select 1, 'saga:events', number::text, 'broken', '{}', '[]' from generate_series(1, $1::integer) as number
"""


@pytest.fixture(scope="module")
def full_dsn(databases: Databases) -> Iterator[str]:
    async def fill() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(FILL, SAGAS)
            await connection.execute(FILL_HISTORY)
            for fill_table in (FILL_CHANGES, FILL_REQUESTS, FILL_LETTERS):
                await connection.execute(fill_table, COMMITS)
            await connection.execute("vacuum analyze")
        finally:
            await connection.close()

    dsn = databases.create_migrated()
    run_apart(fill())
    yield dsn
    assert databases.drop(dsn) == []


async def looked(dsn: str, wanted: Wanted, *, rounds: int = 1) -> list[dict[str, Any]]:
    """The nodes of the plan by which Postgres looks, as they ran, after it has looked so often."""
    connection: asyncpg.Connection = await asyncpg.connect(dsn)
    try:
        await read_plain_values(connection)
        for _ in range(rounds):
            await changes_since(connection, wanted)
        plan = await connection.fetchval(f"explain (analyze, format json) {LOOK}", *_parameters(wanted))
    finally:
        await connection.close()
    nodes, left = [], [plan[0]["Plan"] if isinstance(plan, list) else orjson.loads(plan)[0]["Plan"]]
    while left:
        node = left.pop()
        left.extend(node.get("Plans", []))
        nodes.append(node)
    return nodes


def rows_read(nodes: list[dict[str, Any]]) -> int:
    """The rows of tables that were read, with those that a filter has dropped."""
    return sum(
        round((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in nodes
        if "Relation Name" in node
    )


@pytest.mark.parametrize("rounds", [1, 8], ids=["the first look", "after the five that settle a plan"])
async def test_a_look_scans_no_table_however_many_sagas_there_are_and_are_watched(full_dsn: str, rounds: int) -> None:
    watched: dict[str, int | None] = dict.fromkeys(saga_ids(1_000), 3)
    since = Cursor(LONG_AGO, f"{10**9}:{10**9}:")
    entries = [EntryPlace("saga:events", "7"), EntryPlace("saga:events", "none")]
    wanted = Wanted(since, changed_max=1_000, watched=watched, requests=[1, 2], entries=entries)
    nodes = await looked(full_dsn, wanted, rounds=rounds)
    assert {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"} == set()
    assert rows_read(nodes) <= 10


async def test_a_look_reads_what_has_changed_since_and_what_it_looks_up(full_dsn: str) -> None:
    connection: asyncpg.Connection = await asyncpg.connect(full_dsn)
    try:
        last = int(await connection.fetchval("select max(transaction_id)::text from saga_private.changes"))
        fresh = {str(row["id"]): 1 for row in await connection.fetch("select id from saga.sagas limit 50")}
    finally:
        await connection.close()
    since = Cursor(LONG_AGO, f"{last - 9}:{last - 9}:")
    nodes = await looked(full_dsn, Wanted(since, changed_max=1_000, fresh=dict(fresh)))
    assert {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"} == set()
    # Ten commits of two sagas that are not there; fifty sagas, and two lines of each.
    assert rows_read(nodes) <= 10 + 50 + 100 + 20
