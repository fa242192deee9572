"""`list`: filters that indexes serve, a total, and what each saga waits for."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import asyncpg
import orjson
import pytest

from saga_service.admin.filters import SagaFilter
from saga_service.base.clock import now_ms
from saga_service.definitions import Saga, Step, check_saga
from saga_service.engine.ports import Batch
from tests.integration.cli.test_sagas import HOUR_MS, begun, id_of, keep
from tests.support.command_line import run_aside, store


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, postgres_dsn: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAGA_POSTGRES_DSN", postgres_dsn)


async def keys(*options: str) -> list[str]:
    return [row["key"] for row in (await run_aside("list", "--json", *options)).json]


async def test_a_uuid_is_one_key_however_it_is_written(postgres_dsn: str) -> None:
    written = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
    await keep(postgres_dsn, begun("order", written))
    assert await keys("--key", written.upper()) == [written]
    assert await keys("--key", written[:-1]) == []


async def test_sagas_are_found_by_the_error_that_they_were_undone_for_or_are_stuck_at(postgres_dsn: str) -> None:
    fine, refused, stuck = begun("order", "A-1"), begun("order", "A-2", ago_ms=5), begun("order", "A-3", ago_ms=9)
    refused.reject("reserve", "out_of_stock")
    stuck.succeed("reserve")
    stuck.reject("charge", "no_money")
    for _ in range(20):
        if stuck.state.status == "compensating":
            stuck.undo_fails("reserve", "provider_down")
    await keep(postgres_dsn, fine, refused, stuck)

    assert await keys("--error-code", "out_of_stock") == ["A-2"]
    assert await keys("--error-code", "no_money") == ["A-3"]
    assert await keys("--error-code", "provider_down") == (["A-3"] if stuck.state.status == "stuck" else [])
    assert await keys("--error-code", "nothing") == []


@pytest.mark.parametrize("command", ["list", "retry --reason again"])
async def test_a_name_that_no_definition_has_is_told_with_the_one_that_is_meant(
    postgres_dsn: str, command: str
) -> None:
    order = check_saga(Saga("order", steps=[Step("charge", action="payment.charge")]))
    await store(postgres_dsn, Batch(), order.document)
    ran = await run_aside(*command.split(), "--saga", "ordr")
    assert "no saga 'ordr' is registered in Postgres; did you mean 'order'?" in ran.err
    assert "registered" not in (await run_aside(*command.split(), "--saga", "order")).err


async def test_ages_count_from_the_last_change(postgres_dsn: str, pool: asyncpg.Pool) -> None:
    sagas = [begun("order", f"A-{hours}", ago_ms=hours * HOUR_MS) for hours in (0, 2, 30, 800)]
    ended = begun("order", "ended", ago_ms=40 * HOUR_MS)
    ended.reject("reserve", "out_of_stock")
    await keep(postgres_dsn, *sagas, ended)
    await pool.execute(
        "update saga_private.sagas set updated_at_ms = $1 where id = $2", now_ms() - 1_000, id_of(sagas[-1])
    )

    assert await keys("--older-than", "1h") == ["A-2", "A-30", "ended"]
    assert await keys("--newer-than", "1h") == ["A-0", "A-800"]
    assert await keys("--older-than", "1h", "--newer-than", "1d") == ["A-2"]
    assert await keys("--older-than", "1h", "--limit", "1") == ["A-2"]
    assert await keys("--newer-than", "2d", "--status", "compensated") == ["ended"]


async def test_a_list_says_how_many_sagas_there_are(postgres_dsn: str) -> None:
    await keep(postgres_dsn, *(begun("order", f"A-{number}", ago_ms=number) for number in range(3)), begun("trip", "B"))

    some, one = await run_aside("list", "--saga", "order", "--limit", "2"), await run_aside("list", "--saga", "trip")

    assert (len(some.lines), some.err) == (3, "2 of 3 sagas; --limit says how many are shown\n")
    assert one.err == "1 saga\n"


async def test_a_row_says_what_is_awaited_and_until_when(postgres_dsn: str) -> None:
    running, done = begun("order", "A-1"), begun("order", "A-2", ago_ms=5)
    done.succeed("reserve")
    done.succeed("charge")
    overdue = begun("order", "A-3", ago_ms=40 * HOUR_MS)
    await keep(postgres_dsn, running, done, overdue)

    told, shown = await run_aside("list"), (await run_aside("list", "--json")).json

    first, second, third = told.lines[1:]
    assert "  reply to reserve, in " in first
    assert "reply" not in second
    assert "  reply to reserve, overdue by 1 d " in third
    [awaited] = shown[0]["awaited"]
    assert (awaited["step"], awaited["waiting_for"], awaited["signal"]) == ("reserve", "timeout", None)
    assert awaited["due_at"] > shown[0]["created_at"]
    assert shown[1]["awaited"] == []


FILL = """
insert into saga_private.sagas (
    id, created_at_ms, saga, version, input, status, revision, updated_at_ms, ended_at_ms, wake_at_ms, fault, steps
)
select
    gen_random_uuid(), at_ms, 'order', 'v1', '{}', case when number % 100 = 0 then 'running' else 'compensated' end, 1,
    at_ms, case when number % 100 > 0 then at_ms end, case when number % 100 = 0 then at_ms end,
    case when number % 500 = 1 then '{"code": "provider_down"}'::json end, '[]'
from (
    select number, (extract(epoch from now()) * 1000)::bigint - (20000 - number) * 60000::bigint as at_ms
    from generate_series(1, 20000) as number
) as moments
"""


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (SagaFilter(error_code="provider_down"), "sagas_by_error"),
        (SagaFilter(statuses=["stuck", "paused"], error_code="provider_down"), "sagas_undoing"),
        (SagaFilter(statuses=["stuck"]), "sagas_undoing"),
        (SagaFilter(older_than=timedelta(days=13)), "sagas_by_age"),
        (SagaFilter(newer_than=timedelta(hours=1)), "sagas_ended"),
        (SagaFilter(newer_than=timedelta(hours=1), statuses=["running"]), "sagas_waking"),
        (SagaFilter(key="A-1"), "sagas_by_key"),
        (SagaFilter(parent_id="5fc78230-6705-8a70-9e7f-d493631ce20d"), "sagas_by_parent"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_filter_is_served_by_an_index(full: asyncpg.Pool, wanted: SagaFilter, index: str) -> None:
    conditions = wanted.conditions()
    query = f"explain (format json) select id from saga.sagas {conditions.where()}"

    plan = orjson.dumps(orjson.loads(await full.fetchval(query, *conditions.values))).decode()

    assert f'"Index Name":"{index}"' in plan
    assert '"Seq Scan","Parallel Aware":false,"Async Capable":false,"Relation Name":"sagas"' not in plan


@pytest.fixture
async def full(pool: asyncpg.Pool) -> asyncpg.Pool:
    """A database with many sagas, most of them ended long ago."""
    await pool.execute(FILL)
    await pool.execute("vacuum analyze saga_private.sagas")
    return pool
