"""Migrations: the numbered SQL files that a database has not had yet, applied in one transaction.

Any number of replicas may migrate at once: an advisory lock of the transaction lets one do it while the others wait,
and they find it done. Nothing is kept by the session, so a pooler may stand between. `schema_state` says whether this
release can work with the revision that a database has.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from importlib.resources import files
from typing import Protocol

import asyncpg

from saga_service.store import queries

PRIVATE_SCHEMA = "saga_private"

MIGRATIONS = {"0001": "0001_initial.sql"}
"""Every migration that this release knows, oldest first: its revision, its file beside this module."""

HEAD = max(MIGRATIONS)

ENCODING = "UTF8"
"""The one encoding of a database that holds every text, and compares keys as the service does."""


class SchemaFit(StrEnum):
    CURRENT = "current"
    TOO_OLD = "too old"
    TOO_NEW = "too new"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class SchemaState:
    """How a database's schema and this version of the service go together. `advice` is what to do where they do not."""

    fit: SchemaFit
    revision: str | None
    text: str
    advice: str | None = None

    def __str__(self) -> str:
        return self.text if self.advice is None else f"{self.text}; {self.advice}"


class SchemaUnfit(Exception):
    """The service cannot work with the schema that is there; the text says what to do."""


class Reader(Protocol):
    """A connection or a pool, as far as it is needed here."""

    async def fetchval(self, query: str, *args: object) -> object: ...


async def schema_state(reader: Reader) -> SchemaState:
    """Compares the database with this release. Raises what asyncpg raises."""
    if await reader.fetchval(f"select to_regclass('{PRIVATE_SCHEMA}.migrations')") is None:
        return judge(None, None)
    revision = await reader.fetchval(f"select max(revision) from {PRIVATE_SCHEMA}.migrations")
    migrated_by = await reader.fetchval(
        f"select migrated_by from {PRIVATE_SCHEMA}.migrations where revision = $1", revision
    )
    return judge(str(revision) if revision else None, str(migrated_by) if migrated_by else None)


async def check_encoding(reader: Reader) -> None:
    """Raises SchemaUnfit where the database cannot hold every text, and what asyncpg raises."""
    encoding = await reader.fetchval("select getdatabaseencoding()")
    if encoding != ENCODING:
        raise SchemaUnfit(
            f"the database has the encoding {encoding}, which does not keep every text; make one with {ENCODING}: "
            f"create database saga encoding '{ENCODING}' template template0"
        )


async def _roles_are_set_up(reader: Reader) -> bool:
    return bool(
        await reader.fetchval(
            "select count(*) = 3 from pg_roles where rolname in ('saga_reader', 'saga_client', 'saga_operator')"
            " and has_schema_privilege(oid, 'saga', 'usage')"
        )
    )


def judge(revision: str | None, migrated_by: str | None) -> SchemaState:
    """Compares a revision with this release. `migrated_by` is the version of saga_service that applied it."""
    migrate = "run: saga-service migrate"
    if revision is None:
        return SchemaState(SchemaFit.MISSING, None, "the database has no saga_service tables", migrate)
    if revision == HEAD:
        return SchemaState(SchemaFit.CURRENT, revision, f"the schema is current (revision {revision})")
    if revision in MIGRATIONS:
        text = f"the schema (revision {revision}) is older than this saga_service, which needs {HEAD}"
        return SchemaState(SchemaFit.TOO_OLD, revision, text, migrate)
    newer = f"version {migrated_by} or later" if migrated_by else "a later version"
    text = f"this saga_service is older than the schema (revision {revision}, it knows up to {HEAD})"
    return SchemaState(SchemaFit.TOO_NEW, revision, text, f"deploy {newer}")


_LOCK = 0x5A6A_5E2F
"""Any number will do, so long as all versions use the same one."""

_CONNECT_TIMEOUT_S = 10

logger = logging.getLogger(__name__)


async def migrate(dsn: str) -> str:
    """Apply every missing migration and the roles' grants, all or nothing; the revision that the schema has then.

    Where nothing is missing nothing is written, and no right is needed but to read. Raises SchemaUnfit where a newer
    version of the service has already been here or the encoding does not fit, and what asyncpg raises.
    """
    async with _connected(dsn) as connection:
        await check_encoding(connection)
        if (await schema_state(connection)).fit is SchemaFit.CURRENT and await _roles_are_set_up(connection):
            return HEAD
    # In a session of its own: one that has looked for tables before may not see those that others make meanwhile.
    async with _connected(dsn) as connection, connection.transaction(isolation="read_committed"):
        await _migrate(connection)
    return HEAD


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    # Without a cache of statements, for poolers.
    connection: asyncpg.Connection = await asyncpg.connect(dsn, timeout=_CONNECT_TIMEOUT_S, statement_cache_size=0)
    try:
        connection.add_log_listener(_log_notice)
        yield connection
    finally:
        await connection.close()


async def _migrate(connection: asyncpg.Connection) -> None:
    await connection.execute(f"select pg_advisory_xact_lock({_LOCK})")
    state = await schema_state(connection)
    if state.fit is SchemaFit.TOO_NEW:
        raise SchemaUnfit(str(state))
    for revision, file in MIGRATIONS.items():
        if state.revision is None or revision > state.revision:
            await connection.execute(read_sql(file))
            await _record(connection, revision)
    await connection.execute(read_sql("roles.sql"))


async def _record(connection: asyncpg.Connection, revision: str) -> None:
    await connection.execute(
        f"insert into {PRIVATE_SCHEMA}.migrations (revision, migrated_by) values ($1, $2)",
        revision,
        version("saga-service"),
    )


async def rename_deployment(dsn: str, stream_prefix: str, consumer_group: str) -> None:
    """Record that the database belongs to the deployment with these streams. Raises what asyncpg raises."""
    connection: asyncpg.Connection = await asyncpg.connect(dsn, timeout=_CONNECT_TIMEOUT_S, statement_cache_size=0)
    try:
        await connection.execute(queries.RENAME_DEPLOYMENT, stream_prefix, consumer_group)
    finally:
        await connection.close()


def read_sql(file: str) -> str:
    """The text of an SQL file of this package."""
    return (files(__package__) / file).read_text("utf-8")


def _log_notice(_connection: object, message: asyncpg.PostgresLogMessage) -> None:
    if "already exists, skipping" not in message.message:
        logger.warning(message.message)
