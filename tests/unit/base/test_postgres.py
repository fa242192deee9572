"""What an error of Postgres means for the next try: one table for the store and for the workers' inbox."""

from __future__ import annotations

from collections.abc import Iterable

import asyncpg
import pytest

from saga_service.base.postgres import SQLSTATES, ErrorKind, condemns_sessions, describe, kind_of
from saga_service.worker.inbox.connection import InboxUnavailable, inbox_errors

KNOWN: dict[type[asyncpg.PostgresError], ErrorKind] = {
    asyncpg.ConnectionDoesNotExistError: ErrorKind.UNAVAILABLE,
    asyncpg.ReadOnlySQLTransactionError: ErrorKind.UNAVAILABLE,
    asyncpg.IdleInTransactionSessionTimeoutError: ErrorKind.UNAVAILABLE,
    asyncpg.InvalidCachedStatementError: ErrorKind.UNAVAILABLE,
    asyncpg.InvalidSQLStatementNameError: ErrorKind.UNAVAILABLE,
    asyncpg.DuplicatePreparedStatementError: ErrorKind.UNAVAILABLE,
    asyncpg.DeadlockDetectedError: ErrorKind.CONFLICT,
    asyncpg.SerializationError: ErrorKind.CONFLICT,
    asyncpg.TooManyConnectionsError: ErrorKind.UNAVAILABLE,
    asyncpg.DiskFullError: ErrorKind.UNAVAILABLE,
    asyncpg.CannotConnectNowError: ErrorKind.UNAVAILABLE,
    asyncpg.AdminShutdownError: ErrorKind.UNAVAILABLE,
    asyncpg.PostgresIOError: ErrorKind.UNAVAILABLE,
    asyncpg.OutOfMemoryError: ErrorKind.TIMED_OUT,
    asyncpg.LockNotAvailableError: ErrorKind.TIMED_OUT,
    asyncpg.QueryCanceledError: ErrorKind.TIMED_OUT,
    asyncpg.InternalServerError: ErrorKind.INTERNAL,
    asyncpg.InvalidTextRepresentationError: ErrorKind.DATA,
    asyncpg.UniqueViolationError: ErrorKind.DATA,
    asyncpg.ProgramLimitExceededError: ErrorKind.DATA,
    asyncpg.UndefinedTableError: ErrorKind.INSTALLATION,
    asyncpg.InsufficientPrivilegeError: ErrorKind.INSTALLATION,
    asyncpg.InvalidPasswordError: ErrorKind.DENIED,
    asyncpg.InvalidCatalogNameError: ErrorKind.DENIED,
    asyncpg.InFailedSQLTransactionError: ErrorKind.INTERNAL,
}
MENDED_BY_A_RETRY = (ErrorKind.UNAVAILABLE, ErrorKind.CONFLICT, ErrorKind.DENIED, ErrorKind.TIMED_OUT)


@pytest.mark.parametrize(("error", "kind"), KNOWN.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_an_errors_kind_follows_from_its_sqlstate(error: type[asyncpg.PostgresError], kind: ErrorKind) -> None:
    assert kind_of(error("said by the server")) is kind


@pytest.mark.parametrize(
    ("error", "condemns"),
    [
        (asyncpg.ReadOnlySQLTransactionError, True),
        (asyncpg.InvalidCachedStatementError, True),
        (asyncpg.InvalidSQLStatementNameError, True),
        (asyncpg.InternalServerError, True),
        # New sessions could not be had, and those that are there do well.
        (asyncpg.TooManyConnectionsError, False),
        (asyncpg.InvalidPasswordError, False),
        (asyncpg.DiskFullError, False),
        (asyncpg.DeadlockDetectedError, False),
        (asyncpg.UniqueViolationError, False),
        (asyncpg.QueryCanceledError, False),
    ],
)
def test_sessions_are_given_up_for_errors_that_may_outlive_their_cause(
    error: type[asyncpg.PostgresError], condemns: bool
) -> None:
    assert condemns_sessions(error("said by the server")) is condemns


def test_every_row_of_the_table_is_met_by_a_case() -> None:
    states = [str(error.sqlstate) for error in KNOWN]
    assert {state for state in SQLSTATES if not any(met.startswith(state) for met in states)} == set()


@pytest.mark.parametrize("error", [each for each, kind in KNOWN.items() if kind in MENDED_BY_A_RETRY])
def test_the_inbox_waits_for_what_a_retry_may_mend(error: type[asyncpg.PostgresError]) -> None:
    with pytest.raises(InboxUnavailable, match="said by the server"), inbox_errors():
        raise error("said by the server")


@pytest.mark.parametrize("error", [each for each, kind in KNOWN.items() if kind not in MENDED_BY_A_RETRY])
def test_the_inbox_lets_all_other_errors_through(error: type[asyncpg.PostgresError]) -> None:
    with pytest.raises(error), inbox_errors():
        raise error("said by the server")


def test_an_error_without_a_text_is_described_by_its_class() -> None:
    described: Iterable[str] = map(describe, (TimeoutError(), OSError("no route to host")))
    assert list(described) == ["TimeoutError", "no route to host (OSError)"]
