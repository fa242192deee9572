"""The settings of a command."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from saga_service.cli.console.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from saga_service.settings import Settings


def read_settings() -> Settings:
    """Raises CommandFailed with everything that is wrong."""
    from saga_service.settings import InvalidSettings, load_settings

    try:
        return load_settings()
    except InvalidSettings as error:
        lines = "\n".join(f"  {problem}" for problem in error.problems)
        raise CommandFailed(f"the settings are wrong:\n{lines}", ExitCode.USAGE) from None


# MERGED from cli.servers:
# Connections for one command, and what is said when a server cannot be used.

if TYPE_CHECKING:
    from asyncpg import Connection, Pool
    from redis.asyncio import Redis

    from saga_service.settings import Settings
    from saga_service.store.dead_letters import DeadLetterBox
    from saga_service.store.key_rotation import PostgresKeyRotation
    from saga_service.store.requests import PostgresRequests
    from saga_service.store.retention import PostgresRemoval
    from saga_service.store.schema.version import SchemaState
    from saga_service.wire.encryption import Cipher

CONNECT_S_MAX = 5.0

Codec = Callable[[Any], Any]  # asyncpg's own type for what reads or writes a column


@asynccontextmanager
async def open_postgres(settings: Settings) -> AsyncIterator[Connection]:
    """One connection. Raises CommandFailed where the server, the database or the schema cannot be used."""
    import asyncpg

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


async def schema_of(connection: Connection) -> SchemaState:
    """Raises CommandFailed for a role that reads or operates: those see the views, and not which version they are."""
    import asyncpg

    from saga_service.store.schema.version import schema_state

    try:
        return await schema_state(connection)
    except asyncpg.InsufficientPrivilegeError:
        raise CommandFailed(
            "the role in SAGA_POSTGRES_DSN may not look at the schema's version; "
            "use the service's own role for this (saga_reader and saga_operator are not enough)",
            ExitCode.UNREACHABLE,
        ) from None


@asynccontextmanager
async def open_redis(settings: Settings) -> AsyncIterator[Redis]:
    """A client that repeats nothing by itself. Raises CommandFailed where the server cannot be used."""
    from saga_service.streams.connection import connect

    with redis_errors_in_words(settings):
        client = connect(settings.redis_url.get_secret_value(), connections_max=1)
        try:
            yield client
        finally:
            await client.aclose()


@asynccontextmanager
async def open_dead_letters(settings: Settings) -> AsyncIterator[DeadLetterBox]:
    """The stored dead letters, to be changed. Raises CommandFailed as `open_postgres` does."""
    from saga_service.store.dead_letters import DeadLetterBox

    async with _open_pool(settings) as pool:
        yield DeadLetterBox(pool)


@asynccontextmanager
async def open_requests(settings: Settings) -> AsyncIterator[PostgresRequests]:
    """What is asked of sagas. Raises CommandFailed as `open_postgres` does."""
    from saga_service.cli.access.decryption import cipher_of
    from saga_service.store.requests import PostgresRequests

    cipher = cipher_of(settings)
    async with _open_pool(settings) as pool:
        yield PostgresRequests(pool, cipher)


@asynccontextmanager
async def open_removal(settings: Settings) -> AsyncIterator[PostgresRemoval]:
    """What removes sagas that have ended. Raises CommandFailed as `open_postgres` does."""
    from saga_service.store.retention import PostgresRemoval

    async with _open_pool(settings) as pool:
        yield PostgresRemoval(pool)


@asynccontextmanager
async def open_key_rotation(settings: Settings, cipher: Cipher) -> AsyncIterator[PostgresKeyRotation]:
    """The rotation of keys in stored sagas. Raises CommandFailed as `open_postgres` does."""
    from saga_service.store.key_rotation import PostgresKeyRotation

    async with _open_pool(settings) as pool:
        yield PostgresKeyRotation(pool, cipher)


@asynccontextmanager
async def _open_pool(settings: Settings) -> AsyncIterator[Pool]:
    """A pool of one connection, for what the store does."""
    from saga_service.engine.errors import StoreBroken, StoreRefused, StoreUnavailable
    from saga_service.store.pool import close_pool, create_pool

    with postgres_errors_in_words(settings):
        pool = await create_pool(settings.postgres_dsn.get_secret_value(), size=1, statement_cache_size=0)
        try:
            yield pool
        except StoreUnavailable as error:
            raise CommandFailed(f"{error}; was: Postgres at {settings.postgres_dsn}", ExitCode.UNREACHABLE) from None
        except StoreRefused as error:
            raise CommandFailed(f"Postgres refuses: {error}", ExitCode.USAGE) from None
        except StoreBroken as error:
            advice = (
                "check the rights of the role in SAGA_POSTGRES_DSN (to operate: grant saga_operator), "
                "and run: saga-service migrate"
            )
            raise CommandFailed(
                f"Postgres at {settings.postgres_dsn} refuses: {error}; {advice}", ExitCode.UNREACHABLE
            ) from None
        finally:
            await close_pool(pool)


@contextmanager
def postgres_errors_in_words(settings: Settings) -> Iterator[None]:
    import asyncpg

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
            f"the schema of {where} does not fit this version ({error}); run: saga-service migrate", ExitCode.SCHEMA
        ) from None
    except asyncpg.InsufficientPrivilegeError as error:
        advice = "grant saga_reader to read and saga_operator to operate, or use the service's own role"
        raise CommandFailed(f"{where} refuses: {error}; {advice}", ExitCode.UNREACHABLE) from None
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        advice = "check user, password and database in SAGA_POSTGRES_DSN"
        raise CommandFailed(f"{where} refuses: {error}; {advice}", ExitCode.UNREACHABLE) from None
    except asyncpg.ClientConfigurationError as error:
        raise CommandFailed(f"SAGA_POSTGRES_DSN cannot be used: {error}", ExitCode.USAGE) from None
    except TimeoutError:
        advice = "check SAGA_POSTGRES_DSN, the network and the server"
        raise CommandFailed(f"{where} does not answer; {advice}", ExitCode.UNREACHABLE) from None
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError, asyncpg.InterfaceError) as error:
        advice = "check SAGA_POSTGRES_DSN and that the server runs"
        raise CommandFailed(f"{where} cannot be reached: {error}; {advice}", ExitCode.UNREACHABLE) from None


@contextmanager
def redis_errors_in_words(settings: Settings) -> Iterator[None]:
    from redis import exceptions

    where = f"Redis at {settings.redis_url}"
    try:
        yield
    except (exceptions.AuthenticationError, exceptions.NoPermissionError) as error:
        advice = "check user and password in SAGA_REDIS_URL"
        raise CommandFailed(f"{where} refuses: {error}; {advice}", ExitCode.UNREACHABLE) from None
    except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
        advice = "check SAGA_REDIS_URL and that the server runs"
        raise CommandFailed(f"{where} cannot be reached: {error}; {advice}", ExitCode.UNREACHABLE) from None
    except exceptions.ResponseError as error:
        raise CommandFailed(f"{where} refuses: {error}", ExitCode.UNREACHABLE) from None


async def _read_plain_values(connection: Connection) -> None:
    """JSON as what it holds, ids as text."""
    import orjson

    def to_json(value: object) -> str:
        return orjson.dumps(value).decode()

    codecs: dict[str, tuple[Codec, Codec]] = {
        "json": (to_json, orjson.loads),
        "jsonb": (to_json, orjson.loads),
        "uuid": (str, str),
    }
    for name, (encoder, decoder) in codecs.items():
        await connection.set_type_codec(name, schema="pg_catalog", encoder=encoder, decoder=decoder, format="text")
