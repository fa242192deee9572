"""Bring the schema to the newest version. Any number of replicas may try at once: one does it, the others wait."""

from __future__ import annotations

import logging
from importlib.metadata import version

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, NullPool, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from saga_service.store.roles import GRANT_TO_ROLES
from saga_service.store.schema import HEAD, PRIVATE_SCHEMA, SchemaFit, SchemaUnfit, judge

_LOCK = 0x5A6A_5E2F
"""Any number will do, so long as all versions use the same one."""

_CONNECT_TIMEOUT_SECONDS = 10

logger = logging.getLogger(__name__)


async def migrate(dsn: str) -> str:
    """Apply every missing migration in one transaction; the revision that the schema is at then.

    Raises SchemaUnfit where a newer version of the service has already been here, and what asyncpg raises.
    """
    try:
        await _migrate(dsn)
    except DBAPIError as error:
        raise error.driver_exception from None
    return HEAD


async def _migrate(dsn: str) -> None:
    engine = create_async_engine("postgresql+asyncpg://", async_creator=lambda: _connect(dsn), poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(text(f"select pg_advisory_xact_lock({_LOCK})"))
            await _refuse_newer(connection)
            await connection.execute(text(f"create schema if not exists {PRIVATE_SCHEMA}"))
            await connection.run_sync(_upgrade)
            await _sign(connection)
            for grant in GRANT_TO_ROLES:
                await connection.exec_driver_sql(grant)
    finally:
        await engine.dispose()


async def _connect(dsn: str) -> asyncpg.Connection:
    connection: asyncpg.Connection = await asyncpg.connect(dsn, timeout=_CONNECT_TIMEOUT_SECONDS)
    connection.add_log_listener(_log_notice)
    return connection


def _log_notice(_connection: object, message: asyncpg.PostgresLogMessage) -> None:
    if "already exists, skipping" not in message.message:
        logger.warning(message.message)


async def _refuse_newer(connection: AsyncConnection) -> None:
    table = f"{PRIVATE_SCHEMA}.alembic_version"
    if await connection.scalar(text(f"select to_regclass('{table}')")) is None:
        return
    revision = await connection.scalar(text(f"select version_num from {table}"))
    found_by = text(f"select migrated_by from {PRIVATE_SCHEMA}.migrations where revision = :revision")
    state = judge(revision, await connection.scalar(found_by, {"revision": revision}))
    if state.fit is SchemaFit.TOO_NEW:
        raise SchemaUnfit(state.advice)


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", "saga_service.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def _sign(connection: AsyncConnection) -> None:
    signature = text(
        f"insert into {PRIVATE_SCHEMA}.migrations (revision, migrated_by) values (:revision, :version)"
        " on conflict do nothing"
    )
    await connection.execute(signature, {"revision": HEAD, "version": version("saga-service")})
