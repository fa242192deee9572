"""`health`: an exit code for container health checks."""

from __future__ import annotations

import typer

from saga_service.cli.access.postgres import open_postgres, read_settings, schema_of
from saga_service.cli.access.redis import open_redis
from saga_service.cli.event_loop import run_to_end
from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.settings import Settings
from saga_service.store.schema.migrate import SchemaFit


def health_command() -> None:
    run_to_end(_check_health(read_settings()))
    typer.echo("ok")


async def _check_health(settings: Settings) -> None:
    async with open_redis(settings) as client:
        await client.execute_command("PING")
    async with open_postgres(settings) as connection:
        state = await schema_of(connection)
    if state.fit is not SchemaFit.CURRENT:
        raise CommandFailed(state.text, state.advice, code=ExitCode.SCHEMA)
