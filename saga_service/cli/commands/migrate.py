"""`migrate`: the database schema, brought up to date."""

from __future__ import annotations

import typer

from saga_service.cli.access.postgres import postgres_errors_in_words
from saga_service.cli.access.settings import read_settings
from saga_service.cli.event_loop import run_to_end
from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.store.schema.migrate import migrate
from saga_service.store.schema.version import SchemaUnfit
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
