"""Postgres for one command: a connection, or a pool of one, with its failures in words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import asyncpg

from saga_service.admin.postgres_errors import postgres_errors_in_words, store_errors_in_words
from saga_service.admin.server_access import read_plain_values
from saga_service.base.postgres import close_pool
from saga_service.cli.access.effective_settings import advice_on_address
from saga_service.settings import Settings
from saga_service.store.pool import create_pool

if TYPE_CHECKING:
    pass  # most commands have no worker

CONNECT_S_MAX = 5.0


def postgres_errors_told(settings: Settings) -> AbstractContextManager[None]:
    """Turn what the driver raises into Failure. Where no address is set, that is said, and which `dev` is meant."""
    return postgres_errors_in_words(settings, partial(advice_on_address, settings))


@asynccontextmanager
async def open_postgres(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """Open one connection. Raises Failure where the server, the database or the schema cannot be used."""
    with postgres_errors_told(settings):
        connection = await asyncpg.connect(
            settings.postgres_dsn.get_secret_value(),
            timeout=CONNECT_S_MAX,
            command_timeout=settings.postgres_timeout_ms / 1000,
            # Works through any pgbouncer; a single command gains nothing from prepared statements.
            statement_cache_size=0,
            server_settings={"application_name": "saga-service"},
        )
        try:
            await read_plain_values(connection)
            yield connection
        finally:
            await connection.close(timeout=CONNECT_S_MAX)


@asynccontextmanager
async def open_pool(settings: Settings) -> AsyncIterator[asyncpg.Pool]:
    """Open a pool of one connection. Raises Failure where Postgres cannot be used."""
    with postgres_errors_told(settings), store_errors_in_words(settings):
        pool = await create_pool(settings.postgres_dsn.get_secret_value(), size=1, statement_cache_size=0)
        try:
            yield pool
        finally:
            await close_pool(pool)
