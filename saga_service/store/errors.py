"""Errors of Postgres and of its client, as those of `engine.errors`.

`base.postgres` has the kinds of errors by SQLSTATE, and `engine.failures` what is done about each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import asyncpg
import orjson

from saga_service.base.postgres import CLIENT_ERRORS, ErrorKind, describe, kind_of
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

_LOST_RACES: Mapping[str, type[Exception]] = {
    REVISION_CONFLICT: RevisionConflict,
    REQUESTS_ANSWERED: RequestsAnswered,
}
_BY_KIND: Mapping[ErrorKind, type[Exception]] = {
    ErrorKind.UNAVAILABLE: StoreUnavailable,
    ErrorKind.TIMED_OUT: StoreTimedOut,
    ErrorKind.INTERNAL: StoreFailed,
    ErrorKind.DATA: StoreRefused,
    ErrorKind.INSTALLATION: StoreBroken,
}


class Unwritable(Exception):
    """A value that Postgres could not hold, found before it was sent."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise errors of Postgres, of its client and of the network as those of `engine.errors`.

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
