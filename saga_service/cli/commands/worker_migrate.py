"""`worker-migrate`: the table of a worker's inbox, in the handlers' own database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from saga_service.cli.commands.run import load_named_worker
from saga_service.cli.console.exits import CommandFailed, ExitCode
from saga_service.cli.event_loop import run_to_end

if TYPE_CHECKING:
    from saga_service.worker import Worker


def worker_migrate_command(
    workers: Annotated[
        list[str], typer.Argument(metavar="MODULE:WORKER...", help="The workers whose inboxes to make.")
    ],
) -> None:
    """Make the inbox's table in the workers' own databases. Safe to run by many at once, and to run again."""
    loaded = [load_named_worker(target) for target in workers]
    for worker in loaded:
        if worker.inbox is None:
            raise CommandFailed(f"worker '{worker.service}' has no inbox, and needs no table", ExitCode.USAGE)
    for worker in loaded:
        run_to_end(_make_inbox(worker))
        typer.echo(f"the inbox of worker '{worker.service}' is there")


async def _make_inbox(worker: Worker) -> None:
    import asyncpg

    assert worker.inbox is not None, "looked at before"
    where = f"the database of the inbox of worker '{worker.service}'"
    try:
        await worker.inbox.create_tables()
    except asyncpg.InsufficientPrivilegeError as error:
        advice = "run this with a role that may create a schema, and grant the worker's role the use of it"
        raise CommandFailed(f"{where} refuses: {error}; {advice}", ExitCode.UNREACHABLE) from None
    except asyncpg.ClientConfigurationError as error:
        raise CommandFailed(f"the address of {where} cannot be used: {error}", ExitCode.USAGE) from None
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise CommandFailed(f"{where} cannot be used: {error!r}", ExitCode.UNREACHABLE) from None
