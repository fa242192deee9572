"""`migrate` and `worker-migrate` make the tables."""

from __future__ import annotations

from typing import Annotated

import typer

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.cli.access.effective_settings import read_settings
from saga_service.cli.access.postgres import postgres_errors_told
from saga_service.cli.access.postgres_writers import create_inbox
from saga_service.cli.commands.worker import load_named_worker
from saga_service.cli.exits import do_each
from saga_service.cli.invocation import run_to_end
from saga_service.settings import Settings
from saga_service.store.schema.migrate import SchemaUnfit, migrate, rename_deployment
from saga_service.telemetry import configure_logging


def migrate_command(
    rename: Annotated[
        bool,
        typer.Option(
            "--rename",
            help="Also record SAGA_STREAM_PREFIX and SAGA_CONSUMER_GROUP as those of the database's deployment, after "
            "they were changed. Stop every replica first.",
        ),
    ] = False,
) -> None:
    settings = read_settings()
    configure_logging(settings.log_format, settings.log_level)
    try:
        with postgres_errors_told(settings):
            revision = run_to_end(migrate(settings.postgres_dsn.get_secret_value()))
            if rename:
                run_to_end(_rename(settings))
    except SchemaUnfit as error:
        raise Failure(str(error), kind=FailureKind.SCHEMA) from None
    typer.echo(f"the schema is at revision {revision}")
    if rename:
        typer.echo(f"the database belongs to the deployment of {settings.stream_prefix} and {settings.consumer_group}")


async def _rename(settings: Settings) -> None:
    dsn = settings.postgres_dsn.get_secret_value()
    await rename_deployment(dsn, settings.stream_prefix, settings.consumer_group)


def worker_migrate_command(
    workers: Annotated[
        list[str], typer.Argument(metavar="MODULE:WORKER...", help="The workers whose inboxes to make.")
    ],
) -> None:
    read_settings(for_modules=True)
    do_each(_migrate_worker, dict.fromkeys(workers))


def _migrate_worker(target: str) -> None:
    worker = load_named_worker(target)
    if worker.inbox is None:
        # Nothing is left to be done, so a script may name all workers of a deployment.
        typer.echo(f"worker '{worker.service}' has no inbox, and needs no table")
        return
    run_to_end(create_inbox(worker))
    typer.echo(f"the inbox of worker '{worker.service}' exists")
