"""One business key is one saga, by SQL and by stream: Postgres and Python make the same key of the same data."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import asyncpg
import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, BeforeValidator

from saga_service.core.events import Started
from saga_service.core.ids import SagaId
from saga_service.definitions import Catalog, Saga, Step, Trigger, check_saga
from saga_service.definitions.document import definition_from_document
from saga_service.engine.ports import Batch, RequestResult
from saga_service.store.postgres_store import PostgresStore
from saga_service.wire.business_keys import KeyForm, key_text, written_key
from saga_service.wire.entries import Entry, Malformed
from saga_service.wire.events import read_event, read_trigger
from tests.support.builders import entry

ID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"


class ById(BaseModel):
    order_id: UUID


class ByNumber(BaseModel):
    order_id: int = 17


class ByText(BaseModel):
    order_id: str = "the first"


class Altered(BaseModel):
    order_id: Annotated[str, BeforeValidator(lambda value: value.strip() if isinstance(value, str) else value)]


def schema_of(**described: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"order_id": described}}


INPUTS: dict[str, Any] = {
    "by-id": ById,
    "by-number": ByNumber,
    "by-text": ByText,
    "altered": Altered,
    "anything": schema_of(),
    "text-or-number": schema_of(type=["string", "integer"], default=5.0),
    "whole": schema_of(type="integer"),
    "uuid": schema_of(type="string", format="uuid", default=ID.upper()),
}
CATALOG = Catalog(
    [
        check_saga(
            Saga(
                name,
                key="order_id",
                input=described,
                steps=[Step("reserve", action="stock.reserve")],
                triggers=[Trigger(stream=f"{name}-entries")],
            )
        )
        for name, described in INPUTS.items()
    ]
)

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
UUIDS = st.tuples(
    st.sampled_from(["{}", "{{{}}}", "urn:uuid:{}"]), st.uuids().map(str), st.sampled_from(["-", ""]), st.booleans()
).map(lambda drawn: drawn[0].format((drawn[1].upper() if drawn[3] else drawn[1]).replace("-", drawn[2])))
NUMERALS = st.from_regex(r"[+-]?0{0,3}[0-9]{1,25}(\.0{0,2})?", fullmatch=True)
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**60), 2**60).map(float),
)
VALUES = st.one_of(TEXTS, UUIDS, NUMERALS, NUMBERS, st.none(), st.booleans(), st.lists(st.booleans(), max_size=2))
"""Values of a key's field: texts of all characters, UUIDs and whole numbers in all spellings, and what is no key."""

FEW = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
async def keyed_store(pool: asyncpg.Pool) -> PostgresStore:
    """A store that knows the sagas of `CATALOG`."""
    store = PostgresStore(pool, definition_from_document)
    await store.remember_definitions(CATALOG.documents())
    return store


@FEW
@given(values=st.lists(st.tuples(st.sampled_from(list(KeyForm)), VALUES), min_size=1, max_size=50))
@example(
    values=[
        (form, value)
        for form in KeyForm
        for value in (ID.upper(), "{x}", "007", "-0", 5.0, 2.0**53 - 1, 2.0**53, 1e22, "5.\n", "𝒦")
    ]
)
async def test_postgres_and_python_have_one_rule_of_what_a_key_is(
    pool: asyncpg.Pool, values: list[tuple[KeyForm, Any]]
) -> None:
    rows = await pool.fetch(
        "select saga_private.key_text(form, value::jsonb) as key, value::jsonb::text as sent,"
        " saga_private.written_key(form, value) as written"
        " from unnest($1::text[], $2::text[]) with ordinality as given (form, value, place) order by place",
        [form.value for form, _ in values],
        [orjson.dumps(value).decode() for _, value in values],
    )
    for (form, value), row in zip(values, rows, strict=True):
        assert row["key"] == key_text(form, orjson.loads(row["sent"]))
        assert row["written"] == written_key(form, orjson.dumps(value).decode())


@FEW
@given(texts=st.lists(st.one_of(TEXTS, UUIDS, NUMERALS), min_size=1, max_size=50))
@example(texts=["0" * 31 + "7", "00000000-0000-0000-0000-000000000007", "+" + "7" * 32, "{" + "7" * 32 + "}", "-0"])
async def test_what_is_one_key_by_any_form_has_one_place_in_the_order_of_requests(
    pool: asyncpg.Pool, texts: list[str]
) -> None:
    spellings = [(text, written_key(form, text)) for text in texts for form in KeyForm]
    order_keys = await pool.fetch(
        "select saga_private.order_key(sent) as sent, saga_private.order_key(written) as written"
        " from unnest($1::text[], $2::text[]) as spelling (sent, written)",
        *zip(*spellings, strict=True),
    )
    assert all(row["sent"] == row["written"] for row in order_keys)


async def started_by_sql(pool: asyncpg.Pool, saga: str, data: dict[str, Any], key: str | None) -> SagaId | None:
    """The id that the caller is given; None where the start is refused at once."""
    try:
        saga_id = await pool.fetchval("select saga.start($1, $2, $3)::text", saga, orjson.dumps(data).decode(), key)
    except asyncpg.DataError:
        return None
    return SagaId(saga_id)


async def taken_in(store: PostgresStore) -> Started | None:
    """The start that a replica reads from the one open request; None where that becomes a dead letter."""
    [request] = await store.claim_requests(1_000_000, 100, 10_000)
    await store.commit(Batch(results=[RequestResult(int(request.id), "applied", "", None)]))
    return started(request)


def started(sent: Entry) -> Started | None:
    read = read_trigger if sent.stream.endswith("-entries") else read_event
    try:
        event = read(sent, CATALOG)
    except Malformed:
        return None
    assert isinstance(event, Started)
    return event


def by_stream(saga: str, data: dict[str, Any], key: str | None) -> Started | None:
    subject = {} if key is None else {"subject": key}
    return started(entry({"type": saga, "data": orjson.dumps(data), **subject}))


@FEW
@given(saga=st.sampled_from(list(INPUTS)), data=st.one_of(st.just({}), VALUES.map(lambda value: {"order_id": value})))
@example(saga="by-id", data={"order_id": ID.upper()})
@example(saga="uuid", data={})
@example(saga="by-number", data={"order_id": "007"})
@example(saga="by-number", data={"order_id": 5.0})
@example(saga="by-number", data={})
@example(saga="altered", data={"order_id": " A-1 "})
@example(saga="anything", data={"order_id": 1e17})
async def test_data_that_starts_a_saga_starts_the_same_one_by_sql_and_by_stream(
    pool: asyncpg.Pool, keyed_store: PostgresStore, saga: str, data: dict[str, Any]
) -> None:
    given_id = await started_by_sql(pool, saga, data, None)
    ways = [by_stream(saga, data, None), None if given_id is None else await taken_in(keyed_store)]
    if isinstance(data.get("order_id"), str):
        ways.append(started(entry(data, f"{saga}-entries")))
    found = [event for event in ways if event is not None]
    assert len({(event.saga_id, event.key) for event in found}) <= 1
    if ways[1] is not None:
        assert ways[1].saga_id == given_id
    value = data.get("order_id")
    is_exact = not isinstance(value, float) or abs(value) < 2**53
    if given_id is not None and is_exact:
        assert (ways[0] is None) == (ways[1] is None), "what one way takes, the other takes too"


@pytest.mark.parametrize(
    ("saga", "data", "key"),
    [
        ("by-id", {"order_id": ID.upper()}, ID),
        ("uuid", {}, ID),
        ("by-number", {"order_id": "7"}, "7"),
        ("by-number", {"order_id": 5.0}, "5"),
        ("by-number", {}, "17"),
        ("text-or-number", {}, "5"),
        ("by-text", {}, "the first"),
    ],
)
async def test_a_key_in_another_spelling_or_by_default_starts_a_saga_by_every_way(
    pool: asyncpg.Pool, keyed_store: PostgresStore, saga: str, data: dict[str, Any], key: str
) -> None:
    given_id = await started_by_sql(pool, saga, data, None)
    ways = [await taken_in(keyed_store), by_stream(saga, data, None)]
    assert [event and (event.saga_id, event.key) for event in ways] == [(given_id, key)] * 2


@FEW
@given(saga=st.sampled_from(list(INPUTS)), key=st.one_of(TEXTS, UUIDS, NUMERALS).filter(bool))
async def test_a_key_that_is_given_names_the_saga_that_it_names_in_the_data(
    pool: asyncpg.Pool, keyed_store: PostgresStore, saga: str, key: str
) -> None:
    by_data = by_stream(saga, {"order_id": key}, None)
    data = {"order_id": key} if by_data is not None else {"order_id": ID if "id" in saga else "1"}
    given_id = await started_by_sql(pool, saga, data, key)
    ways = [by_stream(saga, data, key), await taken_in(keyed_store)]
    found = {event.saga_id for event in (by_data, *ways) if event is not None}
    assert found <= {given_id}


async def test_encrypted_data_needs_its_key_beside_it(pool: asyncpg.Pool, keyed_store: PostgresStore) -> None:
    with pytest.raises(asyncpg.DataError, match="the field 'order_id' of its input") as refused:
        await pool.execute("""select saga.start('by-number', '{"$encrypted": "k1.abc"}')""")
    assert isinstance(refused.value, asyncpg.PostgresError)
    assert refused.value.hint == "Or give the key beside the input."
