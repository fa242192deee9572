"""`check`: definitions against workers, as they are in modules, or as they run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from saga_service.admin.definitions import given_sources, load_catalog
from saga_service.admin.deployment_in_force import what_is_in_force
from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.worker_handlers import services_named_alone
from saga_service.cli.access.effective_settings import read_settings
from saga_service.cli.access.redis import CommandServers
from saga_service.cli.commands.worker import load_named_worker
from saga_service.cli.console.output import AsJson, counted, print_json, print_line, print_mismatch
from saga_service.cli.exits import ExitCode, do_each
from saga_service.cli.invocation import run_to_end
from saga_service.definitions import DefinedSaga
from saga_service.definitions.compatibility import Mismatch, compare
from saga_service.settings import Settings
from saga_service.wire.worker_description import WorkerDescription
from saga_service.worker.description import describe

_ELSEWHERE = "or, where its workers are not to be looked at: --elsewhere SERVICE"
ADD_IT = f"name it with --worker, {_ELSEWHERE}"
START_IT = f"start it: saga-service worker MODULE:WORKER, {_ELSEWHERE}"


def check_command(
    definitions: Annotated[
        list[str] | None,
        typer.Option("--definitions", "-d", help="YAML files, directories or Python modules; else SAGA_DEFINITIONS."),
    ] = None,
    workers: Annotated[
        list[str] | None,
        typer.Option("--worker", "-w", metavar="MODULE:WORKER", help="The workers; else SAGA_WORKERS. Repeatable."),
    ] = None,
    elsewhere: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SERVICE",
            help="A service whose workers are not looked at, such as one in another language. Repeatable.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    settings = read_settings(for_modules=True)
    not_looked_at = list(elsewhere or ())
    if definitions or workers:
        specs = load_catalog(given_sources(definitions, settings), settings.stream_prefix, FailureKind.PROBLEM).specs()
        described, unread = _described(workers, settings), list[str]()
    else:
        specs, described, unread = run_to_end(what_is_in_force(CommandServers(settings)))
        not_looked_at += services_named_alone(described)
    found = [*compare(specs, described, not_looked_at), *(Mismatch(False, text) for text in unread)]
    if as_json:
        print_json(_facts(specs, described, found))
    else:
        is_named = bool(definitions or workers)
        _print(specs, described, found, ADD_IT if is_named else START_IT)
    if any(each.is_problem for each in found):
        raise typer.Exit(ExitCode.PROBLEM)


def _described(workers: Sequence[str] | None, settings: Settings) -> list[WorkerDescription]:
    targets = list(workers or settings.workers)
    if not targets:
        raise Failure("no workers are given", "name them with --worker, or set SAGA_WORKERS", kind=FailureKind.INVALID)
    return [describe(worker) for worker in do_each(load_named_worker, dict.fromkeys(targets))]


def _facts(
    specs: Sequence[DefinedSaga], workers: Sequence[WorkerDescription], found: Sequence[Mismatch]
) -> dict[str, object]:
    return {
        "sagas": [spec.name for spec in specs],
        "workers": [worker.to_json() for worker in workers],
        "problems": [each for each in found if each.is_problem],
        "hints": [each for each in found if not each.is_problem],
    }


def _print(
    specs: Sequence[DefinedSaga], workers: Sequence[WorkerDescription], found: Sequence[Mismatch], without_worker: str
) -> None:
    for each in found:
        print_mismatch(each, without_worker)
    if any(each.is_problem for each in found):
        return
    sagas, services = counted(len(specs), "saga"), counted(len({worker.service for worker in workers}), "worker")
    if found:
        print_line(f"{sagas} and {services} have no problem that is certain; {counted(len(found), 'hint')} above")
    else:
        print_line(f"right: {sagas} and {services} fit together")
