"""`dev`: servers, service and workers for a first saga of one's own, on this machine, until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from saga_service.cli.access.effective_settings import read_own_settings
from saga_service.cli.console.development import chosen, develop
from saga_service.local.dev_record import DEV_FOLDER


def dev_command(
    definitions: Annotated[
        list[str] | None,
        typer.Option(
            "--definitions",
            "-d",
            help="Your sagas: YAML files or Python modules; else SAGA_DEFINITIONS, else the demo.",
        ),
    ] = None,
    workers: Annotated[
        list[str] | None,
        typer.Option("--worker", "-w", metavar="MODULE:WORKER", help="Your workers; else SAGA_WORKERS. Repeatable."),
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where the servers keep their data.")] = Path(DEV_FOLDER),
    reload: Annotated[
        bool, typer.Option("--reload/--no-reload", help="Start service and workers anew when a file is saved.")
    ] = True,
) -> None:
    settings = read_own_settings()
    develop(settings, chosen(definitions, workers, settings), folder, reload=reload)
