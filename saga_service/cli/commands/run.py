"""`run`: the service."""

from __future__ import annotations

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.app import run_service
from saga_service.cli.access.effective_settings import read_settings
from saga_service.cli.invocation import run_fast
from saga_service.definitions import DefinitionErrors
from saga_service.engine.failures import StoreBroken
from saga_service.settings import Settings
from saga_service.startup import SchemaRefused, ServerRefused, SettingsRefused, StartupRefused
from saga_service.telemetry import configure_logging
from saga_service.worker import WorkerCannotStart, WorkerNotLoaded


def run_command() -> None:
    settings = read_settings(for_modules=True)
    configure_logging(settings.log_format, settings.log_level)
    run_fast(_serve(settings))


async def _serve(settings: Settings) -> None:
    try:
        await run_service(settings)
    except StartupRefused as error:
        raise Failure(str(error), kind=_kind_of(error)) from None
    except (DefinitionErrors, WorkerNotLoaded) as error:
        raise Failure(str(error), kind=FailureKind.INVALID) from None
    except ExceptionGroup as group:
        # A loop and a worker inside the service are tasks of several, and their errors may come with those of others.
        if refusals := group.subgroup(WorkerCannotStart):
            raise Failure(_first_of(refusals)) from None
        if broken := group.subgroup(StoreBroken):
            raise Failure(
                f"Postgres at {settings.postgres_dsn} refuses what the service needs, and the service has ended: "
                f"{_first_of(broken)}",
                "check the rights of the role in SAGA_POSTGRES_DSN, and run: saga-service migrate",
                kind=FailureKind.UNREACHABLE,
            ) from None
        raise


def _kind_of(error: StartupRefused) -> FailureKind:
    match error:
        case ServerRefused():
            return FailureKind.UNREACHABLE
        case SchemaRefused():
            return FailureKind.SCHEMA
        case SettingsRefused():
            return FailureKind.INVALID
        case _:
            return FailureKind.PROBLEM


def _first_of(group: BaseExceptionGroup[BaseException]) -> str:
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else str(first)
