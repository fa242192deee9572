"""A payment worker in two kinds, transactional and recorded, on a database of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from saga_service.worker import (
    PostgresInbox,
)
from saga_service.worker.inbox.postgres import OpenInbox
from tests.support.inbox import Payment


@pytest.fixture
async def dsn(blank_postgres_dsn: str) -> str:
    await asyncio.gather(*(PostgresInbox(blank_postgres_dsn).create_tables() for _ in range(10)))
    return blank_postgres_dsn


@pytest.fixture
async def inbox(dsn: str) -> AsyncIterator[OpenInbox]:
    async with PostgresInbox(dsn).open() as inbox:
        yield inbox


@pytest.fixture
async def ledger(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    await connection.execute("create table ledger (saga_id text, direction text)")
    yield connection
    await connection.close()


@pytest.fixture
def transactional(inbox: OpenInbox, dsn: str, ledger: asyncpg.Connection) -> Payment:
    return Payment(inbox, dsn, ledger, transactional=True)


@pytest.fixture
def recorded(inbox: OpenInbox, dsn: str, ledger: asyncpg.Connection) -> Payment:
    return Payment(inbox, dsn, ledger, transactional=False)


@pytest.fixture(params=["transactional", "recorded"])
def payment(request: pytest.FixtureRequest) -> Payment:
    either: Payment = request.getfixturevalue(request.param)
    return either
