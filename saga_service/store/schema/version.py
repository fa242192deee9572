"""The revision of a database's schema, and whether this release can work with it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

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
