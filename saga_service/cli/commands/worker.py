"""`worker`: workers as a process of their own."""

from __future__ import annotations

from typing import Annotated

import typer

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.base.lifecycle import stop_on_signals
from saga_service.cli.access.effective_settings import read_settings
from saga_service.cli.console.output import counted, print_line
from saga_service.cli.exits import do_each
from saga_service.cli.invocation import run_fast
from saga_service.http.companion import http_beside
from saga_service.http.watched_process import WatchedProcess
from saga_service.metrics.worker_metrics import worker_metrics
from saga_service.settings import Settings, missing_address
from saga_service.telemetry import configure_logging
from saga_service.worker import Worker, WorkerCannotStart, WorkerNotLoaded, load_worker, run_workers
from saga_service.worker.options import worker_options


def worker_command(
    workers: Annotated[list[str], typer.Argument(metavar="MODULE:WORKER...", help="The workers to run.")],
    check: Annotated[
        bool, typer.Option("--check", help="Only check that they can be run. With the definitions: saga-service check")
    ] = False,
    migrate: Annotated[
        bool, typer.Option("--migrate", help="First make the tables of the inboxes, where they are missing.")
    ] = False,
) -> None:
    settings = read_settings(for_modules=True)
    configure_logging(settings.log_format, settings.log_level)
    loaded = do_each(load_named_worker, workers)
    if check:
        for worker in loaded:
            print_line(f"worker '{worker.service}': right, {counted(len(worker.handlers), 'handler')}")
    else:
        run_fast(_work(settings, loaded, migrate=migrate))


def load_named_worker(target: str) -> Worker:
    """The worker that `module:attribute` names. Raises Failure where there is none."""
    try:
        return load_worker(target)
    except WorkerNotLoaded as error:
        raise Failure(str(error), kind=FailureKind.INVALID) from None


async def _work(settings: Settings, workers: list[Worker], *, migrate: bool) -> None:
    if migrate:
        await _migrate(workers)
    if missing := missing_address(settings, "redis_url"):
        typer.echo(f"saga-service: redis at {settings.redis_url}{missing}", err=True)
    try:
        await _run(settings, workers)
    except WorkerCannotStart as error:
        raise Failure(str(error)) from None
    except ValueError as error:
        raise Failure(str(error), kind=FailureKind.INVALID) from None


async def _run(settings: Settings, workers: list[Worker]) -> None:
    options = worker_options(settings)
    async with stop_on_signals() as stop:
        process = WatchedProcess(stop, needs_postgres=False)
        async with http_beside(settings, process) as measurements:
            observer_of = worker_metrics(measurements)
            await run_workers(workers, options, stop=stop, liveness=process.workers, observer_of=observer_of)


async def _migrate(workers: list[Worker]) -> None:
    from saga_service.cli.access.postgres_writers import (
        create_inbox,  # a worker without an inbox needs no Postgres client
    )

    for worker in workers:
        await create_inbox(worker)
