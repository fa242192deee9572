"""`run`: the service."""

from __future__ import annotations

from saga_service.app import run_service
from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.cli.invocation import read_settings, run_fast
from saga_service.definitions import DefinitionErrors
from saga_service.settings import Settings
from saga_service.startup import StartupRefused
from saga_service.telemetry import configure_logging
from saga_service.worker import WorkerCannotStart, WorkerNotLoaded


def run_command() -> None:
    settings = read_settings()
    configure_logging(settings.log_format, settings.log_level)
    run_fast(_serve(settings))


async def _serve(settings: Settings) -> None:
    try:
        await run_service(settings)
    except StartupRefused as error:
        raise CommandFailed(str(error)) from None
    except (DefinitionErrors, WorkerNotLoaded) as error:
        raise CommandFailed(str(error), code=ExitCode.USAGE) from None
    except ExceptionGroup as group:
        # A worker inside the service is one task of several, and its error may come with those of others.
        refusals = group.subgroup(WorkerCannotStart)
        if refusals is None:
            raise
        raise CommandFailed(_first_of(refusals)) from None


def _first_of(group: BaseExceptionGroup[BaseException]) -> str:
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else str(first)
