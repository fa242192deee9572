"""`worker` runs workers as a process of their own; `worker-migrate` makes their inboxes in their own databases."""

from __future__ import annotations

from typing import Annotated

import asyncpg
import typer

from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.cli.invocation import read_settings, run_fast, run_to_end
from saga_service.settings import Settings
from saga_service.telemetry import configure_logging
from saga_service.worker import Worker, WorkerCannotStart, WorkerNotLoaded, load_worker, run_workers
from saga_service.worker.options import worker_options


def worker_command(
    workers: Annotated[list[str], typer.Argument(metavar="MODULE:WORKER...", help="The workers to run.")],
    check: Annotated[
        bool, typer.Option("--check", help="Only check that they can be run, and say what keeps them from it.")
    ] = False,
) -> None:
    settings = read_settings()
    configure_logging(settings.log_format, settings.log_level)
    loaded = [load_named_worker(target) for target in workers]
    if not check:
        run_fast(_work(settings, loaded))


def load_named_worker(target: str) -> Worker:
    """The worker that `module:attribute` names. Raises CommandFailed where there is none."""
    try:
        return load_worker(target)
    except WorkerNotLoaded as error:
        raise CommandFailed(str(error), code=ExitCode.USAGE) from None


async def _work(settings: Settings, workers: list[Worker]) -> None:
    try:
        await run_workers(workers, worker_options(settings))
    except WorkerCannotStart as error:
        raise CommandFailed(str(error)) from None
    except ValueError as error:
        raise CommandFailed(str(error), code=ExitCode.USAGE) from None


def worker_migrate_command(
    workers: Annotated[
        list[str], typer.Argument(metavar="MODULE:WORKER...", help="The workers whose inboxes to make.")
    ],
) -> None:
    loaded = [load_named_worker(target) for target in workers]
    for worker in loaded:
        if worker.inbox is None:
            raise CommandFailed(f"worker '{worker.service}' has no inbox, and needs no table", code=ExitCode.USAGE)
    for worker in loaded:
        run_to_end(_create_inbox(worker))
        typer.echo(f"the inbox of worker '{worker.service}' exists")


async def _create_inbox(worker: Worker) -> None:
    assert worker.inbox is not None, "looked at before"
    where = f"the database of the inbox of worker '{worker.service}'"
    try:
        await worker.inbox.create_tables()
    except asyncpg.InsufficientPrivilegeError as error:
        raise CommandFailed(
            f"{where} refuses: {error}",
            "run this with a role that may create a schema, and grant the worker's role the use of it",
            code=ExitCode.UNREACHABLE,
        ) from None
    except asyncpg.ClientConfigurationError as error:
        raise CommandFailed(f"the address of {where} cannot be used: {error}", code=ExitCode.USAGE) from None
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise CommandFailed(f"{where} cannot be used: {error!r}", code=ExitCode.UNREACHABLE) from None
