"""Migrations: the numbered SQL files that a database has not had yet, applied in one transaction.

Any number of replicas may migrate at once: an advisory lock of the transaction lets one do it while the others wait,
and they find it done. Nothing is kept by the session, so a pooler may stand between. `schema_state` says whether this
release can work with the revision that a database has.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from importlib.resources import files
from typing import Protocol

import asyncpg

PRIVATE_SCHEMA = "saga_private"

MIGRATIONS = {"0001": "0001_initial.sql"}
"""Every migration that this release knows, oldest first: its revision, its file beside this module."""

HEAD = max(MIGRATIONS)


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

    Raises SchemaUnfit where a newer version of the service has already been here, and what asyncpg raises.
    """
    # Without a cache of statements, for poolers.
    connection: asyncpg.Connection = await asyncpg.connect(dsn, timeout=_CONNECT_TIMEOUT_S, statement_cache_size=0)
    try:
        connection.add_log_listener(_log_notice)
        async with connection.transaction(isolation="read_committed"):
            await _migrate(connection)
    finally:
        await connection.close()
    return HEAD


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


def read_sql(file: str) -> str:
    """The text of an SQL file of this package."""
    return (files(__package__) / file).read_text("utf-8")


def _log_notice(_connection: object, message: asyncpg.PostgresLogMessage) -> None:
    if "already exists, skipping" not in message.message:
        logger.warning(message.message)
