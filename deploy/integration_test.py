"""Drive sagas through a running stack from outside, as any producer and any reader may: by XADD and by SQL alone.

    docker compose run --rm integration-test

Exit code 0 when each saga ended as it should, within the time.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import uuid
from dataclasses import dataclass

import asyncpg
import redis.asyncio

WITHIN_S = 60.0
POLL_S = 0.1


@dataclass(frozen=True)
class Case:
    """A saga: the entry that starts it, and how it must end."""

    name: str
    stream: str
    fields: dict[str, str]
    found_by: tuple[str, str]
    status: str
    undone: tuple[str, ...] = ()


def cases(run: str) -> list[Case]:
    """Every run has names of its own, so that it can be told from earlier ones on the same stack."""
    order = {"order_id": run, "customer": "ada", "amount": 30, "items": [{"sku": "lamp", "quantity": 1}]}
    return [
        Case(
            "a mission by flat fields completes",
            "saga_requests",
            {"robot_count": "2", "area": f"Zone-{run}"},
            ("area", f"Zone-{run}"),
            "completed",
        ),
        Case(
            "a mission whose maps do not fit is undone in reverse order",
            "saga_requests",
            {"robot_count": "3", "area": f"Crater-{run}"},
            ("area", f"Crater-{run}"),
            "compensated",
            ("perform_exploration", "allocate_resources"),
        ),
        Case(
            "an order by an event completes",
            "saga:events",
            {"type": "order.placed", "data": json.dumps(order)},
            ("order_id", run),
            "completed",
        ),
    ]


async def main() -> int:
    postgres = await asyncpg.connect(os.environ["SAGA_POSTGRES_DSN"])
    client = redis.asyncio.Redis.from_url(os.environ["SAGA_REDIS_URL"])
    try:
        results = [await passes(case, postgres, client) for case in cases(uuid.uuid4().hex[:8])]
    finally:
        await client.aclose()
        await postgres.close()
    return 0 if all(results) else 1


async def passes(case: Case, postgres: asyncpg.Connection, client: redis.asyncio.Redis) -> bool:
    began = time.monotonic()
    await client.xadd(case.stream, case.fields)
    saga = await ended(case, postgres)
    took_ms = 1000 * (time.monotonic() - began)
    status = "not there" if saga is None else saga["status"]
    undone = () if saga is None else await undone_steps(postgres, saga["id"])
    passed = (status, undone) == (case.status, case.undone)
    print(f"{'ok    ' if passed else 'FAILED'}  {case.name}: {status}, undone: {list(undone)}, {took_ms:.0f} ms")
    return passed


async def ended(case: Case, postgres: asyncpg.Connection) -> asyncpg.Record | None:
    """The saga when it has ended, or as it is when the time is up."""
    query = "select id, status, ended_at from saga.sagas where input ->> $1 = $2"
    deadline = time.monotonic() + WITHIN_S
    while True:
        saga = await postgres.fetchrow(query, *case.found_by)
        if (saga is not None and saga["ended_at"] is not None) or time.monotonic() > deadline:
            return saga
        await asyncio.sleep(POLL_S)


async def undone_steps(postgres: asyncpg.Connection, saga_id: uuid.UUID) -> tuple[str, ...]:
    query = """
        select step from saga.history
        where saga_id = $1 and event = 'compensation_succeeded' order by revision
    """
    return tuple(row["step"] for row in await postgres.fetch(query, saga_id))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
