"""The inbox's table is created, found, used by a pool of the author's own, and cleared of old rows."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from saga_service.worker import (
    PostgresInbox,
    Worker,
    WorkerCannotStart,
    WorkerOptions,
    run_workers,
)
from saga_service.worker.inbox.postgres import OpenInbox
from tests.support.inbox import CHARGE, Payment, output


async def test_old_rows_are_removed_in_batches_and_young_ones_stay(
    payment: Payment, inbox: OpenInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saga_service.worker.inbox.postgres.REMOVED_AT_ONCE_MAX", 3)
    await payment.ledger.execute(
        "insert into saga_worker.inbox (saga_id, step, action_mark, action_attempt, undo_mark, undo_attempt,"
        " fenced_until_ms, created_at)"
        " select gen_random_uuid(), 's', 'done', 1, 'never', 0, 0, now() - interval '31 days'"
        " from generate_series(1, 8)"
    )
    await payment.deliver()
    assert await inbox.remove_old() == 8
    assert await payment.ledger.fetchval("select count(*) from saga_worker.inbox") == 1


async def test_a_worker_whose_inbox_has_no_table_says_what_to_run(blank_postgres_dsn: str, redis_url: str) -> None:
    worker = Worker("payment", inbox=PostgresInbox(blank_postgres_dsn))

    @worker.handler(CHARGE)
    async def charge(command: dict[str, Any]) -> None: ...

    with pytest.raises(WorkerCannotStart, match="run: saga-service worker-migrate"):
        await run_workers([worker], WorkerOptions(redis_url=redis_url), stop=asyncio.Event())


async def test_a_pool_of_the_authors_own_is_used_and_left_open(dsn: str, ledger: asyncpg.Connection) -> None:
    async with asyncpg.create_pool(dsn, min_size=1, max_size=2) as pool:
        async with PostgresInbox(pool).open() as inbox:
            payment = Payment(inbox, dsn, ledger, transactional=True)
            assert output(await payment.deliver()) == {"by": 1}
        assert await pool.fetchval("select count(*) from saga_worker.inbox") == 1
