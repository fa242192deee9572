"""Errors of Postgres in words: with the address, and what to check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import asyncpg

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.engine.failures import StoreBroken, StoreRefused, StoreUnavailable
from saga_service.settings import Settings

Advise = Callable[[str, str], str]
"""Makes the advice on a server that cannot be used, of the setting with its address and of the usual advice."""


def as_it_is(_variable: str, usual: str) -> str:
    return usual


@contextmanager
def postgres_errors_in_words(settings: Settings, advise: Advise = as_it_is) -> Iterator[None]:
    """Turn what the driver raises into Failure, with the address and what to check."""
    where = f"Postgres at {settings.postgres_dsn}"
    try:
        yield
    except (
        asyncpg.UndefinedTableError,
        asyncpg.UndefinedColumnError,
        asyncpg.UndefinedFunctionError,
        asyncpg.InvalidSchemaNameError,
    ) as error:
        raise Failure(
            f"the schema of {where} does not fit this version ({error})",
            "run: saga-service migrate",
            kind=FailureKind.SCHEMA,
        ) from None
    except asyncpg.InsufficientPrivilegeError as error:
        raise Failure(
            f"{where} refuses: {error}",
            "grant saga_reader to read and saga_operator to operate, or use the service's own role",
            kind=FailureKind.UNREACHABLE,
        ) from None
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        raise Failure(
            f"{where} refuses: {error}",
            advise("SAGA_POSTGRES_DSN", "check user, password and database in SAGA_POSTGRES_DSN"),
            kind=FailureKind.UNREACHABLE,
        ) from None
    except asyncpg.DataError as error:
        raise Failure(f"Postgres cannot hold a value that was given: {error}", kind=FailureKind.INVALID) from None
    except asyncpg.ClientConfigurationError as error:
        raise Failure(f"SAGA_POSTGRES_DSN cannot be used: {error}", kind=FailureKind.INVALID) from None
    except TimeoutError:
        raise Failure(
            f"{where} does not answer",
            advise("SAGA_POSTGRES_DSN", "check SAGA_POSTGRES_DSN, the network and the server"),
            kind=FailureKind.UNREACHABLE,
        ) from None
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError, asyncpg.InterfaceError) as error:
        raise Failure(
            f"{where} cannot be reached: {error}",
            advise("SAGA_POSTGRES_DSN", "check SAGA_POSTGRES_DSN and that the server runs"),
            kind=FailureKind.UNREACHABLE,
        ) from None


@contextmanager
def store_errors_in_words(settings: Settings) -> Iterator[None]:
    """Turn what the store raises into Failure, with the address and what to check."""
    try:
        yield
    except StoreUnavailable as error:
        raise Failure(f"{error}; was: Postgres at {settings.postgres_dsn}", kind=FailureKind.UNREACHABLE) from None
    except StoreRefused as error:
        raise Failure(f"Postgres refuses: {error}", kind=FailureKind.INVALID) from None
    except StoreBroken as error:
        raise Failure(
            f"Postgres at {settings.postgres_dsn} refuses: {error}",
            "check the rights of the role in SAGA_POSTGRES_DSN (to operate: grant saga_operator), "
            "and run: saga-service migrate",
            kind=FailureKind.UNREACHABLE,
        ) from None
