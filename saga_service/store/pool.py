"""The pool of connections. Every wait on it has an end, so that a dead link never wedges the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from saga_service.engine.errors import StoreUnavailable
from saga_service.store.errors import translated

APPLICATION_NAME = "saga_service"

CONNECT_TIMEOUT_SECONDS = 5.0
COMMAND_TIMEOUT_SECONDS = 15.0
ACQUIRE_TIMEOUT_SECONDS = 10.0
CLOSE_TIMEOUT_SECONDS = 5.0
STATEMENT_CACHE_SIZE = 100


async def create_pool(
    dsn: str,
    size: int,
    *,
    connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
    command_timeout_seconds: float = COMMAND_TIMEOUT_SECONDS,
    statement_cache_size: int = STATEMENT_CACHE_SIZE,
) -> asyncpg.Pool:
    """A pool of at most `size` connections; one is made at once, so that a wrong address shows here.

    Behind pgbouncer in transaction mode use one of 1.21 or later with `max_prepared_statements` above 0, or a
    `statement_cache_size` of 0. Raises what asyncpg raises.
    """
    return await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size,
        timeout=connect_timeout_seconds,
        command_timeout=command_timeout_seconds,
        statement_cache_size=statement_cache_size,
        server_settings={"application_name": APPLICATION_NAME},
        reset=_leave_as_it_is,
    )


@asynccontextmanager
async def borrowed(
    pool: asyncpg.Pool, acquire_timeout_seconds: float = ACQUIRE_TIMEOUT_SECONDS
) -> AsyncIterator[PoolConnectionProxy]:
    """A connection for a while. Raises the errors of `engine.errors` for what goes wrong with it."""
    with translated():
        # Keeping time costs a task of its own, and an idle connection is there at once.
        limit_seconds = None if pool.get_idle_size() else acquire_timeout_seconds
        try:
            connection = await pool.acquire(timeout=limit_seconds)
        except TimeoutError as error:
            raise StoreUnavailable("no connection to postgres in time") from error
        try:
            yield connection
        finally:
            await pool.release(connection)


async def close_pool(pool: asyncpg.Pool) -> None:
    """Close in good order, or after a while in any order."""
    try:
        await asyncio.wait_for(pool.close(), CLOSE_TIMEOUT_SECONDS)
    except TimeoutError:
        pool.terminate()


async def _leave_as_it_is(_connection: object) -> None:
    """Nothing here changes a session (no SET, no LISTEN, no session lock), so the round trip to reset it is saved."""
