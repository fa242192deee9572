"""`processes`: the services and workers that are alive, by the view `saga.processes`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from saga_service.admin.views import ProcessRow, list_processes
from saga_service.cli.access.effective_settings import read_settings
from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.console.output import AsJson, duration, print_json
from saga_service.cli.console.tables import print_table
from saga_service.cli.invocation import run_to_end
from saga_service.settings import Settings


def processes_command(
    with_dead: Annotated[
        bool, typer.Option("--all", help="Those too that have stopped, or said nothing more, within a day.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    found = run_to_end(_list(read_settings(), with_dead))
    if as_json:
        print_json(found)
    elif not found:
        typer.echo("no service and no worker is alive", err=True)
    else:
        now = datetime.now(UTC)
        columns = ("kind", "name", "status", "version", "started", "seen", "load", "has")
        print_table(columns, [_cells(row, now) for row in found], texts=("has",))


async def _list(settings: Settings, with_dead: bool) -> list[ProcessRow]:
    async with open_postgres(settings) as connection:
        return await list_processes(connection, with_dead=with_dead)


def _cells(row: ProcessRow, now: datetime) -> tuple[str, ...]:
    started = "" if row.started_at is None else duration(now - row.started_at)
    seen = duration(now - row.last_seen_at)
    return row.kind, row.name, row.status, row.version, started, seen, _load(row), ", ".join(has(row))


def _load(row: ProcessRow) -> str:
    if row.slots is None:
        return ""
    rate = "" if row.handled_per_s is None else f", {row.handled_per_s:g}/s"
    return f"{row.in_flight or 0} of {row.slots}{rate}"


def has(row: ProcessRow) -> list[str]:
    """The names of a service's sagas, or of a worker's services with the number of their handlers."""
    if row.kind == "service":
        return sorted(row.definitions)
    return [f"{each.get('service')} ({len(each.get('handlers', ()))})" for each in row.services]
