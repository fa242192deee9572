"""What all processes of the HTTP API know together: log-outs, and refusals, of which the oldest go."""

from __future__ import annotations

import time

import asyncpg
import pytest

from saga_service.engine.failures import StoreUnavailable
from saga_service.store import http_access
from saga_service.store.http_access import HttpAccess, Refusal


def refusal(caller: str | None, path: str = "/v1/sagas") -> Refusal:
    return Refusal(401 if caller is None else 403, caller, "10.0.0.1", "GET", path, "why")


async def test_a_log_out_is_known_for_as_long_as_the_session_would_have_counted(pool: asyncpg.Pool) -> None:
    access = HttpAccess(pool)
    await access.end_session("over", time.time() - 1)
    await access.end_session("a", time.time() + 60)
    await access.end_session("a", time.time() + 60)
    assert await access.ended_sessions() == {"a"}
    assert await pool.fetchval("select count(*) from saga_private.ended_sessions") == 1


async def test_refusals_are_rows_that_a_reader_sees(pool: asyncpg.Pool) -> None:
    await HttpAccess(pool).record_refusals([(refusal(None), 5), (refusal("ci"), 1)])
    rows = await pool.fetch("select times, status, caller, path from saga.refusals order by number")
    assert [tuple(each) for each in rows] == [(5, 401, None, "/v1/sagas"), (1, 403, "ci", "/v1/sagas")]


async def test_the_oldest_refusals_go_and_a_flood_of_strangers_pushes_out_no_others(pool: asyncpg.Pool) -> None:
    access = HttpAccess(pool)
    await access.record_refusals([(refusal("ci"), 1)])
    for _ in range(3):
        await access.record_refusals([(refusal(None), 1)] * 3_000)
    await access.record_refusals([(refusal("late"), 1)])
    counts = await pool.fetch("select coalesce(caller, ''), count(*) from saga.refusals group by 1 order by 1")
    assert [tuple(each) for each in counts] == [("", 5_000), ("ci", 1), ("late", 1)]
    await pool.execute("update saga_private.refusals set at = now() - interval '91 days' where caller = 'ci'")
    await access.record_refusals([(refusal("late"), 1)])
    assert await pool.fetchval("select count(*) from saga.refusals where caller = 'ci'") == 0


async def test_what_cannot_be_read_says_so(pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_access, "ENDED_SESSIONS", "select pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(StoreUnavailable):
        await HttpAccess(pool).ended_sessions()
