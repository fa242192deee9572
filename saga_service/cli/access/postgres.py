"""A connection to Postgres for one command, and the failures of it in words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import orjson

from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.settings import Settings

CONNECT_S_MAX = 5.0

ColumnCodec = Callable[[Any], Any]  # asyncpg's own type for what reads or writes a column


@asynccontextmanager
async def open_postgres(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """Open one connection. Raises CommandFailed where the server, the database or the schema cannot be used."""
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
    """Turn what the driver raises into CommandFailed, with the address and what to check."""
    where = f"Postgres at {settings.postgres_dsn}"
    try:
        yield
    except (
        asyncpg.UndefinedTableError,
        asyncpg.UndefinedColumnError,
        asyncpg.UndefinedFunctionError,
        asyncpg.InvalidSchemaNameError,
    ) as error:
        raise CommandFailed(
            f"the schema of {where} does not fit this version ({error})",
            "run: saga-service migrate",
            code=ExitCode.SCHEMA,
        ) from None
    except asyncpg.InsufficientPrivilegeError as error:
        raise CommandFailed(
            f"{where} refuses: {error}",
            "grant saga_reader to read and saga_operator to operate, or use the service's own role",
            code=ExitCode.UNREACHABLE,
        ) from None
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        raise CommandFailed(
            f"{where} refuses: {error}",
            "check user, password and database in SAGA_POSTGRES_DSN",
            code=ExitCode.UNREACHABLE,
        ) from None
    except asyncpg.ClientConfigurationError as error:
        raise CommandFailed(f"SAGA_POSTGRES_DSN cannot be used: {error}", code=ExitCode.USAGE) from None
    except TimeoutError:
        raise CommandFailed(
            f"{where} does not answer",
            "check SAGA_POSTGRES_DSN, the network and the server",
            code=ExitCode.UNREACHABLE,
        ) from None
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError, asyncpg.InterfaceError) as error:
        raise CommandFailed(
            f"{where} cannot be reached: {error}",
            "check SAGA_POSTGRES_DSN and that the server runs",
            code=ExitCode.UNREACHABLE,
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
