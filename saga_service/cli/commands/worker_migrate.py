"""`worker-migrate`: the table of a worker's inbox, in the database of its handlers."""

from __future__ import annotations

from typing import Annotated

import asyncpg
import typer

from saga_service.cli.commands.worker import load_named_worker
from saga_service.cli.event_loop import run_to_end
from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.worker import Worker


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
