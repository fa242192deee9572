"""The store's connections. Every wait for one has an end, so that a dead link never wedges the service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from saga_service.base.postgres import CONNECT_TIMEOUT_S, STATEMENT_CACHE_SIZE, STATEMENT_TIMEOUT_S, new_pool
from saga_service.engine.errors import StoreUnavailable
from saga_service.store.errors import translated

APPLICATION_NAME = "saga_service"


async def create_pool(
    dsn: str,
    size: int,
    *,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    statement_timeout_s: float = STATEMENT_TIMEOUT_S,
    statement_cache_size: int = STATEMENT_CACHE_SIZE,
) -> asyncpg.Pool:
    """A pool of at most `size` connections; one is made at once, so that a wrong address shows here.

    Raises what asyncpg raises.
    """
    return await new_pool(
        dsn,
        size_min=1,
        size_max=size,
        application_name=APPLICATION_NAME,
        connect_timeout_s=connect_timeout_s,
        statement_timeout_s=statement_timeout_s,
        statement_cache_size=statement_cache_size,
    )


@asynccontextmanager
async def borrowed(
    pool: asyncpg.Pool, acquire_timeout_s: float = STATEMENT_TIMEOUT_S
) -> AsyncIterator[PoolConnectionProxy]:
    """A connection for a while. Raises the errors of `engine.errors` for what goes wrong with it."""
    with translated():
        # Keeping time costs a task of its own, and an idle connection is there at once.
        limit_s = None if pool.get_idle_size() else acquire_timeout_s
        try:
            connection = await pool.acquire(timeout=limit_s)
        except TimeoutError as error:
            raise StoreUnavailable("no connection to postgres in time") from error
        try:
            yield connection
        finally:
            await pool.release(connection)
