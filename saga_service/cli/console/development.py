"""The run of `dev`: servers, service and workers, checked at their start and started anew when a file is saved."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

import orjson
import typer

from saga_service.admin.definitions import load_catalog
from saga_service.admin.failure_kinds import Failure
from saga_service.admin.views import list_processes
from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.console.lines_to_paste import print_lines_to_paste, starts_of, starts_of_demo
from saga_service.cli.console.local import (
    ADDRESSES,
    DEMO_DEFINITIONS,
    DEMO_WORKERS,
    embedded_servers,
    fail_if_dead,
    settings_for,
    stay_until_signal,
)
from saga_service.cli.console.local_api import LocalApi, local_api
from saga_service.cli.console.output import print_mismatch
from saga_service.cli.console.saga_ends import told_ends
from saga_service.cli.exits import ExitCode
from saga_service.definitions import Catalog
from saga_service.definitions.compatibility import Mismatch
from saga_service.local.dev_record import recorded
from saga_service.local.processes import Child, ChildGroup
from saga_service.local.source_watch import Changes, watched
from saga_service.settings import ENVIRONMENT_PREFIX, Settings, at_addresses, effective_settings, variable_of

SERVICE_S_MAX = 30.0
POLL_S = 0.1
WITHOUT_WORKER = "name it with --worker, or run it beside, in this folder: saga-service worker MODULE:WORKER"
DECIDED_BY_DEV = ("SAGA_POSTGRES_DSN", "SAGA_REDIS_URL", "SAGA_MIGRATE_AT_START")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Sources of definitions, and workers, to be run."""

    sources: tuple[str, ...]
    workers: tuple[str, ...]
    is_by_default: bool = False
    """True where nothing names the sources."""

    @property
    def is_demo(self) -> bool:
        return self.sources == (DEMO_DEFINITIONS,)

    @property
    def arguments(self) -> list[str]:
        """The sources and workers as options of `check`."""
        return [*(f"--definitions={each}" for each in self.sources), *(f"--worker={each}" for each in self.workers)]


def chosen(definitions: Sequence[str] | None, workers: Sequence[str] | None, settings: Settings) -> Chosen:
    """Choose what the command names, else what the settings name, else the demo: sagas and workers together."""
    sources = tuple(definitions or settings.definitions) or (DEMO_DEFINITIONS,)
    named = tuple(workers or settings.workers)
    is_by_default = not (definitions or settings.definitions)
    return Chosen(sources, named or (DEMO_WORKERS if sources == (DEMO_DEFINITIONS,) else ()), is_by_default)


def develop(own: Settings, what: Chosen, folder: Path, *, reload: bool) -> None:
    """Run until a signal ends it. Raises Failure where it cannot start, and Exit where a child has told why.

    Without `reload` it also raises Failure where a process ends by itself.
    """
    tell_what_is_not_used(own)
    with ExitStack() as stack:
        if_nothing_runs = stack.enter_context(ExitStack())
        was_there = folder.exists()
        servers = stack.enter_context(embedded_servers(folder))
        # A mistyped name leaves nothing behind, in what may be the wrong folder. But the folder may be anybody's, and
        # another dev may have come first, and have run while this one waited for it.
        if not (was_there or servers.postgres.had_data):
            if_nothing_runs.callback(rmtree, folder, ignore_errors=True)
        tell_what_runs_unasked(what)
        settings = environment(settings_for(servers), what, own)
        # The author's modules may look for these as they are imported, here as in the children.
        os.environ.update(settings)
        catalog = load_catalog(what.sources, own.stream_prefix)
        children = stack.enter_context(ChildGroup(settings, None))
        api = stack.enter_context(local_api(settings, own))
        development = Development(children, what, api)
        development.begin()
        if_nothing_runs.pop_all()
        development.wait_for_service(at_addresses(own, settings))
        starts = starts_of_demo() if what.is_demo else starts_of(catalog, own.stream_prefix)
        print_lines_to_paste(servers, starts, own.stream_prefix, api)
        _tell_what_workers_get(what, catalog)
        stack.enter_context(recorded(Path.cwd(), {name: settings[name] for name in ADDRESSES}))
        stack.enter_context(told_ends(at_addresses(own, settings)))
        changes = stack.enter_context(_watched(what, folder)) if reload else None
        stay_until_signal(development.at_each_look(changes))
    typer.echo(f"ended; the data is kept in {folder}: dev goes on with it, or remove it to begin anew", err=True)


def environment(of_dev: dict[str, str], what: Chosen, own: Settings) -> dict[str, str]:
    """The settings of the children: this process's own, and over them what `dev` decides."""
    inherited = {name: value for name, value in os.environ.items() if name.startswith(ENVIRONMENT_PREFIX)}
    # The children read `.env` and secrets themselves, so nothing may stand before what these have.
    set_by_user = {variable_of(field) for field in own.model_fields_set}
    preferred = {name: value for name, value in of_dev.items() if name not in set_by_user}
    decided = {name: of_dev[name] for name in DECIDED_BY_DEV}
    # The workers run apart from the service, so that one of them can be debugged, and started anew, by itself.
    run_apart = {"SAGA_DEFINITIONS": ",".join(what.sources), "SAGA_WORKERS": ","}
    return {**preferred, **inherited, **decided, **run_apart}


def tell_what_is_not_used(own: Settings) -> None:
    """Name the settings that `dev` does not pass on."""
    for setting in effective_settings(own):
        if setting.variable in DECIDED_BY_DEV and setting.origin != "default":
            typer.echo(
                f"{setting.variable} (from the {setting.origin}) is not used: dev has servers of its own", err=True
            )


def tell_what_runs_unasked(what: Chosen) -> None:
    """Say that the demo's sagas run, where nothing names others."""
    if not what.is_by_default:
        return
    if what.workers == DEMO_WORKERS:
        typer.echo("no definitions are given: the demo runs; name yours with --definitions and --worker", err=True)
    else:
        module = what.workers[0].partition(":")[0]
        typer.echo(
            f"no definitions are given: the demo's sagas run; name yours, such as --definitions {module}", err=True
        )


def _tell_what_workers_get(what: Chosen, catalog: Catalog) -> None:
    if what.workers and not what.is_demo:
        typer.echo(
            "\nworkers have these addresses in SAGA_POSTGRES_DSN and SAGA_REDIS_URL; an inbox may be in this Postgres: "
            "PostgresInbox(os.environ['SAGA_POSTGRES_DSN'])",
            err=True,
        )
    if what.workers or not catalog.services():
        return
    typer.echo(
        f"\nno workers run here, and the sagas need {', '.join(catalog.services())}: {WITHOUT_WORKER}",
        err=True,
    )


async def _is_alive(service: Child, settings: Settings) -> bool:
    """True if the service is among the processes that are alive. Before it has made its tables it is not."""
    with suppress(Failure):
        async with open_postgres(settings) as connection:
            return any(each.pid == service.pid for each in await list_processes(connection))
    return False


@contextmanager
def _watched(what: Chosen, folder: Path) -> Iterator[Changes]:
    files = [Path(source) for source in what.sources if Path(source).exists()]
    folders = [Path.cwd(), *(file if file.is_dir() else file.parent for file in files)]
    modules = [each.partition(":")[0] for each in (*what.sources, *what.workers)]
    with watched(folders, folder, modules) as changes:
        yield changes


class Development:
    """The service and the workers of one `dev`, as child processes."""

    def __init__(self, children: ChildGroup, what: Chosen, api: LocalApi | None) -> None:
        self._children = children
        self._what = what
        self._api = api
        self._failed_watch: str | None = None

    def begin(self) -> None:
        """Start the service and the workers, once all can be loaded. Raises Exit where something cannot."""
        # Nothing that runs has written a line by then, so what is wrong is the last word.
        if code := self._check():
            raise typer.Exit(code)
        self._start_all()

    def wait_for_service(self, settings: Settings) -> None:
        """Wait until the service has said that it is alive, so that lines to paste work from the first one on.

        Where it has ended, or takes longer than SERVICE_S_MAX, nobody waits for it.
        """
        [service] = [child for child in self._children.children if child.name == "service"]
        ends_at_s = time.monotonic() + SERVICE_S_MAX
        while service.is_running() and time.monotonic() < ends_at_s:
            if asyncio.run(_is_alive(service, settings)):
                return
            time.sleep(POLL_S)

    def at_each_look(self, changes: Changes | None) -> Callable[[], None]:
        """Return what is to be done twice a second. Without `changes` it raises Failure for an ended process."""

        def look() -> None:
            if self._api is not None:
                self._api.tell_if_dead()
            if changes is None:
                fail_if_dead(self._children)
                return
            if files := changes.take():
                self._start_anew(files)
            self._tell_of_dead()
            self._tell_of_failure(changes)

        return look

    def _start_anew(self, files: Sequence[str]) -> None:
        named = files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
        typer.echo(f"\n{named} changed", err=True)
        if self._check():
            typer.echo("not started anew: what ran before goes on", err=True)
            return
        self._children.end()
        self._start_all()
        typer.echo("starting anew", err=True)

    def _start_all(self) -> None:
        self._children.start("service", "run")
        if self._what.workers:
            self._children.start("workers", "worker", "--migrate", *self._what.workers)

    def _check(self) -> int:
        """Tell what does not fit. Returns an exit code other than 0 where something cannot even be loaded.

        A process of its own loads the modules: only there they find the settings that they may need, and the latest
        code.
        """
        if not self._what.workers:
            code, _ = self._children.output_of("check", "definitions", "check", *self._what.sources)
            return code
        code, out = self._children.output_of("check", "check", "--json", *self._what.arguments)
        try:
            found = orjson.loads(out)
        except orjson.JSONDecodeError:
            return code or ExitCode.PROBLEM
        for each in [*found["problems"], *found["hints"]]:
            print_mismatch(Mismatch(**each), WITHOUT_WORKER)
        return ExitCode.FINE

    def _tell_of_dead(self) -> None:
        for child in self._children.dead():
            self._children.forget(child)
            beside = f", or: saga-service worker {' '.join(self._what.workers)}" if child.name == "workers" else ""
            typer.echo(
                f"\nthe process '{child.name}' {child.ending}; it starts anew when a file is saved{beside}", err=True
            )

    def _tell_of_failure(self, changes: Changes) -> None:
        if changes.failed != self._failed_watch:
            self._failed_watch = changes.failed
            typer.echo(f"files are not watched any more ({changes.failed}): start dev anew after a change", err=True)
