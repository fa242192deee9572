"""`migrate` and `worker-migrate` make the tables."""

from __future__ import annotations

from typing import Annotated

import typer

from saga_service.cli.access.inboxes import create_inbox
from saga_service.cli.access.postgres import postgres_errors_in_words
from saga_service.cli.commands.worker import load_named_worker
from saga_service.cli.exits import CommandFailed, ExitCode, do_each
from saga_service.cli.invocation import read_settings, run_to_end
from saga_service.store.schema.migrate import SchemaUnfit, migrate
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


def worker_migrate_command(
    workers: Annotated[
        list[str], typer.Argument(metavar="MODULE:WORKER...", help="The workers whose inboxes to make.")
    ],
) -> None:
    do_each(_migrate_worker, dict.fromkeys(workers))


def _migrate_worker(target: str) -> None:
    worker = load_named_worker(target)
    if worker.inbox is None:
        # Nothing is left to be done, so a script may name all workers of a deployment.
        typer.echo(f"worker '{worker.service}' has no inbox, and needs no table")
        return
    run_to_end(create_inbox(worker))
    typer.echo(f"the inbox of worker '{worker.service}' exists")
