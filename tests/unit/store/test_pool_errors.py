"""Each error of Postgres says whose fault it is: the link's, the data's, or ours."""

from __future__ import annotations

import asyncio

import asyncpg
import orjson
import pytest

from saga_service.engine.failures import (
    RequestsAnswered,
    RevisionConflict,
    StoreBroken,
    StoreConflict,
    StoreDenied,
    StoreFailed,
    StoreRefused,
    StoreTimedOut,
    StoreUnavailable,
)
from saga_service.store.pool import REQUESTS_ANSWERED, REVISION_CONFLICT, Unwritable, translated


def of_postgres(sqlstate: str) -> asyncpg.PostgresError:
    error: asyncpg.PostgresError = asyncpg.PostgresError.new({"C": sqlstate, "M": "the server's own words"})
    return error


@pytest.mark.parametrize(
    "sqlstate",
    [
        *("08003", "08006", "53100", "53300", "25006", "26000", "42P05"),
        *("57P01", "57P02", "57P03", "57P05", "58030"),
    ],
)
def test_a_lost_link_or_a_busy_server_is_worth_another_try(sqlstate: str) -> None:
    with pytest.raises(StoreUnavailable, match="the server's own words") as raised, translated():
        raise of_postgres(sqlstate)
    assert raised.type is StoreUnavailable


@pytest.mark.parametrize(
    "error",
    [
        OSError("no route"),
        ConnectionResetError(),
        asyncpg.InterfaceError("closed"),
        # What a connection says between a terminated backend's farewell and its end.
        asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
    ],
)
def test_a_broken_connection_is_worth_another_try(error: Exception) -> None:
    with pytest.raises(StoreUnavailable, match=r"\w") as raised, translated():
        raise error
    assert raised.type is StoreUnavailable


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_a_transaction_that_was_in_the_way_is_no_outage(sqlstate: str) -> None:
    with pytest.raises(StoreConflict, match="the server's own words"), translated():
        raise of_postgres(sqlstate)


@pytest.mark.parametrize("sqlstate", ["28P01", "28000", "3D000"])
def test_a_changed_password_is_no_outage_and_no_reason_to_end(sqlstate: str) -> None:
    with pytest.raises(StoreDenied, match="the server's own words"), translated():
        raise of_postgres(sqlstate)


@pytest.mark.parametrize("sqlstate", ["57014", "55P03", "53200"])
def test_a_timed_out_statement_is_neither_an_outage_nor_refused_data(sqlstate: str) -> None:
    with pytest.raises(StoreTimedOut, match="the server's own words"), translated():
        raise of_postgres(sqlstate)


def test_a_command_that_this_side_gave_up_has_timed_out() -> None:
    with pytest.raises(StoreTimedOut), translated():
        raise TimeoutError


@pytest.mark.parametrize("sqlstate", ["XX000", "XX001", "25P02"])
def test_an_internal_error_of_postgres_is_worth_another_try(sqlstate: str) -> None:
    with pytest.raises(StoreFailed, match="the server's own words"), translated():
        raise of_postgres(sqlstate)


@pytest.mark.parametrize("sqlstate", ["22003", "22021", "22P02", "22P05", "23505", "23514", "54000"])
def test_data_that_cannot_be_stored_is_refused_with_the_servers_words(sqlstate: str) -> None:
    with pytest.raises(StoreRefused, match="the server's own words"), translated():
        raise of_postgres(sqlstate)


@pytest.mark.parametrize("error", [Unwritable("holds a NUL"), orjson.JSONEncodeError("too deep")])
def test_data_that_cannot_be_written_is_refused_before_it_is_sent(error: Exception) -> None:
    with pytest.raises(StoreRefused), translated():
        raise error


def test_a_lost_race_is_a_conflict() -> None:
    with pytest.raises(RevisionConflict, match="the server's own words"), translated():
        raise of_postgres(REVISION_CONFLICT)


def test_a_request_that_is_not_open_any_more_is_no_fault_of_the_data() -> None:
    with pytest.raises(RequestsAnswered, match="the server's own words"), translated():
        raise of_postgres(REQUESTS_ANSWERED)


@pytest.mark.parametrize("code", ["42P01", "42501", "3F000"])
def test_a_postgres_that_does_not_fit_is_broken_for_us(code: str) -> None:
    with pytest.raises(StoreBroken, match="the server's own words"), translated():
        raise of_postgres(code)


def test_our_own_mistakes_come_through_as_they_are() -> None:
    error = KeyError("ours")
    with pytest.raises(KeyError) as caught, translated():
        raise error
    assert caught.value is error


def test_a_cancellation_comes_through_as_it_is() -> None:
    with pytest.raises(asyncio.CancelledError), translated():
        raise asyncio.CancelledError
