"""Which version of the tables is there, and whether this version of the service can work with it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

PRIVATE_SCHEMA = "saga_private"

REVISIONS = ("0001", "0002", "0003", "0004", "0005")
"""Every migration that this version knows, oldest first."""

HEAD = REVISIONS[-1]


class SchemaFit(StrEnum):
    CURRENT = "current"
    TOO_OLD = "too old"
    TOO_NEW = "too new"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class SchemaState:
    """`advice` is one line that says what is the matter and what to do."""

    fit: SchemaFit
    revision: str | None
    advice: str


class SchemaUnfit(Exception):
    """The service cannot work with the schema that is there; the text says what to do."""


class Reader(Protocol):
    """What is needed of a connection or a pool."""

    async def fetchval(self, query: str, *args: object) -> object: ...


async def schema_state(reader: Reader) -> SchemaState:
    """How the database's schema and this version of the service go together."""
    table = f"{PRIVATE_SCHEMA}.alembic_version"
    if await reader.fetchval("select to_regclass($1)", table) is None:
        return judge(None, None)
    revision = await reader.fetchval(f"select version_num from {table}")
    migrated_by = await reader.fetchval(
        f"select migrated_by from {PRIVATE_SCHEMA}.migrations where revision = $1", revision
    )
    return judge(str(revision) if revision else None, str(migrated_by) if migrated_by else None)


def judge(revision: str | None, migrated_by: str | None) -> SchemaState:
    """The same, of a revision already read. `migrated_by` is the version of the service that brought it."""
    if revision is None:
        return SchemaState(
            SchemaFit.MISSING, None, "the database has no saga_service tables; run: saga-service migrate"
        )
    if revision == HEAD:
        return SchemaState(SchemaFit.CURRENT, revision, f"the schema is current (revision {revision})")
    if revision in REVISIONS:
        advice = f"the schema (revision {revision}) is older than this saga_service, which needs {HEAD}"
        return SchemaState(SchemaFit.TOO_OLD, revision, f"{advice}; run: saga-service migrate")
    newer = f"version {migrated_by} or later" if migrated_by else "a later version"
    advice = f"this saga_service is older than the schema (revision {revision}, it knows up to {HEAD}); deploy {newer}"
    return SchemaState(SchemaFit.TOO_NEW, revision, advice)
