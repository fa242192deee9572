"""The tables of workers' inboxes, in the workers' own databases."""

from __future__ import annotations

import asyncpg

from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.worker import Worker


async def create_inbox(worker: Worker) -> None:
    """Make the inbox's table of a worker that has one. Raises CommandFailed where its database cannot be used."""
    if worker.inbox is None:
        return
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
