"""The store's own operations for one command: dead letters, requests, removal, key rotation, and the schema's state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from saga_service.base.postgres import close_pool
from saga_service.cli.access.decryption import cipher_of
from saga_service.cli.access.postgres import postgres_errors_in_words
from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.engine.errors import StoreBroken, StoreRefused, StoreUnavailable
from saga_service.settings import Settings
from saga_service.store.dead_letters import DeadLetterBox
from saga_service.store.key_rotation import PostgresKeyRotation
from saga_service.store.pool import create_pool
from saga_service.store.requests import PostgresRequests
from saga_service.store.retention import PostgresRemoval
from saga_service.store.schema.version import SchemaState, schema_state
from saga_service.wire.encryption import Cipher


async def schema_of(connection: asyncpg.Connection) -> SchemaState:
    """The schema's state. Raises CommandFailed for a role that may not see which version it is."""
    try:
        return await schema_state(connection)
    except asyncpg.InsufficientPrivilegeError:
        raise CommandFailed(
            "the role in SAGA_POSTGRES_DSN may not look at the schema's version",
            "use the service's own role for this (saga_reader and saga_operator are not enough)",
            code=ExitCode.UNREACHABLE,
        ) from None


@asynccontextmanager
async def open_dead_letters(settings: Settings) -> AsyncIterator[DeadLetterBox]:
    """Open the stored dead letters to change them. Raises CommandFailed where Postgres cannot be used."""
    async with _open_pool(settings) as pool:
        yield DeadLetterBox(pool)


@asynccontextmanager
async def open_requests(settings: Settings) -> AsyncIterator[PostgresRequests]:
    """Open the requests to sagas: operations and signals. Raises CommandFailed where Postgres cannot be used."""
    cipher = cipher_of(settings)
    async with _open_pool(settings) as pool:
        yield PostgresRequests(pool, cipher)


@asynccontextmanager
async def open_removal(settings: Settings) -> AsyncIterator[PostgresRemoval]:
    """Open the removal of ended sagas. Raises CommandFailed where Postgres cannot be used."""
    async with _open_pool(settings) as pool:
        yield PostgresRemoval(pool)


@asynccontextmanager
async def open_key_rotation(settings: Settings, cipher: Cipher) -> AsyncIterator[PostgresKeyRotation]:
    """Open the encryption of stored sagas with another key. Raises CommandFailed where Postgres cannot be used."""
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
            raise CommandFailed(
                f"{error}; was: Postgres at {settings.postgres_dsn}", code=ExitCode.UNREACHABLE
            ) from None
        except StoreRefused as error:
            raise CommandFailed(f"Postgres refuses: {error}", code=ExitCode.USAGE) from None
        except StoreBroken as error:
            raise CommandFailed(
                f"Postgres at {settings.postgres_dsn} refuses: {error}",
                "check the rights of the role in SAGA_POSTGRES_DSN (to operate: grant saga_operator), "
                "and run: saga-service migrate",
                code=ExitCode.UNREACHABLE,
            ) from None
        finally:
            await close_pool(pool)
