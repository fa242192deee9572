"""A start that is refused: the id that its caller was given, and its key, tell what became of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import orjson
import pytest

from saga_service.base.postgres import close_pool
from saga_service.core.ids import saga_id_from_event, saga_id_from_key
from saga_service.definitions import Catalog, Saga, Step, check_saga, definition_from_document
from saga_service.engine.decode import Decoder
from saga_service.engine.ports import Batch, RequestResult
from saga_service.store.pool import create_pool
from saga_service.store.postgres_store import PostgresStore
from saga_service.wire.dead_letters import DeadLetter
from saga_service.wire.entries import Entry
from saga_service.wire.transport import StreamNames
from tests.support.builders import entry
from tests.support.command_line import run_aside

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"amount": {"type": "integer"}, "order_id": {}}}
STEPS = [Step("reserve", action="stock.reserve")]
CATALOG = Catalog(
    [
        check_saga(Saga("order", key="order_id", input=SCHEMA, steps=STEPS)),
        check_saga(Saga("trip", input=SCHEMA, steps=STEPS)),
    ]
)
DECODER = Decoder(CATALOG, StreamNames(), 1_000_000)


@pytest.fixture
async def pool(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncpg.Pool]:
    monkeypatch.setenv("SAGA_POSTGRES_DSN", postgres_dsn)
    pool = await create_pool(postgres_dsn, 2)
    await PostgresStore(pool, definition_from_document).remember_definitions(CATALOG.documents())
    yield pool
    await close_pool(pool)


async def take_in(pool: asyncpg.Pool, given: Entry | None = None) -> None:
    """Put an entry aside as a replica does that cannot use it; without one, the request that is open."""
    store = PostgresStore(pool, definition_from_document)
    requests = await store.claim_requests(1_000_000, 10, 10_000)
    letters = [DECODER.decode(each, 5_000) for each in ([given] if given else requests)]
    refused = [letter for letter in letters if isinstance(letter, DeadLetter)]
    assert len(refused) == 1
    results = [RequestResult(int(each.id), "refused", refused[0].reason, None) for each in requests]
    await store.commit(Batch(dead_letters=refused, results=results))


async def test_the_id_of_a_start_by_sql_is_known_before_and_after_it_is_refused(pool: asyncpg.Pool) -> None:
    data = orjson.dumps({"order_id": "A-1", "amount": "much"}).decode()
    saga_id = await pool.fetchval("select saga.start('order', $1)::text", data)

    waiting = await run_aside("show", saga_id)
    await take_in(pool)
    by_id, by_key = await run_aside("show", saga_id), await run_aside("show", "A-1")
    letter = await run_aside("dead-letters", "show", "1")

    assert waiting.exit_code == by_id.exit_code == by_key.exit_code == 1
    assert "a request for it waits for a replica of the service" in waiting.err
    for shown in (by_id, by_key):
        assert "dead letter 1 names it, which was refused because the data does not fit the input" in shown.err
        assert "see: saga-service dead-letters show 1" in shown.err
    assert f"for the saga {saga_id}, with the key A-1" in letter.lines


@pytest.mark.parametrize(
    ("fields", "saga_id", "key"),
    [
        ({"type": "order", "subject": "A-1"}, saga_id_from_key("order", "A-1"), "A-1"),
        ({"type": "trip", "id": "e-1"}, saga_id_from_event("trip", "e-1"), None),
    ],
)
async def test_the_id_of_a_start_by_stream_is_known_when_it_is_refused(
    pool: asyncpg.Pool, fields: dict[str, str], saga_id: str, key: str | None
) -> None:
    await take_in(pool, entry({**fields, "data": '{"amount": "much"}'}))

    shown, [letter] = await run_aside("show", saga_id), (await run_aside("dead-letters", "list", "--json")).json

    assert "dead letter 1 names it" in shown.err
    assert (letter["saga_id"], letter["key"]) == (saga_id, key)


async def test_an_id_that_nothing_names_is_not_there(pool: asyncpg.Pool) -> None:
    shown = await run_aside("show", saga_id_from_key("order", "A-2"))
    assert shown.err.endswith("; see: saga-service list\n")
