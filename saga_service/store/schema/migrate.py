"""Migrations: the numbered SQL files that a database has not had yet, applied in one transaction.

Any number of replicas may migrate at once: an advisory lock of the transaction lets one do it while the others wait,
and they find it done. Nothing is kept by the session, so a pooler may stand between.
"""

from __future__ import annotations

import logging
from importlib.metadata import version
from importlib.resources import files

import asyncpg

from saga_service.store.schema.version import HEAD, MIGRATIONS, PRIVATE_SCHEMA, SchemaFit, SchemaUnfit, schema_state

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
