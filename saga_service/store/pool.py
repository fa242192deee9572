"""The store's connections, and the errors of Postgres and its client as those of `engine.failures`.

Every wait for a connection has an end, so that a dead link never wedges the service. `base.postgres` has the kinds of
errors by SQLSTATE.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import asyncpg
import orjson
from asyncpg.pool import PoolConnectionProxy

from saga_service.base.liveness import moved
from saga_service.base.postgres import (
    CLIENT_ERRORS,
    CONNECT_TIMEOUT_S,
    STATEMENT_CACHE_SIZE,
    STATEMENT_TIMEOUT_S,
    ErrorKind,
    condemns_sessions,
    describe,
    kind_of,
    new_pool,
)
from saga_service.engine.failures import (
    RequestsAnswered,
    RequestsOutOfOrder,
    RevisionConflict,
    StoreBroken,
    StoreConflict,
    StoreDenied,
    StoreFailed,
    StoreRefused,
    StoreTimedOut,
    StoreUnavailable,
)

REVISION_CONFLICT, REQUESTS_ANSWERED, REQUESTS_OUT_OF_ORDER = "SG001", "SG002", "SG003"
"""Raised by saga_private.commit_batch."""

_LOST_RACES: Mapping[str, type[Exception]] = {
    REVISION_CONFLICT: RevisionConflict,
    REQUESTS_ANSWERED: RequestsAnswered,
    REQUESTS_OUT_OF_ORDER: RequestsOutOfOrder,
}
_BY_KIND: Mapping[ErrorKind, type[Exception]] = {
    ErrorKind.UNAVAILABLE: StoreUnavailable,
    ErrorKind.CONFLICT: StoreConflict,
    ErrorKind.DENIED: StoreDenied,
    ErrorKind.TIMED_OUT: StoreTimedOut,
    ErrorKind.INTERNAL: StoreFailed,
    ErrorKind.DATA: StoreRefused,
    ErrorKind.INSTALLATION: StoreBroken,
}


class Unwritable(Exception):
    """A value that Postgres could not hold, found before it was sent."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise errors of Postgres, of its client and of the network as those of `engine.failures`.

    A TimeoutError is taken for a statement's. Whoever waits for a connection in here has to tell its time-outs apart.
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _error_class(error)(describe(error)) from error
    except TimeoutError as error:
        raise StoreTimedOut(describe(error)) from error
    except CLIENT_ERRORS as error:
        raise StoreUnavailable(describe(error)) from error
    except (Unwritable, orjson.JSONEncodeError) as error:
        raise StoreRefused(describe(error)) from error


def _error_class(error: asyncpg.PostgresError) -> type[Exception]:
    return _LOST_RACES.get(error.sqlstate or "") or _BY_KIND[kind_of(error)]


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
    """A connection for a while. Raises the errors of `engine.failures` for what goes wrong with it.

    An error that may outlive its cause in a session gives up all sessions of the pool, for they were made alike.
    """
    moved()
    with translated():
        # Keeping time costs a task of its own, and an idle connection is there at once.
        connection = await (pool.acquire() if pool.get_idle_size() else _acquired_in_time(pool, acquire_timeout_s))
        try:
            yield connection
        except asyncpg.PostgresError as error:
            if condemns_sessions(error):
                await pool.expire_connections()
            raise
        finally:
            await pool.release(connection)


_waiting: dict[int, int] = {}
"""How many wait, by the identity of the pool: no attribute can be added to one, and no weak reference made of it."""


def waiting_for_connection(pool: asyncpg.Pool) -> int:
    """How many wait for a connection of the pool, or for a new one to be made."""
    return _waiting.get(id(pool), 0)


async def _acquired_in_time(pool: asyncpg.Pool, within_s: float) -> PoolConnectionProxy:
    _waiting[id(pool)] = _waiting.get(id(pool), 0) + 1
    try:
        return await pool.acquire(timeout=within_s)
    except TimeoutError as error:
        raise StoreUnavailable("no connection to postgres in time") from error
    finally:
        _waiting[id(pool)] -= 1
        if not _waiting[id(pool)]:
            del _waiting[id(pool)]
