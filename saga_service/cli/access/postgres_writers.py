"""Postgres for commands that change something: requests, dead letters, removal, keys, the schema, inboxes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg

from saga_service.admin.encryption import cipher_of
from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.base.postgres import describe
from saga_service.cli.access.postgres import open_pool
from saga_service.settings import Settings, without_password
from saga_service.store.dead_letters import DeadLetterBox
from saga_service.store.encryption import PostgresKeyRotation
from saga_service.store.requests import PostgresRequests
from saga_service.store.retention import PostgresRemoval
from saga_service.wire.encryption import Cipher

if TYPE_CHECKING:
    from saga_service.worker import Worker  # most commands have no worker


@asynccontextmanager
async def open_dead_letters(settings: Settings) -> AsyncIterator[DeadLetterBox]:
    """Open the stored dead letters to change them. Raises Failure where Postgres cannot be used."""
    async with open_pool(settings) as pool:
        yield DeadLetterBox(pool)


@asynccontextmanager
async def open_requests(settings: Settings) -> AsyncIterator[PostgresRequests]:
    """Open the requests to sagas: operations and signals. Raises Failure where Postgres cannot be used."""
    cipher = cipher_of(settings)
    async with open_pool(settings) as pool:
        yield PostgresRequests(pool, cipher)


@asynccontextmanager
async def open_removal(settings: Settings) -> AsyncIterator[PostgresRemoval]:
    """Open the removal of ended sagas. Raises Failure where Postgres cannot be used."""
    async with open_pool(settings) as pool:
        yield PostgresRemoval(pool)


@asynccontextmanager
async def open_key_rotation(settings: Settings, cipher: Cipher) -> AsyncIterator[PostgresKeyRotation]:
    """Open the encryption of stored sagas with another key. Raises Failure where Postgres cannot be used."""
    async with open_pool(settings) as pool:
        yield PostgresKeyRotation(pool, cipher)


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
        given = worker.inbox.address
        at = "" if given is None else f", at {without_password(given)}"
        raise Failure(
            f"{where} cannot be used{at}: {describe(error)}",
            "check the address that its PostgresInbox is given; under dev, os.environ['SAGA_POSTGRES_DSN'] has one",
            kind=FailureKind.UNREACHABLE,
        ) from None
