"""Workers by their names on the command line."""

from __future__ import annotations

from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.worker import Worker, WorkerNotLoaded, load_worker


def load_named_worker(target: str) -> Worker:
    """The worker that `module:attribute` names. Raises CommandFailed where there is none."""
    try:
        return load_worker(target)
    except WorkerNotLoaded as error:
        raise CommandFailed(str(error), code=ExitCode.USAGE) from None
