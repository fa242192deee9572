"""Sagas read by HTTP: pages that miss nothing, one saga as every other reader sees it, and wrong requests in words."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from structlog.testing import capture_logs

from saga_service.definitions import definition_to_document
from saga_service.engine.ports import Batch
from saga_service.http import pages
from saga_service.http.routes import saga_routes
from tests.integration.cli.test_sagas import HOUR_MS, begun, id_of, keep
from tests.integration.http.conftest import Api, open_api
from tests.support.builders import step
from tests.support.command_line import store
from tests.support.waiting import eventually


async def pages_of(api: Api, query: str) -> list[list[str]]:
    """The keys on each page of a list."""
    pages: list[list[str]] = []
    cursor = ""
    while True:
        page = (await api.get(f"/v1/sagas?{query}{cursor}")).raise_for_status().json()
        pages.append([each["key"] for each in page["items"]])
        if page["next"] is None:
            return pages
        cursor = f"&cursor={page['next']}"


async def test_pages_are_newest_first_and_miss_nothing_however_old_the_sagas_are(api: Api, postgres_dsn: str) -> None:
    ages = (0, 0, 2, 30, 30, 800, 20_000)
    await keep(postgres_dsn, *(begun("order", f"A-{place}", ago_ms=age * HOUR_MS) for place, age in enumerate(ages)))

    pages = await pages_of(api, "limit=2")

    assert [len(page) for page in pages] == [2, 2, 2, 1]
    assert sorted(pages[0]) == ["A-0", "A-1"]
    assert sorted(key for page in pages for key in page) == [f"A-{place}" for place in range(len(ages))]
    assert pages[3] == ["A-6"]


async def test_a_saga_that_comes_in_between_two_pages_shifts_none(api: Api, postgres_dsn: str) -> None:
    await keep(postgres_dsn, *(begun("order", f"A-{age}", ago_ms=age * HOUR_MS) for age in (1, 2, 3)))
    first = (await api.get("/v1/sagas?limit=2")).json()
    await keep(postgres_dsn, begun("order", "new"))

    second = (await api.get(f"/v1/sagas?limit=2&cursor={first['next']}")).json()

    assert [each["key"] for each in second["items"]] == ["A-3"]


async def test_sagas_of_one_moment_are_each_on_one_page(api: Api, postgres_dsn: str, pool: asyncpg.Pool) -> None:
    await keep(postgres_dsn, *(begun("order", f"A-{number}") for number in range(7)))
    await pool.execute(
        "update saga_private.sagas set created_at_ms = (select min(created_at_ms) from saga_private.sagas)"
    )

    pages = await pages_of(api, "limit=3")

    assert sorted(key for page in pages for key in page) == [f"A-{number}" for number in range(7)]


async def test_filters_are_those_of_the_command_line(api: Api, postgres_dsn: str) -> None:
    done, failed, other = begun("order", "A-1"), begun("order", "A-2", ago_ms=5 * HOUR_MS), begun("trip", "A-1")
    done.succeed("reserve")
    done.succeed("charge")
    failed.reject("reserve", "out_of_stock")
    await keep(postgres_dsn, done, failed, other)

    async def found(query: str) -> list[str]:
        return [each["id"] for each in (await api.get(f"/v1/sagas?{query}")).raise_for_status().json()["items"]]

    assert await found("status=completed") == [id_of(done)]
    assert set(await found("status=completed&status=compensated")) == {id_of(done), id_of(failed)}
    assert await found("error_code=out_of_stock") == [id_of(failed)]
    assert set(await found("key=A-1")) == {id_of(done), id_of(other)}
    assert await found("saga=trip") == [id_of(other)]
    for age in ("PT4H", "14400", "14400.5"):
        assert await found(f"older_than={age}") == [id_of(failed)]


async def test_whoever_has_many_lists_counted_leaves_connections_to_the_others(
    api: Api, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(postgres_dsn, begun("order", "A-1"))
    counts: list[str] = []
    over = asyncio.Event()

    async def slow(_: object, view: str, *__: object) -> int:
        counts.append(view)
        await over.wait()
        return 1

    monkeypatch.setattr(pages, "count_of", slow)
    lists = [asyncio.create_task(api.get(f"/v1/{path}")) for path in ("sagas", "dead-letters") * 10]
    await eventually(lambda: counts and len(counts) + sum(each.done() for each in lists) == len(lists))
    assert (await api.get("/v1/sagas/A-1")).status_code == 200
    over.set()
    answers = [(await each).raise_for_status().json() for each in lists]
    assert 0 < len(counts) < len(lists)
    assert [each["total"] for each in answers].count(1) == len(counts)
    assert [each["total_is_exact"] for each in answers if each["total"] is None] == [False] * (20 - len(counts))


async def test_a_total_is_exact_as_far_as_it_is_counted(
    api: Api, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(postgres_dsn, *(begun("order", f"A-{number}") for number in range(4)))
    monkeypatch.setattr(pages, "COUNTED_MAX", 4)
    exact = (await api.get("/v1/sagas?limit=1")).json()
    assert (exact["total"], exact["total_is_exact"]) == (4, True)
    monkeypatch.setattr(pages, "COUNTED_MAX", 3)
    more = (await api.get("/v1/sagas?limit=1")).json()
    assert (more["total"], more["total_is_exact"]) == (3, False)


@pytest.mark.parametrize("by", ["id", "key"])
async def test_one_saga_is_found_by_its_id_and_by_its_key(api: Api, postgres_dsn: str, by: str) -> None:
    saga = begun("order", "A-1")
    saga.succeed("reserve")
    await keep(postgres_dsn, saga)

    story = (await api.get(f"/v1/sagas/{id_of(saga) if by == 'id' else 'A-1'}")).raise_for_status().json()

    assert (story["saga"]["id"], story["saga"]["status"]) == (id_of(saga), "running")
    assert [(each["step"], each["status"]) for each in story["steps"]] == [
        ("reserve", "succeeded"),
        ("charge", "dispatched"),
    ]
    assert [each["event"] for each in story["history"]] == ["started", "action_succeeded"]


async def test_a_history_is_read_in_pages_by_revision(api: Api, postgres_dsn: str) -> None:
    saga = begun("order", "A-1")
    saga.succeed("reserve")
    saga.succeed("charge")
    await keep(postgres_dsn, saga)

    first = (await api.get("/v1/sagas/A-1/history?limit=2")).json()
    rest = (await api.get(f"/v1/sagas/A-1/history?limit=2&after_revision={first['next']}")).json()

    assert [each["revision"] for each in [*first["items"], *rest["items"]]] == [1, 2, 3]
    assert rest["next"] is None


async def test_a_plan_says_what_would_be_undone_in_which_order(api: Api, postgres_dsn: str, pool: asyncpg.Pool) -> None:
    document = definition_to_document("order", (step("reserve"), step("charge")), {}, None)
    saga = begun("order", "A-1")
    saga.succeed("reserve")
    await keep(postgres_dsn, saga)
    unknown = await api.get("/v1/sagas/A-1/plan")
    await store(postgres_dsn, Batch(), document)
    await pool.execute("update saga_private.sagas set version = $1", document["version"])

    plan = (await api.get("/v1/sagas/A-1/plan")).raise_for_status().json()["plan"]

    assert (unknown.status_code, "is not registered" in unknown.json()["detail"]) == (409, True)
    assert plan["awaited"] == ["charge"]
    assert [[undo["step"] for undo in wave] for wave in plan["waves"]] == [["reserve"]]


# The place of a saga that began in the year 1.
BEFORE_ALL = "MDAwMS0wMS0wMVQwMDowMDowMCswMDowMCA1ZmM3ODIzMC02NzA1LThhNzAtOWU3Zi1kNDkzNjMxY2UyMGQ"
WRONG = {
    "sagas/nothing": (404, "no saga has the id or the key 'nothing'"),
    "sagas/nothing/history": (404, "no saga has the id or the key 'nothing'"),
    "sagas/nothing/plan": (404, "no saga has the id or the key 'nothing'"),
    "sagas?limit=0": (422, "query/limit"),
    "sagas?limit=501": (422, "query/limit"),
    "sagas?cursor=abc": (422, "cursor: is not the `next` of a page"),
    f"sagas?cursor={BEFORE_ALL}": (
        422,
        "cursor: is not the `next` of a page",
    ),
    "sagas?older_than=P999999999D": (422, "older_than"),
    "sagas?newer_than=P999999999D": (422, "newer_than"),
    "dead-letters?older_than=P999999999D": (422, "older_than"),
    "sagas?cursor=%00": (422, "cursor: is not the `next` of a page"),
    "sagas?parent_id=17": (422, "parent_id: must be the id of a saga"),
    "sagas?status=done": (422, "query/status/0"),
    "sagas?key=%00": (422, "Postgres cannot hold a value"),
    "sagas/%00": (422, "Postgres cannot hold a value"),
    "definitions/%00/v": (422, "Postgres cannot hold a value"),
    "dead-letters?reason=%00": (422, "Postgres cannot hold a value"),
    "sagas?older_than=soon": (422, "query/older_than"),
    "dead-letters/1": (404, "there is no dead letter 1"),
    "dead-letters/x": (422, "path/number"),
    "definitions/order/v9": (404, "no version 'v9' of 'order' is registered"),
    "nothing": (404, "Not Found"),
}


@pytest.mark.parametrize(("path", "said"), WRONG.items(), ids=WRONG.keys())
async def test_a_wrong_request_is_told_what_is_wrong_with_it(api: Api, path: str, said: tuple[int, str]) -> None:
    answer = await api.get(f"/v1/{path}")

    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (said[0], said[0])
    assert said[1] in problem["detail"]
    assert problem["type"].startswith("urn:saga-service:problem:")


async def test_a_bug_is_a_problem_too_and_tells_nothing_of_the_inside(
    postgres_dsn: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the inside")

    monkeypatch.setattr(saga_routes, "page_of_sagas", broken)
    async with open_api(postgres_dsn, redis_url, raises=False) as api:
        with capture_logs() as logs:
            answer = await api.get("/v1/sagas")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "the inside" not in answer.text
    assert [line["error"] for line in logs if line["event"] == "a request met a bug"] == ["RuntimeError('the inside')"]
