"""Waits by HTTP: however many wait, one look at Postgres serves them all, and each is answered when it comes."""

from __future__ import annotations

import asyncio

import asyncpg
import httpx
import pytest

from saga_service.admin.changes import Changes, Wanted, changes_since
from saga_service.core.events import Started
from saga_service.core.ids import saga_id_from_key
from saga_service.definitions import definition_from_document, definition_to_document
from saga_service.engine.ports import Batch
from saga_service.http.live import reader
from saga_service.settings import Settings
from saga_service.store.postgres_store import PostgresStore
from saga_service.wire.dead_letters import dead_letter
from saga_service.wire.entries import Entry
from tests.integration.cli.test_sagas import begun, keep
from tests.integration.http.conftest import Api, open_api, open_server
from tests.integration.http.test_events import finish
from tests.support.builders import PlainBlueprint, PlainCatalog, SagaInMemory, step
from tests.support.command_line import store as keep_definition
from tests.support.replica import answering
from tests.support.waiting import eventually

DOCUMENT = definition_to_document("order", (step("reserve"), step("charge")), {}, None)


def ordered(key: str) -> SagaInMemory:
    defined = definition_from_document(DOCUMENT)
    saga = SagaInMemory(defined)
    saga.apply(Started(saga_id_from_key("order", key), "order", defined.version, key, {}))
    return saga


async def waiting_sagas(api: Api) -> int:
    """How many sagas somebody waits for or comes to."""
    live = api._transport.app.state.live  # type: ignore[attr-defined]  # of httpx: the application that it asks
    return len(live.sagas._sagas) + len(live._coming)


async def test_a_start_is_answered_when_the_saga_has_ended(api: Api, store: PostgresStore, postgres_dsn: str) -> None:
    await keep_definition(postgres_dsn, Batch(), DOCUMENT)
    starting = asyncio.create_task(api.post("/v1/sagas?wait=30", json={"saga": "order", "key": "A-1"}))
    await eventually(lambda: waiting_sagas(api))
    saga = ordered("A-1")
    await keep(postgres_dsn, saga)
    await finish(store, saga)
    answer = await starting
    assert (answer.status_code, answer.json()["saga"]["status"]) == (200, "completed")
    await eventually(lambda: waiting_none(api))


async def waiting_none(api: Api) -> bool:
    return await waiting_sagas(api) == 0


async def test_a_start_whose_entry_became_a_dead_letter_is_told_why(api: Api, postgres_dsn: str) -> None:
    await keep_definition(postgres_dsn, Batch(), DOCUMENT)
    starting = asyncio.create_task(api.post("/v1/sagas?wait=30", json={"saga": "order", "key": "A-1"}))
    live = api._transport.app.state.live  # type: ignore[attr-defined]  # of httpx: the application that it asks
    [entry] = await eventually(live.letters.keys)
    letter = dead_letter(Entry(entry.stream, entry.entry_id, {b"type": b"order"}), "no worker has it", 1)
    await keep_definition(postgres_dsn, Batch(dead_letters=[letter]))
    answer = await starting
    assert answer.status_code == 409
    assert answer.json()["detail"].endswith(": no worker has it")


async def test_a_saga_can_be_waited_for_by_whoever_did_not_start_it(
    api: Api, store: PostgresStore, postgres_dsn: str
) -> None:
    saga = begun("order", "A-1")
    await keep(postgres_dsn, saga)
    as_it_is = await api.get("/v1/sagas/A-1?wait=0.05")
    waiting = asyncio.create_task(api.get("/v1/sagas/A-1?wait=30"))
    await eventually(lambda: waiting_sagas(api))
    await finish(store, saga)
    at_rest = await waiting
    at_once = await api.get("/v1/sagas/A-1?wait=30")
    assert [each.json()["saga"]["status"] for each in (as_it_is, at_rest, at_once)] == [
        "running",
        "completed",
        "completed",
    ]
    assert [line["revision"] for line in at_rest.json()["history"]] == [1, 2, 3]


async def test_one_look_serves_all_who_wait(
    postgres_dsn: str, redis_url: str, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    async def counted(connection: asyncpg.Connection, wanted: Wanted) -> Changes:
        looks.append(len(wanted.requests) + len(wanted.watched) + len(wanted.fresh))
        return await changes_since(connection, wanted)

    monkeypatch.setattr(reader, "changes_since", counted)
    saga, others = begun("order", "A-1"), [begun("order", f"B-{number}") for number in range(10)]
    await keep(postgres_dsn, saga, *others)
    async with open_api(postgres_dsn, redis_url, Settings(http_poll_ms=200)) as api:
        asked = [
            *(api.post("/v1/sagas/A-1/operations/pause?timeout=30", json={"reason": str(each)}) for each in range(10)),
            *(api.get(f"/v1/sagas/B-{each}?wait=1") for each in range(10)),
        ]
        waiting = [asyncio.create_task(each) for each in asked]
        await eventually(lambda: max(looks, default=0) == len(asked))
        before, began_s = len(looks), asyncio.get_running_loop().time()
        async with answering(pool, PlainCatalog(PlainBlueprint(saga.definition)), [saga.definition]):
            answers = await asyncio.gather(*waiting)
        took_s = asyncio.get_running_loop().time() - began_s
    assert {answer.status_code for answer in answers} == {200}
    assert [answer.json()["verdict"] for answer in answers[:10]].count("applied") == 1
    assert len(looks) - before <= took_s / 0.2 + 2
    assert not looks or looks[-1] <= len(asked)


async def test_a_process_that_stops_answers_those_who_wait(postgres_dsn: str, redis_url: str) -> None:
    await keep(postgres_dsn, begun("order", "A-1"))
    async with (
        open_server(postgres_dsn, redis_url, Settings(shutdown_grace_ms=60_000)) as (address, stop),
        httpx.AsyncClient(base_url=address, timeout=30) as client,
    ):
        waits = [
            asyncio.create_task(client.get("/v1/sagas/A-1?wait=60")),
            asyncio.create_task(client.post("/v1/sagas/A-1/operations/pause?timeout=60", json={"reason": "x"})),
        ]
        connection = await asyncpg.connect(postgres_dsn)
        await eventually(lambda: connection.fetchval("select count(*) from saga.requests"))
        await connection.close()
        stop.set()
        async with asyncio.timeout(10):
            answers = [await each for each in waits]
    assert [answer.status_code for answer in answers] == [200, 202]
