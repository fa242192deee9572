"""Jobs by HTTP: an operation on many sagas or dead letters is previewed, confirmed, carried out and stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
from redis.asyncio import Redis

from saga_service.engine.ports import Batch
from saga_service.settings.roles import Role
from saga_service.streams.connection import connect
from saga_service.wire.dead_letters import dead_letter
from saga_service.wire.entries import Entry
from saga_service.wire.process_report import ProcessReport
from tests.integration.cli.test_sagas import HOUR_MS, begun, id_of, keep
from tests.integration.http.conftest import Api, open_api
from tests.integration.http.test_rights import TOKENS, WITH_TOKENS, bearer
from tests.support.builders import PlainBlueprint, PlainCatalog, SagaInMemory
from tests.support.command_line import report, store
from tests.support.replica import answering, carrying_jobs
from tests.support.waiting import eventually

Json = Any  # what the API answers
ORDER = begun("order", "any").definition
CATALOG = PlainCatalog(PlainBlueprint(ORDER))
WHY = "the provider is back"


@pytest.fixture
async def api(postgres_dsn: str, redis_url: str) -> AsyncIterator[Api]:
    async with open_api(postgres_dsn, redis_url) as opened:
        yield opened


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    """Jobs use XADD alone, so one Redis is enough."""
    opened = connect(redis_url)
    yield opened
    await opened.aclose()


async def keep_orders(postgres_dsn: str, count: int) -> list[SagaInMemory]:
    """Sagas that run, the first of them unchanged for longest."""
    sagas = [begun("order", f"A-{number}", ago_ms=HOUR_MS - number * 1000) for number in range(count)]
    await keep(postgres_dsn, *sagas)
    return sagas


async def preview(api: Api, operation: str = "pause", **wanted: Json) -> Json:
    body: Json = {"operation": operation, "reason": WHY, "sagas": {"saga": "order"}} | wanted
    answer = await api.post("/v1/jobs", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"jobs/{answer.json()['id']}"
    return answer.json()


async def confirmed(api: Api, job: Json) -> None:
    answer = await api.post(f"/v1/jobs/{job['id']}/confirm", json={"confirm": job["confirm"]})
    assert answer.status_code == 202, answer.text


async def job_of(api: Api, job: Json) -> Json:
    return (await api.get(f"/v1/jobs/{job['id']}")).json()


async def ended(api: Api, job: Json) -> Json:
    async def has_ended() -> Json:
        shown = await job_of(api, job)
        return shown if shown["ended_at"] else None

    return await eventually(has_ended)


async def items_of(api: Api, job: Json, query: str = "") -> list[Json]:
    items: list[Json] = (await api.get(f"/v1/jobs/{job['id']}/items?{query}")).json()["items"]
    return items


async def history_of(api: Api, saga: SagaInMemory) -> list[tuple[str, str | None, str | None]]:
    lines = (await api.get(f"/v1/sagas/{id_of(saga)}/history")).json()["items"]
    return [(line["event"], line["actor"], line["reason"]) for line in lines]


# ---------------------------------------------------------------------------------------------------------- previews


async def test_a_preview_counts_what_the_list_counts_and_nothing_happens(
    api: Api, postgres_dsn: str, pool: asyncpg.Pool
) -> None:
    sagas = await keep_orders(postgres_dsn, 25)
    await keep(postgres_dsn, begun("trip", "T-1"))

    job = await preview(api)
    listed = (await api.get("/v1/sagas?saga=order&status=running")).json()

    assert (job["total"], job["fit"], listed["total"]) == (25, 25, 25)
    assert [each["id"] for each in job["sagas"]] == [id_of(saga) for saga in sagas[:20]], "the longest unchanged first"
    assert job["would"] == "send nothing more until each saga is resumed"
    shown = await job_of(api, job)
    assert (shown["status"], shown["requested"], shown["confirmed_at"], shown["filters"]) == (
        "previewed",
        0,
        None,
        {"saga": "order"},
    )
    assert await pool.fetchval("select count(*) from saga.requests") == 0
    assert "confirm" not in shown, "what confirms a job is in the answer to its preview alone"


FILTERS: list[tuple[Json, list[str]]] = [
    ({"key": "A-1"}, ["A-1"]),
    ({"saga": "trip"}, ["T-1"]),
    ({"saga": "trip", "key": "A-1"}, []),
    ({"older_than": "PT30M"}, ["A-0", "A-1"]),
    ({"newer_than": 1800}, ["T-1"]),
    ({"status": ["paused"]}, []),
    ({"status": ["running", "stuck"]}, ["A-0", "A-1", "T-1"]),
]


async def test_filters_mean_what_they_mean_in_a_list(api: Api, postgres_dsn: str) -> None:
    await keep_orders(postgres_dsn, 2)
    await keep(postgres_dsn, begun("trip", "T-1"))
    for filters, keys in FILTERS:
        job = await preview(api, sagas=filters)
        assert [each["key"] for each in job["sagas"]] == keys, filters
        assert job["total"] == len(keys)


async def test_a_limit_takes_those_unchanged_for_longest_and_says_how_many_fit(api: Api, postgres_dsn: str) -> None:
    await keep_orders(postgres_dsn, 5)
    job = await preview(api, limit=2)
    assert (job["total"], job["fit"], [each["key"] for each in job["sagas"]]) == (2, 5, ["A-0", "A-1"])


WRONG = {
    "no reason": {"operation": "pause", "sagas": {"saga": "order"}},
    "no filter": {"operation": "pause", "reason": WHY, "sagas": {}},
    "a misspelt filter": {"operation": "pause", "reason": WHY, "sagas": {"saga": "order", "statuss": ["stuck"]}},
    "no status": {"operation": "pause", "reason": WHY, "sagas": {"status": []}},
    "letters for sagas": {"operation": "pause", "reason": WHY, "dead_letters": {"stream": "saga:events"}},
    "sagas for letters": {"operation": "drop", "reason": WHY, "sagas": {"saga": "order"}},
    "letters without a filter": {"operation": "drop", "reason": WHY, "dead_letters": {"with_replayed": True}},
    "a step for a whole saga": {"operation": "cancel", "reason": WHY, "sagas": {"saga": "order"}, "step": "charge"},
    "resolve without a resolution": {"operation": "resolve", "reason": WHY, "sagas": {"saga": "order"}},
    "an output of a failure": {
        "operation": "resolve",
        "reason": WHY,
        "sagas": {"saga": "order"},
        "resolution": "failed",
        "output": {"a": 1},
    },
    "no such operation": {"operation": "explode", "reason": WHY, "sagas": {"saga": "order"}},
    "no id": {"operation": "pause", "reason": WHY, "sagas": {"parent_id": "A-1"}},
}


async def test_a_job_that_cannot_be_meant_is_refused_in_words_and_leaves_nothing(api: Api, pool: asyncpg.Pool) -> None:
    for case, body in WRONG.items():
        answer = await api.post("/v1/jobs", json=body)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), case
        assert answer.json()["detail"]
    assert await pool.fetchval("select count(*) from saga.jobs") == 0


async def test_there_is_an_end_to_previews_that_nobody_confirms(api: Api, postgres_dsn: str) -> None:
    await keep_orders(postgres_dsn, 1)
    jobs = [await preview(api) for _ in range(20)]
    body = {"operation": "pause", "reason": WHY, "sagas": {"saga": "order"}}
    refused = await api.post("/v1/jobs", json=body)
    assert (refused.status_code, "20 previews" in refused.json()["detail"]) == (409, True), refused.text
    assert (await api.post(f"/v1/jobs/{jobs[0]['id']}/stop")).json()["status"] == "stopped"
    assert (await api.post("/v1/jobs", json=body)).status_code == 201


# ------------------------------------------------------------------------------------------------------ confirmation


async def test_a_wrong_confirmation_confirms_nothing(api: Api, postgres_dsn: str) -> None:
    await keep_orders(postgres_dsn, 1)
    job, other = await preview(api), await preview(api)
    for wrong in ("", "guess", other["confirm"]):
        answer = await api.post(f"/v1/jobs/{job['id']}/confirm", json={"confirm": wrong})
        assert (answer.status_code, answer.json()["detail"]) == (
            409,
            f"this is not the confirmation of job {job['id']}: its preview has it",
        )
    assert (await job_of(api, job))["status"] == "previewed"


async def test_two_confirmations_are_one(api: Api, postgres_dsn: str, pool: asyncpg.Pool, client: Redis) -> None:
    await keep_orders(postgres_dsn, 3)
    job = await preview(api)
    answers = [await api.post(f"/v1/jobs/{job['id']}/confirm", json={"confirm": job["confirm"]}) for _ in range(2)]
    assert [each.status_code for each in answers] == [202, 200]
    async with answering(pool, CATALOG, [ORDER]), carrying_jobs(pool, client):
        shown = await ended(api, job)
    assert (shown["applied"], shown["total"], shown["confirmed_by"]) == (3, 3, "http")
    assert await pool.fetchval("select count(*) from saga.requests") == 3


async def test_an_expired_preview_is_not_confirmed(api: Api, postgres_dsn: str, pool: asyncpg.Pool) -> None:
    await keep_orders(postgres_dsn, 1)
    job = await preview(api)
    await pool.execute("update saga_private.jobs set expires_at_ms = expires_at_ms - 15 * 60 * 1000 - 1")
    answer = await api.post(f"/v1/jobs/{job['id']}/confirm", json={"confirm": job["confirm"]})
    assert (answer.status_code, "has expired" in answer.json()["detail"]) == (409, True)
    assert (await job_of(api, job))["status"] == "expired"


async def test_a_job_that_is_not_there_is_not_found(api: Api) -> None:
    assert [(await api.get(f"/v1/jobs/7{path}")).status_code for path in ("", "/items")] == [404, 404]
    assert (await api.post("/v1/jobs/7/stop")).status_code == 404
    assert (await api.post("/v1/jobs/7/confirm", json={"confirm": "x"})).status_code == 404


# -------------------------------------------------------------------------------------------------------- carried out


async def test_each_saga_is_operated_once_and_its_history_says_who_why_and_by_which_job(
    api: Api, postgres_dsn: str, pool: asyncpg.Pool, client: Redis
) -> None:
    """More sagas than may be open at once."""
    sagas = await keep_orders(postgres_dsn, 30)
    job = await preview(api)
    await confirmed(api, job)
    async with answering(pool, CATALOG, [ORDER]), carrying_jobs(pool, client, open_max=7):
        shown = await ended(api, job)

    assert (shown["status"], shown["requested"], shown["applied"], shown["open"]) == ("completed", 30, 30, 0)
    assert shown["per_s"] > 0
    for saga in sagas:
        paused = [line for line in await history_of(api, saga) if line[0] == "pause_requested"]
        assert paused == [("pause_requested", "http", f"job {job['id']}: {WHY}")]


async def test_what_was_previewed_is_what_is_done(
    api: Api, postgres_dsn: str, pool: asyncpg.Pool, client: Redis
) -> None:
    await keep_orders(postgres_dsn, 2)
    job = await preview(api)
    late = begun("order", "late")
    await keep(postgres_dsn, late)
    await confirmed(api, job)
    async with answering(pool, CATALOG, [ORDER]), carrying_jobs(pool, client):
        assert (await ended(api, job))["applied"] == 2
    assert "pause_requested" not in [event for event, _, _ in await history_of(api, late)]


async def test_what_is_refused_is_listed_with_its_reason(
    api: Api, postgres_dsn: str, pool: asyncpg.Pool, client: Redis
) -> None:
    sagas = await keep_orders(postgres_dsn, 3)
    job = await preview(api, "retry", step="reserve", sagas={"status": ["running"]})
    await pool.execute("select saga_private.remove_sagas(array[$1::uuid])", id_of(sagas[0]))
    await confirmed(api, job)
    async with answering(pool, CATALOG, [ORDER]), carrying_jobs(pool, client):
        shown = await ended(api, job)

    assert (shown["refused"], shown["applied"], shown["status"]) == (3, 0, "completed")
    refused = await items_of(api, job, "verdict=refused")
    assert [each["saga_id"] for each in refused] == [id_of(saga) for saga in sagas]
    assert refused[0]["reason"] == "the saga was removed"
    assert all("reserve" in each["reason"] for each in refused[1:])
    assert await items_of(api, job, "verdict=applied") == []


async def test_items_come_in_pages(api: Api, postgres_dsn: str) -> None:
    await keep_orders(postgres_dsn, 5)
    job = await preview(api)
    first = (await api.get(f"/v1/jobs/{job['id']}/items?limit=3")).json()
    second = (await api.get(f"/v1/jobs/{job['id']}/items?limit=3&after={first['next']}")).json()
    assert [each["position"] for each in first["items"] + second["items"]] == [1, 2, 3, 4, 5]
    assert second["next"] is None


async def test_jobs_are_listed_newest_first_and_by_their_status(api: Api, postgres_dsn: str) -> None:
    await keep_orders(postgres_dsn, 1)
    jobs = [await preview(api) for _ in range(3)]
    await api.post(f"/v1/jobs/{jobs[1]['id']}/stop")
    page = (await api.get("/v1/jobs?limit=2")).json()
    rest = (await api.get(f"/v1/jobs?limit=2&before={page['next']}")).json()
    assert [each["id"] for each in page["items"] + rest["items"]] == [each["id"] for each in reversed(jobs)]
    stopped = (await api.get("/v1/jobs?status=stopped")).json()["items"]
    assert [each["id"] for each in stopped] == [jobs[1]["id"]]


# ------------------------------------------------------------------------------------------------------------ stopped


async def test_a_job_that_is_stopped_in_the_middle_tells_what_was_requested_and_touches_nothing_else(
    api: Api, postgres_dsn: str, pool: asyncpg.Pool, client: Redis
) -> None:
    sagas = await keep_orders(postgres_dsn, 10)
    job = await preview(api)
    await confirmed(api, job)
    async with carrying_jobs(pool, client, open_max=4):

        async def some_are_requested() -> bool:
            return bool((await job_of(api, job))["requested"] == 4)

        await eventually(some_are_requested)
        stopping = (await api.post(f"/v1/jobs/{job['id']}/stop")).json()
        assert (stopping["status"], stopping["open"], stopping["stopped_by"]) == ("stopping", 4, "http")
        async with answering(pool, CATALOG, [ORDER]):
            shown = await ended(api, job)

    assert (shown["status"], shown["applied"], shown["requested"], shown["total"]) == ("stopped", 4, 4, 10)
    paused = [
        len([event for event, _, _ in await history_of(api, saga) if event == "pause_requested"]) for saga in sagas
    ]
    assert paused == [1] * 4 + [0] * 6
    again = await api.post(f"/v1/jobs/{job['id']}/stop")
    assert (again.status_code, again.json()["status"]) == (200, "stopped")
    late = await api.post(f"/v1/jobs/{job['id']}/confirm", json={"confirm": job["confirm"]})
    assert (late.status_code, late.json()["status"]) == (200, "stopped"), (
        "a confirmation that is repeated starts nothing"
    )


async def test_a_job_without_a_service_says_that_none_is_alive(api: Api, postgres_dsn: str) -> None:
    await keep_orders(postgres_dsn, 1)
    job = await preview(api)
    await confirmed(api, job)
    assert (await job_of(api, job))["problem"] == "no service is alive: it goes on once one runs"
    await report(postgres_dsn, ProcessReport(kind="service", name="replica-1"))
    assert (await job_of(api, job))["problem"] is None


async def test_a_job_of_which_nothing_is_answered_says_so(api: Api, postgres_dsn: str, pool: asyncpg.Pool) -> None:
    await keep_orders(postgres_dsn, 1)
    await report(postgres_dsn, ProcessReport(kind="service", name="replica-1"))
    job = await preview(api)
    await confirmed(api, job)
    await pool.execute("update saga_private.jobs set moved_at_ms = moved_at_ms - 30001")
    assert "no request was answered for 30 seconds" in (await job_of(api, job))["problem"]


async def test_jobs_on_sagas_need_the_roles_of_readers_and_operators_and_no_table(
    postgres_dsn: str, redis_url: str, pool: asyncpg.Pool, client: Redis
) -> None:
    await keep_orders(postgres_dsn, 2)
    name, address = f"anna_{uuid4().hex}", urlsplit(postgres_dsn)
    await pool.execute(f"create role {name} login password 'hush' in role saga_reader, saga_operator")
    try:
        netloc = f"{name}:hush@{address.netloc.rpartition('@')[2]}"
        async with open_api(urlunsplit(address._replace(netloc=netloc)), redis_url) as api:
            job = await preview(api)
            await confirmed(api, job)
            async with answering(pool, CATALOG, [ORDER]), carrying_jobs(pool, client):
                assert (await ended(api, job))["applied"] == 2
            letters = {"operation": "drop", "reason": WHY, "dead_letters": {"stream": "saga:events"}}
            refused = await api.post("/v1/jobs", json=letters)
        assert (refused.status_code, "permission denied" in refused.json()["detail"]) == (503, True)
    finally:
        await pool.execute(f"drop role {name}")


# ------------------------------------------------------------------------------------------------------- dead letters


async def keep_letters(postgres_dsn: str, *streams: str) -> None:
    letters = [
        dead_letter(Entry(stream, f"{number}-0", {b"type": b"order", b"n": b"%d" % number}), "no data", number)
        for number, stream in enumerate(streams, 1)
    ]
    await store(postgres_dsn, Batch(dead_letters=letters))


async def preview_of_letters(api: Api, operation: str, **filters: Json) -> Json:
    return await preview(api, operation, sagas=None, dead_letters=filters or {"reason": "no data"})


async def test_dead_letters_are_put_back_in_their_order_and_each_item_has_its_new_entry(
    api: Api, postgres_dsn: str, pool: asyncpg.Pool, client: Redis
) -> None:
    await keep_letters(postgres_dsn, "saga:events", "saga:events", "other")
    job = await preview_of_letters(api, "replay", stream="saga:events")
    assert (job["total"], [each["entry_id"] for each in job["dead_letters"]]) == (2, ["1-0", "2-0"])
    await confirmed(api, job)
    async with carrying_jobs(pool, client):
        shown = await ended(api, job)

    entries = await client.execute_command("XRANGE", "saga:events", "-", "+")
    assert [fields[-1] for _, fields in entries] == [b"1", b"2"]
    assert (shown["applied"], shown["refused"], shown["open"]) == (2, 0, 0)
    items = await items_of(api, job)
    assert [each["reason"] for each in items] == [f"put back as {entry_id.decode()}" for entry_id, _ in entries]
    assert (await api.get("/v1/dead-letters")).json()["total"] == 1


async def test_a_request_by_sql_that_became_a_dead_letter_is_made_again(
    api: Api, postgres_dsn: str, pool: asyncpg.Pool, client: Redis
) -> None:
    await keep_letters(postgres_dsn, "saga.requests")
    job = await preview_of_letters(api, "replay")
    await confirmed(api, job)
    async with carrying_jobs(pool, client):
        assert (await ended(api, job))["applied"] == 1
    [request_id] = [row["request_id"] for row in await pool.fetch("select request_id from saga.requests")]
    assert [each["reason"] for each in await items_of(api, job)] == [f"put back as {request_id}"]


async def test_dead_letters_are_dropped_and_those_that_are_gone_are_told(
    api: Api, postgres_dsn: str, pool: asyncpg.Pool, client: Redis
) -> None:
    await keep_letters(postgres_dsn, "saga:events", "saga:events", "other")
    job = await preview_of_letters(api, "drop")
    await pool.execute("delete from saga_private.dead_letters where stream = 'other'")
    await confirmed(api, job)
    async with carrying_jobs(pool, client):
        shown = await ended(api, job)
    assert (shown["applied"], shown["refused"], shown["total"]) == (2, 1, 3)
    [refused] = await items_of(api, job, "verdict=refused")
    assert refused["reason"] == "it was dropped by somebody else"
    assert await pool.fetchval("select count(*) from saga.dead_letters") == 0


async def test_a_dead_letter_that_somebody_else_put_back_is_not_put_back_again(
    api: Api, postgres_dsn: str, pool: asyncpg.Pool, client: Redis
) -> None:
    await keep_letters(postgres_dsn, "saga:events", "saga:events")
    job = await preview_of_letters(api, "replay")
    assert (await api.post(f"/v1/dead-letters/{job['dead_letters'][0]['id']}/replay")).status_code == 200
    await confirmed(api, job)
    async with carrying_jobs(pool, client):
        shown = await ended(api, job)
    assert (shown["applied"], shown["refused"]) == (1, 1)
    assert await client.execute_command("XLEN", "saga:events") == 2


async def test_a_dead_letter_that_redis_refuses_for_good_keeps_no_other_from_its_turn(
    api: Api, postgres_dsn: str, pool: asyncpg.Pool, client: Redis
) -> None:
    await client.execute_command("SET", "no stream", "text")
    await keep_letters(postgres_dsn, "no stream", "saga:events")
    job = await preview_of_letters(api, "replay")
    await confirmed(api, job)
    async with carrying_jobs(pool, client):
        shown = await ended(api, job)
    assert (shown["applied"], shown["refused"]) == (1, 1)
    [refused] = await items_of(api, job, "verdict=refused")
    assert "Redis refuses it" in refused["reason"]


async def test_whoever_may_not_lose_anything_has_nothing_dropped(
    postgres_dsn: str, redis_url: str, pool: asyncpg.Pool
) -> None:
    await keep_letters(postgres_dsn, "saga:events")
    body = {"operation": "drop", "reason": WHY, "dead_letters": {"stream": "saga:events"}}
    async with open_api(postgres_dsn, redis_url, WITH_TOKENS) as api:
        operator, admin = bearer(TOKENS[Role.OPERATOR]), bearer(TOKENS[Role.ADMIN])
        refused = await api.post("/v1/jobs", json=body, headers=operator)
        replay = await api.post("/v1/jobs", json=body | {"operation": "replay"}, headers=operator)
        job = (await api.post("/v1/jobs", json=body, headers=admin)).json()
        confirmation = {"confirm": job["confirm"]}
        unconfirmed = await api.post(f"/v1/jobs/{job['id']}/confirm", json=confirmation, headers=operator)
        done = await api.post(f"/v1/jobs/{job['id']}/confirm", json=confirmation, headers=admin)

    for each in (refused, unconfirmed):
        assert (each.status_code, each.json()["detail"]) == (
            403,
            "a job that drops dead letters needs the role admin, and a-operator has operator",
        )
    assert (replay.status_code, done.status_code, done.json()["confirmed_by"]) == (201, 202, "a-admin")
    actors = await pool.fetch("select operation, actor from saga.jobs order by id")
    assert [tuple(row) for row in actors] == [("replay", "a-operator"), ("drop", "a-admin")]
