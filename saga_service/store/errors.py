"""Whose fault an error of Postgres is: the link's (try again), the data's (never again), or neither's (end)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import orjson

from saga_service.engine.errors import RequestsAnswered, RevisionConflict, StoreBroken, StoreRefused, StoreUnavailable

REVISION_CONFLICT, REQUESTS_ANSWERED = "SG001", "SG002"
"""Raised by saga_private.commit_batch."""

_UNAVAILABLE = ("08", "40", "53", "57", "58", "25006", "55P03")
"""Connection lost, asked to retry, out of resources, shutting down or told to stop, a system error, read-only after a
failover, a lock not to be had."""

_REFUSED = ("22", "23", "54")
"""A value that cannot be stored, a constraint, a limit."""


class Unwritable(Exception):
    """A value that Postgres could not hold, found before it was sent."""


@contextmanager
def translated() -> Iterator[None]:
    """Errors of asyncpg and of the network come out as those of `engine.errors`."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _translation(error) from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError) as error:
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
    if state.startswith(_UNAVAILABLE):
        return StoreUnavailable(_said(error))
    if state.startswith(_REFUSED):
        return StoreRefused(_said(error))
    return StoreBroken(_said(error))


def _said(error: BaseException) -> str:
    return f"{error} ({type(error).__name__})" if str(error) else type(error).__name__
