"""The commands that run something: `run`, `worker`, `migrate`, and `health`, which a container asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from saga_service.cli.access.servers import read_settings
from saga_service.cli.console.exits import CommandFailed, ExitCode
from saga_service.cli.event_loop import run_fast, run_to_end

if TYPE_CHECKING:
    from saga_service.settings import Settings
    from saga_service.worker import Worker


def run_command() -> None:
    """Run the service until SIGTERM or SIGINT; a second signal ends it at once. Any number may run side by side."""
    settings = _with_logging(read_settings())
    run_fast(_serve(settings))


def worker_command(
    workers: Annotated[list[str], typer.Argument(metavar="MODULE:WORKER...", help="The workers to run.")],
    check: Annotated[bool, typer.Option("--check", help="Only see whether they can be run, and tell why not.")] = False,
) -> None:
    """Run workers until SIGTERM or SIGINT; a second signal ends it at once. Any number may run side by side."""
    settings = _with_logging(read_settings())
    loaded = [load_named_worker(target) for target in workers]
    if not check:
        run_fast(_work(settings, loaded))


def migrate_command() -> None:
    """Bring the database schema up to date. Safe to run by many at once, and to run again."""
    from saga_service.cli.access.servers import postgres_errors_in_words
    from saga_service.store.schema.migrate import migrate
    from saga_service.store.schema.version import SchemaUnfit

    settings = _with_logging(read_settings())
    try:
        with postgres_errors_in_words(settings):
            revision = run_to_end(migrate(settings.postgres_dsn.get_secret_value()))
    except SchemaUnfit as error:
        raise CommandFailed(str(error), ExitCode.SCHEMA) from None
    typer.echo(f"the schema is at revision {revision}")


def health_command() -> None:
    """Whether both servers answer and the schema is current, by exit code; for container health checks."""
    run_to_end(_check_health(read_settings()))
    typer.echo("ok")


async def _serve(settings: Settings) -> None:
    from saga_service.app import run_service
    from saga_service.definitions import DefinitionErrors
    from saga_service.startup import StartupRefused
    from saga_service.worker import WorkerCannotStart, WorkerNotLoaded

    try:
        await run_service(settings)
    except StartupRefused as error:
        raise CommandFailed(str(error)) from None
    except (DefinitionErrors, WorkerNotLoaded) as error:
        raise CommandFailed(str(error), ExitCode.USAGE) from None
    except ExceptionGroup as group:
        # A worker inside the service runs beside it, so what ends it comes with whatever else ended.
        refusals = group.subgroup(WorkerCannotStart)
        if refusals is None:
            raise
        raise CommandFailed(_first_of(refusals)) from None


def _first_of(group: BaseExceptionGroup[BaseException]) -> str:
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else str(first)


async def _work(settings: Settings, workers: list[Worker]) -> None:
    from saga_service.worker import WorkerCannotStart, run_workers
    from saga_service.worker.options import worker_options

    try:
        await run_workers(workers, worker_options(settings))
    except WorkerCannotStart as error:
        raise CommandFailed(str(error)) from None
    except ValueError as error:
        raise CommandFailed(str(error), ExitCode.USAGE) from None


def load_named_worker(target: str) -> Worker:
    """The worker that `module:attribute` names. Raises CommandFailed."""
    from saga_service.worker import WorkerNotLoaded, load_worker

    try:
        return load_worker(target)
    except WorkerNotLoaded as error:
        raise CommandFailed(str(error), ExitCode.USAGE) from None


async def _check_health(settings: Settings) -> None:
    from saga_service.cli.access.servers import open_postgres, open_redis, schema_of
    from saga_service.store.schema.version import SchemaFit

    async with open_redis(settings) as client:
        await client.execute_command("PING")
    async with open_postgres(settings) as connection:
        state = await schema_of(connection)
    if state.fit is not SchemaFit.CURRENT:
        raise CommandFailed(state.advice, ExitCode.SCHEMA)


def _with_logging(settings: Settings) -> Settings:
    from saga_service.telemetry import configure_logging

    configure_logging(settings.log_format, settings.log_level)
    return settings
