"""Postgres as the store and the workers' inbox both use it: which errors a retry may mend, and pools of connections.

asyncpg is imported here and not by the rest of `base`: processes without Postgres need no client of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

import asyncpg
from asyncpg.pool import PoolConnectionProxy

CONNECT_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_S = 15.0
STATEMENT_CACHE_SIZE = 100

TRANSIENT_SQLSTATES: Mapping[str, str] = MappingProxyType(
    {
        "08": "the connection is lost",
        "25006": "read-only, after a failover",
        "25P03": "the transaction was idle for too long",
        "40": "deadlock or serialization failure: the server asks for a retry",
        "53": "out of connections, memory or disk",
        "55P03": "a lock cannot be had",
        "57": "the server shuts down, or the statement was cancelled",
        "58": "a system error",
    }
)
"""Classes and codes of SQLSTATE that a later retry may not meet again."""

CLIENT_ERRORS = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""Errors of the network and of asyncpg itself. Its internal ones come of a connection that the server is closing."""
CONNECTION_ERRORS = (asyncpg.PostgresError, *CLIENT_ERRORS)
"""All errors of a connection, in whatever state it is."""


def is_transient(error: asyncpg.PostgresError) -> bool:
    """True if a later retry may succeed."""
    return (error.sqlstate or "").startswith(tuple(TRANSIENT_SQLSTATES))


def is_lost(connection: PoolConnectionProxy) -> bool:
    """True if the connection's link is lost."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        # A connection whose link is lost goes back to its pool by itself, and cannot be asked any more.
        return True


def describe(error: BaseException) -> str:
    """Return the error's text with its class, for a log line."""
    return f"{error} ({type(error).__name__})" if str(error) else type(error).__name__


def new_pool(
    dsn: str,
    *,
    size_min: int,
    size_max: int,
    application_name: str,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    statement_timeout_s: float | None = None,
    statement_cache_size: int = STATEMENT_CACHE_SIZE,
) -> asyncpg.Pool:
    """Return a pool that is opened by awaiting it, which raises what asyncpg raises.

    Sessions are not reset between two uses: nothing may change them (no SET, no LISTEN, no session lock), and the round
    trip is saved. Behind pgbouncer in transaction mode use one of 1.21 or later with `max_prepared_statements` above 0,
    or a `statement_cache_size` of 0.
    """
    return asyncpg.create_pool(
        dsn,
        min_size=size_min,
        max_size=size_max,
        timeout=connect_timeout_s,
        command_timeout=statement_timeout_s,
        statement_cache_size=statement_cache_size,
        server_settings={"application_name": application_name},
        reset=_leave_session_as_it_is,
    )


async def close_pool(pool: asyncpg.Pool) -> None:
    """Close the pool in good order, or in any order when that takes too long."""
    try:
        await asyncio.wait_for(pool.close(), CLOSE_TIMEOUT_S)
    except TimeoutError:
        pool.terminate()


async def _leave_session_as_it_is(_connection: object) -> None: ...
