"""`migrate` brings the database schema up to date; `health` is an exit code for container health checks."""

from __future__ import annotations

import typer

from saga_service.cli.access.postgres import open_postgres, postgres_errors_in_words, schema_of
from saga_service.cli.access.redis import open_redis
from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.cli.invocation import read_settings, run_to_end
from saga_service.settings import Settings
from saga_service.store.schema.migrate import SchemaFit, SchemaUnfit, migrate
from saga_service.telemetry import configure_logging


def migrate_command() -> None:
    settings = read_settings()
    configure_logging(settings.log_format, settings.log_level)
    try:
        with postgres_errors_in_words(settings):
            revision = run_to_end(migrate(settings.postgres_dsn.get_secret_value()))
    except SchemaUnfit as error:
        raise CommandFailed(str(error), code=ExitCode.SCHEMA) from None
    typer.echo(f"the schema is at revision {revision}")


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
