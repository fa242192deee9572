"""Postgres for one command: a connection with its failures in words, the store's own operations, workers' inboxes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson

from saga_service.admin.encryption import cipher_of
from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.base.postgres import close_pool
from saga_service.cli.access.effective_settings import advice_on_address
from saga_service.engine.failures import StoreBroken, StoreRefused, StoreUnavailable
from saga_service.settings import Settings
from saga_service.store.dead_letters import DeadLetterBox
from saga_service.store.encryption import PostgresKeyRotation
from saga_service.store.pool import create_pool
from saga_service.store.requests import PostgresRequests
from saga_service.store.retention import PostgresRemoval
from saga_service.store.schema.migrate import SchemaState, schema_state
from saga_service.wire.encryption import Cipher

if TYPE_CHECKING:
    from saga_service.worker import Worker  # most commands have no worker

CONNECT_S_MAX = 5.0

ColumnCodec = Callable[[Any], Any]  # asyncpg's own type for what reads or writes a column


@asynccontextmanager
async def open_postgres(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """Open one connection. Raises Failure where the server, the database or the schema cannot be used."""
    with postgres_errors_in_words(settings):
        connection = await asyncpg.connect(
            settings.postgres_dsn.get_secret_value(),
            timeout=CONNECT_S_MAX,
            command_timeout=settings.postgres_timeout_ms / 1000,
            # Works through any pgbouncer; a single command gains nothing from prepared statements.
            statement_cache_size=0,
            server_settings={"application_name": "saga-service"},
        )
        try:
            await _read_plain_values(connection)
            yield connection
        finally:
            await connection.close(timeout=CONNECT_S_MAX)


@contextmanager
def postgres_errors_in_words(settings: Settings) -> Iterator[None]:
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
            advice_on_address(settings, "SAGA_POSTGRES_DSN", "check user, password and database in SAGA_POSTGRES_DSN"),
            kind=FailureKind.UNREACHABLE,
        ) from None
    except asyncpg.ClientConfigurationError as error:
        raise Failure(f"SAGA_POSTGRES_DSN cannot be used: {error}", kind=FailureKind.INVALID) from None
    except TimeoutError:
        raise Failure(
            f"{where} does not answer",
            advice_on_address(settings, "SAGA_POSTGRES_DSN", "check SAGA_POSTGRES_DSN, the network and the server"),
            kind=FailureKind.UNREACHABLE,
        ) from None
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError, asyncpg.InterfaceError) as error:
        raise Failure(
            f"{where} cannot be reached: {error}",
            advice_on_address(settings, "SAGA_POSTGRES_DSN", "check SAGA_POSTGRES_DSN and that the server runs"),
            kind=FailureKind.UNREACHABLE,
        ) from None


async def _read_plain_values(connection: asyncpg.Connection) -> None:
    """Read JSON as the values that it holds, and ids as text."""

    def to_json(value: object) -> str:
        return orjson.dumps(value).decode()

    codecs: dict[str, tuple[ColumnCodec, ColumnCodec]] = {
        "json": (to_json, orjson.loads),
        "jsonb": (to_json, orjson.loads),
        "uuid": (str, str),
    }
    for name, (encoder, decoder) in codecs.items():
        await connection.set_type_codec(name, schema="pg_catalog", encoder=encoder, decoder=decoder, format="text")


async def schema_of(connection: asyncpg.Connection) -> SchemaState:
    """The schema's state. Raises Failure for a role that may not see which version it is."""
    try:
        return await schema_state(connection)
    except asyncpg.InsufficientPrivilegeError:
        raise Failure(
            "the role in SAGA_POSTGRES_DSN may not look at the schema's version",
            "use the service's own role for this (saga_reader and saga_operator are not enough)",
            kind=FailureKind.UNREACHABLE,
        ) from None


@asynccontextmanager
async def open_dead_letters(settings: Settings) -> AsyncIterator[DeadLetterBox]:
    """Open the stored dead letters to change them. Raises Failure where Postgres cannot be used."""
    async with _open_pool(settings) as pool:
        yield DeadLetterBox(pool)


@asynccontextmanager
async def open_requests(settings: Settings) -> AsyncIterator[PostgresRequests]:
    """Open the requests to sagas: operations and signals. Raises Failure where Postgres cannot be used."""
    cipher = cipher_of(settings)
    async with _open_pool(settings) as pool:
        yield PostgresRequests(pool, cipher)


@asynccontextmanager
async def open_removal(settings: Settings) -> AsyncIterator[PostgresRemoval]:
    """Open the removal of ended sagas. Raises Failure where Postgres cannot be used."""
    async with _open_pool(settings) as pool:
        yield PostgresRemoval(pool)


@asynccontextmanager
async def open_key_rotation(settings: Settings, cipher: Cipher) -> AsyncIterator[PostgresKeyRotation]:
    """Open the encryption of stored sagas with another key. Raises Failure where Postgres cannot be used."""
    async with _open_pool(settings) as pool:
        yield PostgresKeyRotation(pool, cipher)


@asynccontextmanager
async def _open_pool(settings: Settings) -> AsyncIterator[asyncpg.Pool]:
    """Open a pool of one connection."""
    with postgres_errors_in_words(settings):
        pool = await create_pool(settings.postgres_dsn.get_secret_value(), size=1, statement_cache_size=0)
        try:
            yield pool
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
        finally:
            await close_pool(pool)


async def create_inbox(worker: Worker) -> None:
    """Make the table of the inbox, in the worker's own database, of a worker that has one.

    Raises Failure where that database cannot be used.
    """
    if worker.inbox is None:
        return
    where = f"the database of the inbox of worker '{worker.service}'"
    try:
        await worker.inbox.create_tables()
    except asyncpg.InsufficientPrivilegeError as error:
        raise Failure(
            f"{where} refuses: {error}",
            "run this with a role that may create a schema, and grant the worker's role the use of it",
            kind=FailureKind.UNREACHABLE,
        ) from None
    except asyncpg.ClientConfigurationError as error:
        raise Failure(f"the address of {where} cannot be used: {error}", kind=FailureKind.INVALID) from None
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Failure(f"{where} cannot be used: {error!r}", kind=FailureKind.UNREACHABLE) from None
