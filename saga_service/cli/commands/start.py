"""`start`: add the entry that starts a saga, as any producer may, and follow the saga to its end with `--wait`."""

from __future__ import annotations

from typing import Annotated

import typer

from saga_service.cli.access.arguments import given_data, given_fields
from saga_service.cli.access.settings import read_settings
from saga_service.cli.access.starts import StartedSaga, StartRequest, start
from saga_service.cli.console.follow import wait_for_end
from saga_service.cli.console.options import AsJson, Data
from saga_service.cli.console.output import print_json, print_line
from saga_service.cli.event_loop import run_to_end

FOLLOW_S = 300.0


def start_command(
    saga: Annotated[str, typer.Argument(help="The saga's name.")],
    data: Data = None,
    field: Annotated[
        list[str] | None,
        typer.Option(
            "--field",
            "-f",
            metavar="NAME=VALUE",
            help="One field of the input, read by the saga's schema; where none is known, as JSON, else as text.",
        ),
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Business key: two starts with the same one are the same saga.")
    ] = None,
    event_id: Annotated[
        str | None, typer.Option("--id", help="Event id: two starts with the same one are the same saga.")
    ] = None,
    stream: Annotated[
        str | None, typer.Option(help="Add the fields as they are to this stream, one that triggers the saga.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the saga has ended, and print what happens.")
    ] = False,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0.1, help="With --wait: how long to wait, in seconds.")
    ] = FOLLOW_S,
    as_json: AsJson = False,
) -> None:
    settings = read_settings()
    request = StartRequest(saga, given_data(data, field), given_fields(field), key, event_id, stream)
    started = run_to_end(start(settings, request, is_awaited=wait))
    if not (wait and as_json):
        _print_started(started, as_json)
    if wait:
        raise typer.Exit(run_to_end(wait_for_end(settings, started, timeout_s, as_json=as_json)))


def _print_started(started: StartedSaga, as_json: bool) -> None:
    if as_json:
        print_json(started)
        return
    added = f"added to {started.stream} as {started.entry_id}"
    if started.saga_id is None:
        typer.echo(f"{added}\nthe saga's id is not known: {started.id_unknown_because}", err=True)
        return
    print_line(started.saga_id)
    if started.is_new is False:
        typer.echo("nothing new was started: this saga exists already, and this is its story:", err=True)
    else:
        typer.echo(f"{added}; look: saga-service show {started.saga_id}", err=True)
