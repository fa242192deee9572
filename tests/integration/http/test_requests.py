"""Sagas started, signalled and operated by HTTP, and dead letters put back or dropped."""

from __future__ import annotations

import asyncio

import asyncpg
import orjson
import pytest
from redis.asyncio import Redis

from saga_service.core.ids import saga_id_from_event, saga_id_from_key
from saga_service.definitions import definition_from_document, definition_to_document
from saga_service.engine.ports import Batch
from saga_service.store.process_registry import PostgresProcesses
from saga_service.streams.process_registry import own_report
from saga_service.wire.dead_letters import dead_letter
from saga_service.wire.entries import Entry
from tests.integration.cli.test_sagas import begun, keep
from tests.integration.http.conftest import Api, open_api
from tests.support.builders import PlainBlueprint, PlainCatalog, step
from tests.support.command_line import store
from tests.support.replica import answering
from tests.support.waiting import eventually

DOCUMENT = definition_to_document("order", (step("reserve"), step("charge")), {}, None)
ORDER = definition_from_document(DOCUMENT)
NOWHERE = "postgresql://somebody:hush@127.0.0.1:1/saga"


@pytest.fixture
async def defined(postgres_dsn: str) -> None:
    await store(postgres_dsn, Batch(), DOCUMENT)


async def entries(client: Redis) -> list[dict[bytes, bytes]]:
    found = await client.execute_command("XRANGE", "saga:events", "-", "+")
    return [dict(zip(fields[::2], fields[1::2], strict=True)) for _, fields in found]


async def test_a_start_is_on_the_stream_and_its_id_is_known(api: Api, client: Redis, defined: None) -> None:
    answer = await api.post("/v1/sagas", json={"saga": "order", "input": {"amount": 5}, "key": "A-1"})

    assert answer.status_code == 202
    assert answer.json()["started"]["saga_id"] == saga_id_from_key("order", "A-1")
    assert answer.headers["location"] == f"sagas/{saga_id_from_key('order', 'A-1')}"
    [entry] = await entries(client)
    assert (entry[b"type"], entry[b"subject"], orjson.loads(entry[b"data"])) == (b"order", b"A-1", {"amount": 5})


async def test_two_starts_with_one_idempotency_key_are_one_saga(api: Api, defined: None) -> None:
    starts = [
        await api.post("/v1/sagas", json={"saga": "order"}, headers={"Idempotency-Key": "once"}) for _ in range(2)
    ]
    assert {each.json()["started"]["saga_id"] for each in starts} == {saga_id_from_event("order", "once")}


async def test_a_start_that_would_be_a_dead_letter_is_refused_and_adds_nothing(
    api: Api, client: Redis, defined: None
) -> None:
    unknown = await api.post("/v1/sagas", json={"saga": "ordre"})
    no_input = await api.post("/v1/sagas", json={"saga": "order", "input": [1]})

    assert (unknown.status_code, no_input.status_code) == (422, 422)
    assert "did you mean 'order'?" in unknown.json()["detail"]
    assert "body/input" in no_input.json()["detail"]
    assert await entries(client) == []


async def test_a_wait_ends_with_its_time_and_says_how_far_the_saga_is(
    api: Api, postgres_dsn: str, defined: None
) -> None:
    waited = await api.post("/v1/sagas?wait=0.1", json={"saga": "order", "key": "A-1"})
    assert (waited.status_code, waited.json()["saga"]) == (202, None)
    await keep(postgres_dsn, begun("order", "A-1"))
    again = await api.post("/v1/sagas?wait=0.1", json={"saga": "order", "key": "A-1"})
    assert (again.status_code, again.json()["saga"]["status"]) == (200, "running")


async def test_an_operation_is_carried_out_by_a_replica_or_refused_with_its_reason(
    api: Api, pool: asyncpg.Pool, postgres_dsn: str
) -> None:
    saga = begun("order", "A-1")
    await keep(postgres_dsn, saga)
    async with answering(pool, PlainCatalog(PlainBlueprint(saga.definition)), [saga.definition]):
        paused = await api.post("/v1/sagas/A-1/operations/pause", json={"reason": "a look"})
        refused = await api.post("/v1/sagas/A-1/operations/retry", json={"reason": "x", "step": "reserve"})

    assert (paused.status_code, paused.json()["verdict"], paused.json()["status"]) == (200, "applied", "paused")
    assert (refused.status_code, refused.headers["content-type"]) == (409, "application/problem+json")
    assert (refused.json()["type"], refused.json()["outcome"]["verdict"]) == (
        "urn:saga-service:problem:refused",
        "refused",
    )
    assert refused.json()["detail"] == refused.json()["outcome"]["reason"] != ""
    history = (await api.get("/v1/sagas/A-1/history")).json()["items"]
    assert ("pause_requested", "http", "a look") in [(each["event"], each["actor"], each["reason"]) for each in history]


async def test_what_no_replica_has_answered_yet_is_accepted(api: Api, postgres_dsn: str) -> None:
    await keep(postgres_dsn, begun("order", "A-1"))
    asked = await api.post("/v1/sagas/A-1/operations/cancel?timeout=0", json={"reason": "x"})
    signalled = await api.post("/v1/sagas/A-1/signals?timeout=0", json={"name": "approved", "data": {"by": "anna"}})
    assert [each.status_code for each in (asked, signalled)] == [202, 202]
    assert [each.json()["verdict"] for each in (asked, signalled)] == [None, None]


@pytest.mark.parametrize(
    "wrong", [{}, {"reason": ""}, {"reason": "x", "step": 5}, {"reason": "x", "resolution": "maybe"}], ids=str
)
async def test_an_operation_without_what_it_needs_requests_nothing(
    api: Api, pool: asyncpg.Pool, postgres_dsn: str, wrong: dict[str, object]
) -> None:
    await keep(postgres_dsn, begun("order", "A-1"))
    answer = await api.post("/v1/sagas/A-1/operations/resolve", json=wrong)
    assert answer.status_code == 422
    assert await pool.fetchval("select count(*) from saga_private.requests") == 0


async def test_a_dead_letter_is_put_back_or_dropped(api: Api, client: Redis, postgres_dsn: str) -> None:
    letters = [
        dead_letter(Entry("saga:events", f"{number}-0", {b"type": b"order"}), "no data", number) for number in (1, 2)
    ]
    await store(postgres_dsn, Batch(dead_letters=letters))
    listed = (await api.get("/v1/dead-letters")).json()
    assert [each["entry_id"] for each in listed["items"]] == ["2-0", "1-0"]
    newer, older = (each["id"] for each in listed["items"])

    replayed = await api.post(f"/v1/dead-letters/{older}/replay")
    twice = await api.post(f"/v1/dead-letters/{older}/replay")
    dropped = await api.delete(f"/v1/dead-letters/{newer}")

    assert (twice.status_code, twice.json()["detail"]) == (409, f"dead letter {older} was replayed already")
    assert (replayed.status_code, replayed.json()["stream"], dropped.status_code) == (200, "saga:events", 204)
    assert await entries(client) == [{b"type": b"order"}]
    assert (await api.get("/v1/dead-letters")).json()["total"] == 0
    assert (await api.delete(f"/v1/dead-letters/{newer}")).status_code == 404
    assert (await api.post(f"/v1/dead-letters/{older}/replay?again=true")).status_code == 200
    assert len(await entries(client)) == 2


async def test_what_is_there_is_answered_while_a_server_is_away_and_the_rest_says_which(
    postgres_dsn: str, redis_url: str
) -> None:
    paths = ("sagas", "sagas/A-1", "dead-letters", "definitions", "processes", "streams")
    async with open_api(NOWHERE, redis_url) as api:
        no_postgres = {path: await api.get(f"/v1/{path}") for path in paths}
    async with open_api(postgres_dsn, "redis://:hush@127.0.0.1:1/0") as api:
        no_redis = {path: await api.get(f"/v1/{path}") for path in paths}

    assert {path: answer.status_code for path, answer in no_postgres.items()} == dict.fromkeys(paths, 503) | {
        "streams": 200
    }
    assert {path: answer.status_code for path, answer in no_redis.items()} == dict.fromkeys(paths, 200) | {
        "sagas/A-1": 404,
        "streams": 503,
    }
    away = no_postgres["sagas"]
    assert (away.headers["retry-after"], away.json()["type"]) == ("5", "urn:saga-service:problem:unreachable")
    assert "hush" not in away.text + no_redis["streams"].text
    assert "Redis at redis://" in no_redis["streams"].json()["detail"]


async def test_however_many_wait_for_an_answer_others_are_answered(api: Api, postgres_dsn: str) -> None:
    """More than there are connections."""
    await keep(postgres_dsn, begun("order", "A-1"))
    waiting = [
        asyncio.create_task(api.post("/v1/sagas/A-1/operations/pause?timeout=30", json={"reason": str(number)}))
        for number in range(20)
    ]

    async def all_are_requested() -> bool:
        async with asyncio.timeout(5):
            answer = await api.get("/v1/sagas")
        assert answer.status_code == 200, answer.text
        return await requests_in(postgres_dsn) == len(waiting)

    await eventually(all_are_requested)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)


async def requests_in(postgres_dsn: str) -> int:
    connection = await asyncpg.connect(postgres_dsn)
    try:
        return int(await connection.fetchval("select count(*) from saga.requests"))
    finally:
        await connection.close()


LOSSY = {
    "a number that loses digits": '{"amount": 0.12345678901234567890123}',
    "two equal names": '{"amount": 1, "amount": 2}',
    "no number": '{"amount": NaN}',
    "text that is not UTF-8": '{"amount": "\\ud800"}',
    "no JSON": '{"amount": ',
}


@pytest.mark.parametrize("data", LOSSY.values(), ids=LOSSY.keys())
async def test_a_body_of_which_a_part_would_be_lost_is_refused(
    api: Api, client: Redis, postgres_dsn: str, defined: None, data: str
) -> None:
    await keep(postgres_dsn, begun("order", "A-1"))
    bodies = {
        "sagas": f'{{"saga": "order", "input": {data}}}',
        "sagas/A-1/signals": f'{{"name": "approved", "data": {data}}}',
        "sagas/A-1/operations/resolve": f'{{"reason": "x", "step": "s", "resolution": "succeeded", "output": {data}}}',
    }
    for path, body in bodies.items():
        answer = await api.post(f"/v1/{path}", content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), answer.text
        assert "the body" in answer.json()["detail"]
    assert await entries(client) == []
    assert await requests_in(postgres_dsn) == 0


async def test_no_advice_is_for_the_command_line_alone(api: Api, defined: None) -> None:
    assert "advice" not in (await api.post("/v1/sagas", json={"saga": "ordre"})).json()


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("sagas?statsu=stuck", "query/statsu: there is no such parameter here; did you mean 'status'?"),
        ("sagas/A-1/plan?x=1", "query/x: there is no such parameter here; known: saga"),
        ("processes?x=1", "query/x: there is no such parameter here; known: with_dead"),
        ("streams?x=1", "query/x: there is no such parameter here"),
    ],
)
async def test_a_parameter_that_a_route_does_not_have_is_refused_and_never_passed_over(
    api: Api, path: str, told: str
) -> None:
    answer = await api.get(f"/v1/{path}")
    assert (answer.status_code, answer.json()["detail"]) == (422, told)


async def test_a_misspelt_name_in_a_body_is_refused(api: Api, pool: asyncpg.Pool, postgres_dsn: str) -> None:
    await keep(postgres_dsn, begun("order", "A-1"))
    answer = await api.post("/v1/sagas/A-1/signals", json={"name": "approved", "dat": {"by": "anna"}})
    assert answer.status_code == 422
    assert "body/dat" in answer.json()["detail"]
    assert await requests_in(postgres_dsn) == 0


async def test_the_streams_of_others_that_are_read_are_listed_and_one_of_a_wrong_type_hides_none(
    api: Api, client: Redis, pool: asyncpg.Pool
) -> None:
    await PostgresProcesses(pool, acquire_timeout_s=5).record(
        [(own_report("service", "a", reads=[("orders", "shop")], definitions={}, slots=2), 0)]
    )
    await client.execute_command("XADD", "orders", "*", "a", "1")
    await client.execute_command("XGROUP", "CREATE", "orders", "shop", "0")
    await client.execute_command("SET", "saga:commands:payment", "no stream")

    items = {each["stream"]: each for each in (await api.get("/v1/streams")).raise_for_status().json()["items"]}

    [group] = items["orders"]["groups"]
    assert (items["orders"]["length"], group["group"], group["pending"]) == (1, "shop", 0)
    assert group["oldest_unread_ms"] is not None
    assert (items["saga:commands:payment"]["length"], items["saga:commands:payment"]["groups"]) == (None, [])
