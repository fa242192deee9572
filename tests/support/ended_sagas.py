"""Sagas as rows, at any end, and what is left of them: for tests of what removes and archives them."""

from __future__ import annotations

import asyncpg

from saga_service.core.ids import SagaId, saga_id_from_key

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
OLD_MS = 5_000_000
"""Long ago."""
REVISION = 3

PUT_SAGA = """
insert into saga_private.sagas (
    id, created_at_ms, saga, version, key, input, status, revision, updated_at_ms, ended_at_ms, wake_at_ms, steps,
    parent_id
) values (
    $1, 1000, $7, 'v1', $2, '{"amount": 5, "note": "Zone \u00e4"}', $3, 3, 1, $4, $5,
    '[["reserve","succeeded",1,0,2,null,null,false,{"place":"A"},null,1000,2000],
      ["charge","failed",2,0,null,null,null,false,null,["no_funds","none left"],2000,3000]]', $6
)
"""
PUT_HISTORY = """
insert into saga_private.history (saga_id, revision, at_ms, event, status, detail)
select $1, line, 1000 * line, 'any', 'running', '{"sent": ["reserve:action:1"]}' from generate_series(1, 3) as line
"""


async def put(
    connection: asyncpg.Connection | asyncpg.Pool,
    key: str,
    status: str = "completed",
    ended_at_ms: int | None = OLD_MS,
    *,
    wake_at_ms: int | None = None,
    child_of: str | None = None,
    saga: str = "order",
) -> SagaId:
    """A saga of two steps at REVISION, with its history."""
    saga_id = saga_id_from_key("order", key)
    parent_id = saga_id_from_key("order", child_of) if child_of else None
    await connection.execute(PUT_SAGA, saga_id, key, status, ended_at_ms, wake_at_ms, parent_id, saga)
    await connection.execute(PUT_HISTORY, saga_id)
    return saga_id


async def left(connection: asyncpg.Connection | asyncpg.Pool) -> list[str]:
    """The keys of the sagas that are there. Each has its whole history, and there is none besides."""
    strays = "select count(*) from saga_private.history where saga_id not in (select id from saga_private.sagas)"
    assert await connection.fetchval(strays) == 0
    rows = await connection.fetch(
        "select key, (select count(*) from saga_private.history where saga_id = sagas.id) as lines"
        " from saga_private.sagas order by key"
    )
    assert all(row["lines"] == REVISION for row in rows)
    return [row["key"] for row in rows]
