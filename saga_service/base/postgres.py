"""Postgres as the store and the workers' inbox both use it: what its errors mean, and pools of connections.

asyncpg is imported here and not by the rest of `base`: processes without Postgres need no client of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Protocol

import asyncpg
from asyncpg.pool import PoolConnectionProxy


class Prepare(Protocol):
    """Makes a new session ready."""

    async def __call__(self, connection: asyncpg.Connection, /) -> None: ...


CONNECT_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_S = 15.0
STATEMENT_CACHE_SIZE = 100


class ErrorKind(Enum):
    """What an error of Postgres says about the next try."""

    UNAVAILABLE = "the server or the link to it: the next try may succeed"
    CONFLICT = "another transaction: the next try may succeed at once"
    DENIED = "the user, the password or the database: no try succeeds before a person has changed it there, or here"
    TIMED_OUT = "this statement: the next try may succeed, and other statements may go through meanwhile"
    INTERNAL = "the server's inside: the next try may succeed"
    DATA = "the data: no try succeeds with it"
    INSTALLATION = "the installation: no try succeeds before a person has mended it"


SQLSTATES: Mapping[str, ErrorKind] = MappingProxyType(
    {
        "08": ErrorKind.UNAVAILABLE,  # connection lost
        "22": ErrorKind.DATA,  # a value that cannot be stored
        "23": ErrorKind.DATA,  # a constraint
        "25": ErrorKind.UNAVAILABLE,  # a session out of step: read-only after a failover, idle for too long
        "25P02": ErrorKind.INTERNAL,  # a transaction that goes on after its error, which is its own fault alone
        "26000": ErrorKind.UNAVAILABLE,  # a prepared statement that the session does not have, behind a pooler
        "28": ErrorKind.DENIED,  # user or password
        "3D000": ErrorKind.DENIED,  # the database is not there, while it is restored, say
        "40": ErrorKind.CONFLICT,  # deadlock or serialization failure: the server asks for a retry
        "42P05": ErrorKind.UNAVAILABLE,  # a prepared statement that another client left in the session
        "53": ErrorKind.UNAVAILABLE,  # out of connections or disk
        "53200": ErrorKind.TIMED_OUT,  # no memory for this statement
        "54": ErrorKind.DATA,  # a limit of the server
        "55P03": ErrorKind.TIMED_OUT,  # a lock that cannot be had in time
        "57": ErrorKind.UNAVAILABLE,  # the server shuts down or starts
        "57014": ErrorKind.TIMED_OUT,  # the statement took too long, or was cancelled
        "58": ErrorKind.UNAVAILABLE,  # a system error
        "XX": ErrorKind.INTERNAL,  # "tuple concurrently updated", "cache lookup failed" beside a migration
    }
)
"""Kinds of errors by SQLSTATE, a code going before its class; any other is the installation's."""

_CONDEMNING = ("0A000", "25", "26000", "42P05", "XX")
"""Errors by which a session may go on failing though their cause is over: it is read-only because its server was, or it
keeps plans, statements or catalogs of before."""

CLIENT_ERRORS = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""Errors of the network and of asyncpg itself. Its internal ones come of a connection that the server is closing."""
CONNECTION_ERRORS = (asyncpg.PostgresError, *CLIENT_ERRORS)
"""All errors of a connection, in whatever state it is."""


def kind_of(error: asyncpg.PostgresError) -> ErrorKind:
    """Return what the error says about the next try."""
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        return ErrorKind.UNAVAILABLE
    state = error.sqlstate or ""
    return SQLSTATES.get(state) or SQLSTATES.get(state[:2]) or ErrorKind.INSTALLATION


def condemns_sessions(error: BaseException) -> bool:
    """True if sessions made before the error may go on failing by it when its cause is over.

    Such sessions are given up: `pool.expire_connections()` replaces each before its next use.
    """
    return isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "").startswith(_CONDEMNING)


def is_worth_waiting(error: BaseException) -> bool:
    """True where a program that starts should wait and try again; false where a person has to mend something first."""
    if isinstance(error, asyncpg.PostgresError):
        return kind_of(error) not in (ErrorKind.DENIED, ErrorKind.DATA, ErrorKind.INSTALLATION)
    return isinstance(error, CLIENT_ERRORS) and not isinstance(error, asyncpg.ClientConfigurationError)


def is_lost(connection: PoolConnectionProxy) -> bool:
    """True if the connection's link is lost."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        # A connection whose link is lost goes back to its pool by itself, and cannot be asked any more.
        return True


def one_line(error: BaseException) -> str:
    """Return the error's text in one line. Postgres' details and hints come in lines of their own."""
    return "; ".join(str(error).splitlines())


def describe(error: BaseException) -> str:
    """Return the error's text with its class, for a log line."""
    return f"{one_line(error)} ({type(error).__name__})" if str(error) else type(error).__name__


def new_pool(
    dsn: str,
    *,
    size_min: int,
    size_max: int,
    application_name: str,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    statement_timeout_s: float | None = None,
    statement_cache_size: int = STATEMENT_CACHE_SIZE,
    prepare: Prepare | None = None,
) -> asyncpg.Pool:
    """Return a pool that is opened by awaiting it, which raises what asyncpg raises. `prepare` makes a session ready.

    Sessions are not reset between two uses, which saves a round trip: nothing may change them (no SET, no LISTEN, no
    session lock). Behind pgbouncer in transaction mode use one of 1.21 or later with `max_prepared_statements` above 0,
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
        init=prepare,
        reset=_leave_session_as_it_is,
    )


async def close_pool(pool: asyncpg.Pool) -> None:
    """Close the pool in good order, or in any order when that takes too long."""
    try:
        await asyncio.wait_for(pool.close(), CLOSE_TIMEOUT_S)
    except TimeoutError:
        pool.terminate()


async def _leave_session_as_it_is(_connection: object) -> None: ...
