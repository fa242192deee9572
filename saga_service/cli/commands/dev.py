"""`dev`: everything that a first saga of one's own needs, on this machine, until Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saga_service.cli.access.definitions import load_catalog
from saga_service.cli.access.local import (
    DEMO_DEFINITIONS,
    DEMO_WORKERS,
    demo_entries,
    embedded_servers,
    entries_of,
    print_lines_to_paste,
    settings_for,
)
from saga_service.cli.console.exits import CommandFailed, ExitCode
from saga_service.wire.stream_names import PREFIX_DEFAULT

if TYPE_CHECKING:
    from saga_service.local.processes import Child, Family

DATA_FOLDER = Path(".saga")
CHECK_S = 0.5
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a polite kill, and a terminal that is closed."""


def dev_command(
    definitions: Annotated[
        list[str] | None,
        typer.Option("--definitions", "-d", help="Your sagas: YAML files or Python modules. The demo's without it."),
    ] = None,
    workers: Annotated[
        list[str] | None,
        typer.Option("--worker", "-w", metavar="MODULE:WORKER", help="Your workers. The demo's without any."),
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where the servers keep their data.")] = DATA_FOLDER,
) -> None:
    """Run embedded servers, the service and workers on this machine, until Ctrl-C. The data is kept."""
    from saga_service.local.processes import Family

    sources = definitions or [DEMO_DEFINITIONS]
    catalog = load_catalog(sources, PREFIX_DEFAULT)
    with embedded_servers(folder) as servers:
        settings = {**settings_for(servers), "SAGA_DEFINITIONS": ",".join(sources)}
        with Family(settings, None) as family:
            family.start("service", "run")
            if workers:
                _check(family, workers)
            family.start("workers", "worker", *(workers or DEMO_WORKERS))
            print_lines_to_paste(servers, entries_of(catalog) if definitions else demo_entries(), sources)
            stay(family)


def _check(family: Family, workers: Sequence[str]) -> None:
    """Before anything is said of what could be done with them. What is wrong is on the terminal already.

    In a process of its own, since only there the modules find the settings that they may need when they are imported.
    """
    if code := family.run("workers", "worker", "--check", *workers):
        raise typer.Exit(code)


def stay(family: Family) -> None:
    """Until one of ENDING comes. Raises CommandFailed where one of the processes ends before."""
    import threading

    told = threading.Event()
    before = [(number, signal.signal(number, lambda *_: told.set())) for number in ENDING if not _is_ignored(number)]
    typer.echo("\nrunning; Ctrl-C ends it", err=True)
    try:
        while not told.wait(CHECK_S):
            _miss(family.dead())
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _is_ignored(number: int) -> bool:
    """Whoever started this by nohup wants it to outlive the terminal."""
    return signal.getsignal(number) is signal.SIG_IGN


def _miss(dead: Sequence[Child]) -> None:
    if dead:
        names = ", ".join(child.name for child in dead)
        raise CommandFailed(f"ended by itself: {names}; see the log above", ExitCode.PROBLEM)
