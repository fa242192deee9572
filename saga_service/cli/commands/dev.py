"""`dev`: servers, service and workers for a first saga of one's own, on this machine, until Ctrl-C."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from saga_service.cli.access.definitions import load_catalog
from saga_service.cli.console.local import (
    DEMO_DEFINITIONS,
    DEMO_WORKERS,
    demo_entries,
    embedded_servers,
    entries_of,
    print_lines_to_paste,
    settings_for,
    stay_until_signal,
)
from saga_service.local.processes import ChildGroup
from saga_service.wire.transport import PREFIX_DEFAULT

DATA_FOLDER = Path(".saga")


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
    sources = definitions or [DEMO_DEFINITIONS]
    catalog = load_catalog(sources, PREFIX_DEFAULT)
    with embedded_servers(folder) as servers:
        settings = {**settings_for(servers), "SAGA_DEFINITIONS": ",".join(sources)}
        with ChildGroup(settings, None) as children:
            children.start("service", "run")
            if workers:
                _check(children, workers)
            children.start("workers", "worker", *(workers or DEMO_WORKERS))
            print_lines_to_paste(servers, entries_of(catalog) if definitions else demo_entries(), sources)
            stay_until_signal(children)


def _check(children: ChildGroup, workers: Sequence[str]) -> None:
    """Check the workers before anything to paste is printed. What is wrong is on the terminal by then."""
    # In a process of its own: only there the modules find the settings that they may need when they are imported.
    if code := children.run("workers", "worker", "--check", *workers):
        raise typer.Exit(code)
