"""Readiness: whether the servers that processes need can be used now."""

from __future__ import annotations

from saga_service.cli.access.postgres import open_postgres, schema_of
from saga_service.cli.access.redis import open_redis
from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.settings import Settings
from saga_service.store.schema.migrate import SchemaFit


async def check_servers(settings: Settings, *, needs_postgres: bool) -> None:
    """Ask Redis, and Postgres where it is needed. Raises CommandFailed."""
    async with open_redis(settings) as client:
        await client.execute_command("PING")
    if not needs_postgres:
        return
    async with open_postgres(settings) as connection:
        state = await schema_of(connection)
    if state.fit is not SchemaFit.CURRENT:
        raise CommandFailed(state.text, state.advice, code=ExitCode.SCHEMA)
