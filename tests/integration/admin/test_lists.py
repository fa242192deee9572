"""A page of a list costs what it shows, however many rows there are and however deep it lies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import orjson
import pytest

from saga_service.admin.filters import STATUSES_TO_OPERATE, LetterFilter, SagaFilter, sagas_to_operate
from saga_service.admin.job_preview import sagas_that_fit
from saga_service.admin.lists import EXAMINED_MAX, AfterSaga, page_of_letters, page_of_sagas
from saga_service.core.vocabulary import SagaStatus
from tests.support.databases import Databases, run_apart

SAGAS = 50_000
# One saga a second. Of 1,000 sagas one runs, one is stuck, and one is of another definition; all of them are old.
FILL = """
insert into saga_private.sagas (
    id, created_at_ms, saga, version, key, input, status, revision, updated_at_ms, ended_at_ms, wake_at_ms, fault,
    steps, parent_id
)
select
    gen_random_uuid(), at_ms, case when is_old and number % 1000 = 3 then 'trip' else 'order' end, 'v1',
    'key-' || number, '{}',
    case when is_old and number % 1000 = 1 then 'running' when is_old and number % 1000 = 2 then 'stuck'
        else 'completed' end,
    1, at_ms, case when number % 1000 not in (1, 2) or not is_old then at_ms end,
    case when is_old and number % 1000 = 1 then at_ms end,
    case when number % 1000 = 4 then '{"code": "provider_down"}'::json end, '[]',
    case when number % 1000 = 5 then '5fc78230-6705-8a70-9e7f-d493631ce20d'::uuid end
from (
    select number, number <= 20000 as is_old,
        (extract(epoch from now()) * 1000)::bigint - ($1::bigint - number) * 1000 as at_ms
    from generate_series(1, $1::bigint) as number
) as moments
"""
FILL_LETTERS = """
insert into saga_private.dead_letters (at_ms, stream, entry_id, reason, preview, raw)
select 1, case when number < 100 then 'saga:replies' else 'saga:events' end, number::text, 'broken', '{}', '[]'
from generate_series(1, 50000) as number
"""


@pytest.fixture(scope="module")
def full_dsn(databases: Databases) -> str:
    """A database with many sagas, for all tests of this file."""

    async def fill() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(FILL, SAGAS)
            await connection.execute(FILL_LETTERS)
            await connection.execute("vacuum analyze")
        finally:
            await connection.close()

    dsn = databases.create_migrated()
    run_apart(fill())
    return dsn


@pytest.fixture
async def full(full_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(full_dsn)
    yield connection
    await connection.close()


class Plans:
    """The plans of the queries that a connection is asked meanwhile, with what they did."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._asked: list[tuple[str, tuple[object, ...]]] = []

    def __enter__(self) -> Plans:
        self._connection.add_query_logger(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.remove_query_logger(self._note)

    def _note(self, asked: Any) -> None:
        self._asked.append((asked.query, asked.args or ()))

    async def nodes(self) -> list[dict[str, Any]]:
        """Each node of each plan."""
        await asyncio.sleep(0)  # the connection tells of its queries in the loop's next turn
        found = []
        for query, values in self._asked:
            if query.startswith(("BEGIN", "COMMIT")):
                continue
            plan = await self._connection.fetchval(f"explain (analyze, format json) {query}", *values)
            left = [orjson.loads(plan)[0]["Plan"]]
            while left:
                found.append(node := left.pop())
                left.extend(node.get("Plans", []))
        return found


async def check(full: asyncpg.Connection, plans: Plans, rows_max: int) -> None:
    """No table is read from end to end, and no part of a query goes through more rows than it may."""
    nodes = await plans.nodes()
    assert [node for node in nodes if node["Node Type"] == "Seq Scan"] == []
    rows = max(node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0) for node in nodes)
    assert rows <= rows_max


WALKED = {
    "all": SagaFilter(),
    "of a status that most have": SagaFilter(statuses=["completed"]),
    "of a definition that few have": SagaFilter(saga="trip"),
    "older": SagaFilter(older_than=timedelta(hours=8), saga="order"),
    "newer": SagaFilter(newer_than=timedelta(hours=2)),
}
READ_WHOLE = {
    "stuck": SagaFilter(statuses=["stuck"]),
    "undone for an error": SagaFilter(error_code="provider_down"),
    "of a key": SagaFilter(key="key-77"),
    "children": SagaFilter(parent_id="5fc78230-6705-8a70-9e7f-d493631ce20d"),
}


@pytest.mark.parametrize("wanted", WALKED.values(), ids=WALKED.keys())
async def test_a_page_looks_at_a_bounded_number_of_sagas(full: asyncpg.Connection, wanted: SagaFilter) -> None:
    with Plans(full) as plans:
        page = await page_of_sagas(full, wanted, 50)
        if page.next is not None:
            await page_of_sagas(full, wanted, 50, page.next)
    await check(full, plans, EXAMINED_MAX)


@pytest.mark.parametrize("wanted", READ_WHOLE.values(), ids=READ_WHOLE.keys())
async def test_where_few_sagas_fit_only_those_are_read(full: asyncpg.Connection, wanted: SagaFilter) -> None:
    with Plans(full) as plans:
        page = await page_of_sagas(full, wanted, 50)
    assert page.items
    await check(full, plans, 70)


async def test_the_few_that_are_in_flight_are_on_the_first_page_though_many_have_ended_since(
    full: asyncpg.Connection,
) -> None:
    with Plans(full) as plans:
        page = await page_of_sagas(full, SagaFilter(statuses=["running"]), 50)
    assert (len(page.items), page.next) == (20, None)
    await check(full, plans, EXAMINED_MAX)


async def test_what_a_job_would_operate_is_found_without_a_look_at_what_has_ended(full: asyncpg.Connection) -> None:
    for statuses in set(STATUSES_TO_OPERATE.values()):
        with Plans(full) as plans:
            ids, fit = await sagas_that_fit(full, SagaFilter(statuses, saga="order"), None)
        assert len(ids) == fit
        await check(full, plans, 50)
    with Plans(full) as plans:
        ids, fit = await sagas_that_fit(full, SagaFilter([SagaStatus.RUNNING]), 5)
    assert (len(ids), fit) == (5, 20)
    await check(full, plans, 50)


async def test_what_is_operated_at_once_is_found_without_a_look_at_what_has_ended(full: asyncpg.Connection) -> None:
    with Plans(full) as plans:
        sagas, fit = await sagas_to_operate(full, SagaFilter([SagaStatus.RUNNING, SagaStatus.STUCK]), 5)
    assert (len(sagas), fit) == (5, 40)
    await check(full, plans, 50)


async def test_a_deep_page_costs_what_the_first_one_does(full: asyncpg.Connection) -> None:
    deep = AfterSaga(await full.fetchval("select created_at from saga.sagas where key = 'key-100'"), "f" * 32)
    with Plans(full) as plans:
        page = await page_of_sagas(full, SagaFilter(), 50, deep)
    assert [each.key for each in page.items[:2]] == ["key-100", "key-99"]
    await check(full, plans, 51)


async def test_what_is_rare_and_has_no_index_is_found_by_short_pages_that_lead_on(full: asyncpg.Connection) -> None:
    sizes, place = [], None
    while True:
        page = await page_of_sagas(full, SagaFilter(saga="trip"), 50, place)
        sizes.append(len(page.items))
        if (place := page.next) is None:
            break
    assert (sum(sizes), len(sizes)) == (20, 3)


async def test_a_page_of_dead_letters_looks_at_a_bounded_number(full: asyncpg.Connection) -> None:
    sizes, place = [], None
    with Plans(full) as plans:
        while True:
            page = await page_of_letters(full, LetterFilter(stream="saga:replies"), 60, place)
            sizes.append(len(page.items))
            if (place := page.next) is None:
                break
    assert sizes == [0, 0, 60, 39]
    await check(full, plans, EXAMINED_MAX)
