"""What is asked by SQL: rows of the caller's own transaction, within the rights of a role that has no others."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson
import pytest
from asyncpg.pool import PoolConnectionProxy
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from saga_service.core.events import Event, OperationRequested, Signalled, Started
from saga_service.core.ids import SagaId, saga_id_from_key
from saga_service.core.vocabulary import Operation, Resolution
from saga_service.engine.failures import RequestsAnswered
from saga_service.engine.ports import Batch, RequestResult
from saga_service.store.postgres_store import PostgresStore
from saga_service.store.requests import OperationCall, PostgresRequests
from saga_service.wire.dead_letters import dead_letter
from saga_service.wire.encryption import encrypt_event_data
from saga_service.wire.entries import Entry
from saga_service.wire.events import read_event
from saga_service.wire.saga_spec import KEY_CHARACTERS_MAX
from saga_service.wire.transport import REQUESTS, WANTS_RESULT
from tests.support.builders import PlainBlueprint, PlainCatalog, definition
from tests.support.ciphers import MARKER, OF_NEW
from tests.support.store_batches import batch, row_counts, saga_ids, start
from tests.support.waiting import eventually

LEASE_MS = 10_000
ONE, TWO = saga_ids(2)
CATALOG = PlainCatalog(PlainBlueprint(definition("reserve")))


@pytest.fixture(autouse=True)
async def known_sagas(pool: asyncpg.Pool) -> None:
    """`order` takes no key from its input, `trip` its number."""
    await know(pool, "order", None)
    await know(pool, "trip", "number")


async def know(pool: asyncpg.Pool, saga: str, key: str | None, version: str = "v1") -> None:
    await pool.execute(
        "insert into saga_private.definitions (saga, version, compensations, document) values ($1, $2, '{}', $3)",
        saga,
        version,
        orjson.dumps({"key": key, "key_form": "text", "key_default": None}).decode(),
    )


@pytest.fixture
def requests(pool: asyncpg.Pool) -> PostgresRequests:
    return PostgresRequests(pool)


@asynccontextmanager
async def acting_as(pool: asyncpg.Pool, role: str) -> AsyncIterator[PoolConnectionProxy]:
    async with pool.acquire() as connection:
        await connection.execute(f"set role {role}")
        try:
            yield connection
        finally:
            await connection.execute("reset role")


async def claimed(store: PostgresStore, now_ms: int = 1_000_000, limit: int = 100) -> list[Entry]:
    return await store.claim_requests(now_ms, limit, LEASE_MS)


async def events(store: PostgresStore) -> list[Event]:
    return [read_event(entry, CATALOG) for entry in await claimed(store)]


# ------------------------------------------------------------------------------------------------------------- start


async def test_a_start_is_read_as_an_entry_that_starts_the_saga_with_the_id_given_back(
    pool: asyncpg.Pool, store: PostgresStore
) -> None:
    saga_id = await pool.fetchval("""select saga.start('order', '{"amount": 5}', 'A-1')::text""")

    assert saga_id == saga_id_from_key("order", "A-1")
    assert await events(store) == [Started(saga_id, "order", "v1", "A-1", {"amount": 5})]


async def test_without_a_key_each_start_is_a_saga_of_its_own(pool: asyncpg.Pool, store: PostgresStore) -> None:
    given = [await pool.fetchval("select saga.start('order')::text") for _ in range(2)]

    started = await events(store)

    assert [event.saga_id for event in started] == given
    assert len(set(given)) == 2
    assert all(isinstance(event, Started) and event.key is None for event in started)


@pytest.mark.parametrize(
    ("saga_input", "key"), [('{"number": "A-1"}', "A-1"), ('{"number": -17}', "-17"), ('{"number": 1e2}', "100")]
)
async def test_a_definition_that_takes_its_key_from_the_input_gets_it_by_sql_as_well(
    pool: asyncpg.Pool, saga_input: str, key: str
) -> None:
    """Or the same business key would start another saga than by XADD."""
    assert await pool.fetchval("select saga.start('trip', $1)::text", saga_input) == saga_id_from_key("trip", key)


async def test_a_given_key_goes_before_that_of_the_input(pool: asyncpg.Pool) -> None:
    by_key = await pool.fetchval("""select saga.start('trip', '{"number": "A-1"}', 'B-2')::text""")
    assert by_key == saga_id_from_key("trip", "B-2")


async def test_the_newest_version_of_a_definition_says_what_the_key_is(pool: asyncpg.Pool) -> None:
    await know(pool, "trip", "name", "v2")
    started = await pool.fetchval("""select saga.start('trip', '{"number": "A-1", "name": "B"}')::text""")
    assert started == saga_id_from_key("trip", "B")


async def test_the_start_of_a_saga_that_nobody_has_defined_lists_those_that_are(pool: asyncpg.Pool) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError) as refused:
        await pool.fetchval("select saga.start('ordre')")
    assert refused.value.hint == ("Known: order, trip. Sagas become known when a service that defines them starts.")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("saga.start('ordre')", "no saga 'ordre' is known"),
        ("saga.start(null)", "no saga '<NULL>' is known"),
        ("saga.start('saga.cancel')", "no saga 'saga.cancel' is known"),
        ("saga.start('order', '[]')", "a JSON object, but is array"),
        ("saga.start('order', 'null')", "a JSON object, but is null"),
        ("saga.start('order', null)", "a JSON object, but is null"),
        ("saga.start('order', '5')", "a JSON object, but is number"),
        ("saga.start('order', '{', 'A')", "invalid input syntax for type json"),
        ("""saga.start('order', '{"a": "\\u0000"}')""", "unsupported Unicode escape sequence"),
        ("saga.start('order', '{}', '')", "a key has from 1 to 500 characters, but this one has 0"),
        ("saga.start('order', '{}', repeat('k', 501))", "but this one has 501"),
        ("saga.start('trip', '{}')", "the field 'number' of its input"),
        ("""saga.start('trip', '{"number": 1.5}')""", "that must be text or a whole number"),
        ("""saga.start('trip', '{"number": true}')""", "that must be text or a whole number"),
        (
            """saga.start('trip', '{"number": 18446744073709551616}')""",
            "that must be text or a whole number of 64 bits",
        ),
        ("""saga.start('trip', '{"number": ""}')""", "but this one has 0"),
        ("saga.signal('approved')", "names no saga: give saga_id, or key"),
        ("saga.signal('approved', key => '')", "names no saga: give saga_id, or key"),
        ("saga.signal('approved', key => repeat('k', 501))", "this one has 501"),
        (f"saga.signal(null, '{ONE}')", "this one is NULL"),
        (f"saga.signal('', '{ONE}')", "this one is ''"),
        (f"saga.signal('order', '{ONE}')", "'order' is a saga, and no signal"),
        (f"saga.signal('approved', '{ONE}', '[]')", "a JSON object, but is array"),
        (f"saga.signal('approved', '{ONE}', null)", "a JSON object, but is null"),
        (f"saga.signal('approved', '{ONE}', id => repeat('i', 501))", "the id of a signal has at most 500 characters"),
        ("saga.signal('approved', 'A-1')", "invalid input syntax for type uuid"),
        (f"saga.operate('explode', '{ONE}')", "there is no operation 'explode'"),
        (f"saga.operate(null, '{ONE}')", "there is no operation NULL"),
        ("saga.operate('retry', null)", "saga_id is null"),
        (f"saga.operate('cancel', '{ONE}', step => 'charge')", "for a whole saga, and not for a step"),
        (f"saga.operate('resolve', '{ONE}')", "here resolve has NULL"),
        (f"saga.operate('resolve', '{ONE}', resolution => 'undone')", "here resolve has 'undone'"),
        (f"saga.operate('retry', '{ONE}', resolution => 'failed')", "here retry has 'failed'"),
        (f"saga.operate('retry', '{ONE}', resolution => 'nothing')", "here retry has 'nothing'"),
        (f"saga.operate('retry', '{ONE}', output => '{{}}')", "an output is a JSON object, and of a step"),
        (f"saga.operate('resolve', '{ONE}', resolution => 'failed', output => '{{}}')", "an output is a JSON object"),
        (f"saga.operate('resolve', '{ONE}', resolution => 'succeeded', output => '[]')", "an output is a JSON object"),
    ],
)
async def test_what_could_only_become_a_dead_letter_is_refused_at_once(
    pool: asyncpg.Pool, call: str, said: str
) -> None:
    with pytest.raises(asyncpg.DataError, match=r".*") as refused:
        await pool.execute(f"select {call}")
    assert said in str(refused.value)
    assert await pool.fetchval("select count(*) from saga_private.requests") == 0


async def test_what_the_caller_rolls_back_was_never_asked(pool: asyncpg.Pool, store: PostgresStore) -> None:
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("select saga.start('order', '{}', 'A-1')")
        assert await claimed(store) == [], "it is nobody's yet"
        await transaction.rollback()
        async with connection.transaction():
            await connection.execute("select saga.start('order', '{}', 'A-2')")
    assert [event.saga_id for event in await events(store)] == [saga_id_from_key("order", "A-2")]


async def test_ten_callers_at_once_with_one_key_are_given_one_saga(pool: asyncpg.Pool, store: PostgresStore) -> None:
    given = await asyncio.gather(*(pool.fetchval("select saga.start('order', '{}', 'A-1')::text") for _ in range(10)))
    assert set(given) == {saga_id_from_key("order", "A-1")}
    assert {event.saga_id for event in await events(store)} == set(given)


KEYS = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=KEY_CHARACTERS_MAX
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.lists(st.tuples(KEYS, KEYS), min_size=1, max_size=20))
@example(
    keys=[
        ("order", "𝒦-😀"),
        ("a:1", "'; drop table x; --"),
        ("1:a", ":"),
        ('"', "\\"),
        ("é", "e\u0301"),
        ("\n", "\ufeff"),
    ]
)
async def test_sql_and_the_core_come_to_the_same_id(pool: asyncpg.Pool, keys: list[tuple[str, str]]) -> None:
    rows = await pool.fetch(
        "select saga_private.saga_id_from_key(saga, key)::text as id"
        " from unnest($1::text[], $2::text[]) with ordinality as given (saga, key, place) order by place",
        [saga for saga, _ in keys],
        [key for _, key in keys],
    )
    assert [row["id"] for row in rows] == [saga_id_from_key(saga, key) for saga, key in keys]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=KEYS)
@example(key="𝒦 '\":\\ \u2028")
async def test_a_key_of_any_characters_arrives_as_it_is(pool: asyncpg.Pool, store: PostgresStore, key: str) -> None:
    saga_id = await pool.fetchval("select saga.start('order', $1, $2)::text", orjson.dumps({"k": key}).decode(), key)
    [entry] = await claimed(store)
    await store.commit(Batch(results=[RequestResult(int(entry.id), "applied", "", saga_id)]))
    assert read_event(entry, CATALOG) == Started(SagaId(saga_id), "order", "v1", key, {"k": key})


# ------------------------------------------------------------------------------------------------- signals and verbs


async def test_a_signal_is_read_as_it_was_told(pool: asyncpg.Pool, store: PostgresStore) -> None:
    told = "select saga.signal('approved', $1, $2, id => 'ticket-9')"
    await pool.execute(told, ONE, '{"by": "anna"}')
    await pool.execute("select saga.signal('approved', saga => 'order', key => 'order-1')")

    first, second = await events(store)

    assert first == Signalled(ONE, "approved", "ticket-9", {"by": "anna"}, data_bytes=len('{"by": "anna"}'))
    assert isinstance(second, Signalled)
    assert second.saga_id == saga_id_from_key("order", "order-1")


async def test_a_signal_by_sql_may_name_the_step_that_it_answers(
    requests: PostgresRequests, pool: asyncpg.Pool, store: PostgresStore
) -> None:
    await pool.execute("select saga.signal('approved', $1, step => 'second')", ONE)
    await requests.signal(ONE, "approved", {}, None, "first")
    assert [event.step for event in await events(store) if isinstance(event, Signalled)] == ["second", "first"]


async def test_two_signals_without_an_id_are_two(pool: asyncpg.Pool, store: PostgresStore) -> None:
    for _ in range(2):
        await pool.execute("select saga.signal('approved', $1, id => '')", ONE)
    assert len({event.signal_id for event in await events(store) if isinstance(event, Signalled)}) == 2


@pytest.mark.parametrize("operation", list(Operation))
async def test_every_verb_of_the_core_can_be_asked_by_sql(
    requests: PostgresRequests, store: PostgresStore, operation: Operation
) -> None:
    resolution = Resolution.FAILED if operation is Operation.RESOLVE else None
    await requests.operate([ONE], OperationCall(operation, "anna", "because", resolution=resolution))
    assert await events(store) == [
        OperationRequested(saga_id=ONE, operation=operation, actor="anna", reason="because", resolution=resolution)
    ]


@pytest.mark.parametrize("resolution", list(Resolution))
async def test_every_resolution_of_the_core_can_be_said_by_sql(
    requests: PostgresRequests, store: PostgresStore, resolution: Resolution
) -> None:
    output = {"receipt": "R-1 😀"} if resolution is Resolution.SUCCEEDED else None
    await requests.operate([ONE], OperationCall(Operation.RESOLVE, "anna", None, "charge", resolution, output))
    [asked] = await events(store)
    assert isinstance(asked, OperationRequested)
    assert (asked.step, asked.resolution, asked.output) == ("charge", resolution, output)


async def test_the_same_is_asked_of_many_in_one_statement_and_in_their_order(
    requests: PostgresRequests, store: PostgresStore
) -> None:
    many = saga_ids(500)
    numbers = await requests.operate(many, OperationCall(Operation.PAUSE, "anna"))
    by_number = {int(entry.id): read_event(entry, CATALOG).saga_id for entry in await claimed(store, limit=1_000)}
    assert [by_number[number] for number in numbers] == many


async def test_who_names_no_actor_is_the_user_of_the_session(pool: asyncpg.Pool, store: PostgresStore) -> None:
    async with acting_as(pool, "saga_operator") as connection:
        user = await connection.fetchval("select session_user")
        await connection.execute("select saga.operate('pause', $1)", ONE)
        await connection.execute("select saga.operate('pause', $1, actor => '')", ONE)
    assert [event.actor for event in await events(store) if isinstance(event, OperationRequested)] == [user, user]


# ----------------------------------------------------------------------------------------------------------- answers


async def test_an_answer_can_be_read_once_it_is_there(requests: PostgresRequests, store: PostgresStore) -> None:
    first, second = await requests.operate([ONE, TWO], OperationCall(Operation.PAUSE, "anna"))
    assert await requests.results([first, second]) == {}

    await store.commit(Batch(results=[RequestResult(first, "refused", "it has ended", ONE)]))

    assert await requests.results([first, second]) == {first: ("refused", "it has ended")}
    assert [entry.id for entry in await claimed(store)] == [str(second)]


async def test_the_first_answer_stands_where_two_replicas_answer(
    requests: PostgresRequests, store: PostgresStore, pool: asyncpg.Pool
) -> None:
    """A replica that was slower than its lease finds out that another one was quicker, and writes nothing."""
    [number] = await requests.operate([ONE], OperationCall(Operation.PAUSE, "anna"))
    await store.commit(Batch(results=[RequestResult(number, "applied", "", ONE)]))
    late = batch(start("late"))
    late.results.append(RequestResult(number, "repeated", "the saga is paused already", ONE))
    with pytest.raises(RequestsAnswered, match="1 of 1 requests are not open any more"):
        await store.commit(late)
    assert await requests.results([number]) == {number: ("applied", "")}
    assert await row_counts(pool) == {"sagas": 0, "history": 0, "outbox": 0, "dead_letters": 0}


@pytest.mark.parametrize("wants_result", [False, True])
async def test_a_request_is_answered_in_one_of_many_commits_at_once(
    pool: asyncpg.Pool, store: PostgresStore, wants_result: bool
) -> None:
    """Also where the row is gone with its answer."""
    numbers = [
        await pool.fetchval("select saga.signal('approved', $1, wants_result => $2)", ONE, wants_result)
        for _ in range(20)
    ]
    answers = [RequestResult(number, "applied", "", ONE) for number in numbers]

    async def commit(place: int) -> None:
        made = batch(start(f"order-{place}"))
        made.results = answers if place % 2 else answers[::-1]
        await store.commit(made)

    ends = await asyncio.gather(*(commit(place) for place in range(8)), return_exceptions=True)

    assert Counter(map(type, ends)) == {RequestsAnswered: 7, type(None): 1}
    assert (await row_counts(pool))["sagas"] == 1


async def test_an_answered_request_keeps_nothing_of_what_came_with_it(
    requests: PostgresRequests, store: PostgresStore, pool: asyncpg.Pool
) -> None:
    """The answer stays for an hour; data that others may want encrypted does not."""
    number = await requests.signal(ONE, "approved", {"card": "4711"}, None)
    await store.commit(Batch(results=[RequestResult(number, "applied", "", ONE)]))
    assert await requests.results([number]) == {number: ("applied", "")}
    assert await pool.fetchval("select fields::text from saga_private.requests") == "{}"


async def test_a_request_that_nobody_waits_for_is_gone_with_its_answer(
    pool: asyncpg.Pool, store: PostgresStore
) -> None:
    await pool.execute("select saga.start('order')")
    [entry] = await claimed(store)
    await store.commit(Batch(results=[RequestResult(int(entry.id), "applied", "", ONE)]))
    assert await pool.fetchval("select count(*) from saga_private.requests") == 0


async def test_a_claimed_request_says_whether_somebody_waits_for_the_answer(
    pool: asyncpg.Pool, store: PostgresStore, requests: PostgresRequests
) -> None:
    """Of one that is put back nobody does, whatever its fields say."""
    await requests.signal(ONE, "approved", {}, None)
    await pool.execute("select saga.signal('approved', $1)", ONE)
    letter = dead_letter(Entry(REQUESTS, "17", {b"type": b"approved", WANTS_RESULT: b"true"}), "no", 1)
    await store.commit(Batch(dead_letters=[letter]))
    fields = {"type": "approved", "wants_result": "true"}
    await requests.replay({await pool.fetchval("select id from saga_private.dead_letters"): fields}, 1_000)
    assert [entry.fields.get(WANTS_RESULT) for entry in await claimed(store)] == [b"true", None, None]


async def test_a_claimed_request_comes_again_only_after_its_lease(
    requests: PostgresRequests, store: PostgresStore
) -> None:
    [number] = await requests.operate([ONE], OperationCall(Operation.PAUSE, "anna"))
    assert [entry.id for entry in await claimed(store, 1_000_000)] == [str(number)]
    assert await claimed(store, 1_000_000 + LEASE_MS - 1) == []
    assert [entry.id for entry in await claimed(store, 1_000_000 + LEASE_MS)] == [str(number)]


QUEUE_FILLED = """
insert into saga_private.requests (at_ms, fields)
select 1, '{"type": "saga.pause"}' from generate_series(1, 20000)
"""
READ_SO_FAR = """
select seq_scan, idx_tup_read from pg_stat_user_tables
join pg_stat_user_indexes using (relid)
where relid = 'saga_private.requests'::regclass and indexrelname = 'requests_open'
"""


async def test_a_claim_in_a_long_queue_reads_no_more_than_it_takes(pool: asyncpg.Pool, store: PostgresStore) -> None:
    """Also with a plan that was made while the queue was empty, as it nearly always is."""
    await claimed(store)
    await pool.execute(QUEUE_FILLED)

    async def read_so_far() -> tuple[int, int]:
        async with pool.acquire() as connection:
            await connection.execute("select pg_stat_force_next_flush()")
            row = await connection.fetchrow(READ_SO_FAR)
        assert row is not None
        return row["seq_scan"], row["idx_tup_read"]

    await read_so_far()
    scans, read = await read_so_far()
    assert len(await claimed(store)) == 100

    async def counted() -> bool:
        return (await read_so_far())[1] > read

    await eventually(counted, what="the statistics of the claim")
    scans_after, read_after = await read_so_far()
    assert scans_after == scans
    assert read_after - read <= 500


async def test_a_dead_letter_that_is_not_there_is_not_put_back(pool: asyncpg.Pool, requests: PostgresRequests) -> None:
    assert await requests.replay({77: {"type": "saga.pause"}}, 1_000) == {}
    assert await pool.fetchval("select count(*) from saga_private.requests") == 0


# ------------------------------------------------------------------------------------------------------------- rights

OF_CLIENTS = ("saga.start('order')", f"saga.signal('approved', '{ONE}')", "saga.request_results('{1}')")
OF_OPERATORS = (
    f"saga.operate('pause', '{ONE}')",
    f"saga.signal('approved', '{ONE}')",
    "saga.request_results('{1}')",
    "saga.preview_job('pause', '{}', 'a look')",
    "saga.confirm_job(1, '')",
    "saga.stop_job(1)",
)
OF_NOBODY = (
    "saga_private.claim_requests(0, 1, 0)",
    "saga_private.delete_answered(0)",
    "saga_private.saga_id_from_key('a', 'b')",
    "saga_private.key_of_input('trip', '{}')",
    "saga_private.remove_sagas('{}')",
    "saga_private.take_turn(0, 0, 1, 1)",
    "saga_private.ids_with_key('{}', '{}')",
    f"saga_private.is_kept_from_above('{ONE}', 0)",
    f"saga.state('{ONE}')",
)
EVERYTHING = {*OF_CLIENTS, *OF_OPERATORS, *OF_NOBODY}
TABLES_AND_VIEWS = """
select format('%I.%I', nspname, relname) from pg_class join pg_namespace on pg_namespace.oid = relnamespace
where nspname in ('saga', 'saga_private') and relkind in ('r', 'v')
"""


@pytest.mark.parametrize(("role", "may"), [("saga_client", OF_CLIENTS), ("saga_operator", OF_OPERATORS), (None, ())])
async def test_a_role_may_call_what_is_its_own_and_nothing_else(
    pool: asyncpg.Pool, role: str | None, may: tuple[str, ...]
) -> None:
    relations = [row[0] for row in await pool.fetch(TABLES_AND_VIEWS)]
    stranger = role or f"stranger_{id(pool)}"
    if role is None:
        await pool.execute(f"create role {stranger} nologin")
    try:
        async with acting_as(pool, stranger) as connection:
            for call in may:
                await connection.execute(f"select {call}")
            for call in EVERYTHING.difference(may):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(f"select {call}")
            for relation in relations:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(f"select * from {relation}")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("create table saga.mine (a integer)")
    finally:
        if role is None:
            await pool.execute(f"drop role {stranger}")


async def test_who_may_signal_may_not_operate(pool: asyncpg.Pool) -> None:
    """A signal whose name is an operator's type would be read as one."""
    async with acting_as(pool, "saga_client") as connection:
        for operation in Operation:
            with pytest.raises(asyncpg.DataError, match=r"does not begin with 'saga\.'"):
                await connection.execute("select saga.signal($1, $2)", f"saga.{operation}", ONE)
        with pytest.raises(asyncpg.DataError, match=r"does not begin with 'saga\.'"):
            await connection.execute("select saga.signal('saga.child.start', $1)", ONE)


async def test_a_callers_own_functions_and_search_path_change_nothing(pool: asyncpg.Pool, store: PostgresStore) -> None:
    """Whatever a caller can put before the system's own names is run by nobody with more rights than the caller's."""
    traps: dict[str, Any] = {
        "sha256(bytea) returns bytea": "'\\x00'::bytea",
        "jsonb_typeof(jsonb) returns text": "'object'::text",
        "length(text) returns integer": "1",
    }
    async with acting_as(pool, "saga_client") as connection:
        for signature, body in traps.items():
            await connection.execute(f"create function pg_temp.{signature} language sql as $$ select {body} $$")
        await connection.execute("create temp table requests (id bigint, at_ms bigint, fields json)")
        await connection.execute("set search_path = pg_temp, pg_catalog")
        started = await connection.fetchval("select saga.start('order', '{}', 'A-1')::text")
        with pytest.raises(asyncpg.DataError):
            await connection.execute("select saga.start('order', '[]')")
        assert await connection.fetchval("select count(*) from pg_temp.requests") == 0
        await connection.execute("reset search_path")
        await connection.execute("discard temp")
    assert started == saga_id_from_key("order", "A-1")
    assert [event.saga_id for event in await events(store)] == [started]


async def test_data_is_encrypted_for_the_one_saga_that_it_is_for_while_it_rests(
    pool: asyncpg.Pool, store: PostgresStore
) -> None:
    requests = PostgresRequests(pool, OF_NEW)
    await requests.signal(ONE, "approved", {"by": MARKER}, "s-1")
    await requests.operate(
        [ONE, TWO],
        OperationCall(Operation.RESOLVE, "ada", step="charge", resolution=Resolution.SUCCEEDED, output={"at": MARKER}),
    )

    entries = await claimed(store)
    read = [read_event(entry, CATALOG, OF_NEW) for entry in entries]

    assert MARKER not in str(entries)
    assert [getattr(event, "data", None) or getattr(event, "output", None) for event in read] == [
        {"by": MARKER},
        {"at": MARKER},
        {"at": MARKER},
    ]


async def test_what_is_encrypted_is_started_by_sql_under_the_key_that_is_given(
    pool: asyncpg.Pool, store: PostgresStore
) -> None:
    data = encrypt_event_data(OF_NEW, "order", {"name": MARKER}, key="A-1")
    saga_id = await pool.fetchval("select saga.start('order', $1, 'A-1')::text", data)

    [started] = [read_event(entry, CATALOG, OF_NEW) for entry in await claimed(store)]

    assert isinstance(started, Started)
    assert (started.saga_id, started.input) == (saga_id, {"name": MARKER})
