"""Whose fault an error of Postgres is, by its class of SQLSTATE.

The link's or the server's: try again. The statement's: try again, others may go through. The data's: never again. The
installation's: end. `engine.failures` says what is done about each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import orjson

from saga_service.engine.errors import (
    RequestsAnswered,
    RevisionConflict,
    StoreBroken,
    StoreFailed,
    StoreRefused,
    StoreTimedOut,
    StoreUnavailable,
)

REVISION_CONFLICT, REQUESTS_ANSWERED = "SG001", "SG002"
"""Raised by saga_private.commit_batch."""

_TIMED_OUT = ("57014", "55P03", "53200")
"""The statement took too long or was cancelled, a lock was not to be had in time, no memory for this statement."""

_FAILED = ("XX",)
"""An internal error: "tuple concurrently updated", "cache lookup failed" beside a migration."""

_UNAVAILABLE = ("08", "40", "53", "57", "58", "25006")
"""Connection lost, asked to retry, out of resources, shutting down or told to stop, a system error, read-only after a
failover."""

_REFUSED = ("22", "23", "54")
"""A value that cannot be stored, a constraint, a limit."""


class Unwritable(Exception):
    """A value that Postgres could not hold, found before it was sent."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn errors of asyncpg and of the network into those of `engine.errors`.

    A TimeoutError is a statement's. Whoever waits for a connection in here has to tell its time-outs apart.
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _translation(error) from error
    except TimeoutError as error:
        raise StoreTimedOut(_said(error)) from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
        # The client's internal errors tell of a connection that the server is just closing: a restart, a failover.
        raise StoreUnavailable(_said(error)) from error
    except (Unwritable, orjson.JSONEncodeError) as error:
        raise StoreRefused(_said(error)) from error


def _translation(error: asyncpg.PostgresError) -> Exception:
    state = error.sqlstate or ""
    if state == REVISION_CONFLICT:
        return RevisionConflict(_said(error))
    if state == REQUESTS_ANSWERED:
        return RequestsAnswered(_said(error))
    if state in _TIMED_OUT:
        return StoreTimedOut(_said(error))
    if state.startswith(_FAILED):
        return StoreFailed(_said(error))
    if state.startswith(_UNAVAILABLE):
        return StoreUnavailable(_said(error))
    if state.startswith(_REFUSED):
        return StoreRefused(_said(error))
    return StoreBroken(_said(error))


def _said(error: BaseException) -> str:
    return f"{error} ({type(error).__name__})" if str(error) else type(error).__name__
