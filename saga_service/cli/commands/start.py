"""`start`: add the entry that starts a saga, as any client may, and if asked stay until the saga's end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from saga_service.cli.access.servers import read_settings
from saga_service.cli.console.exits import CommandFailed, ExitCode
from saga_service.cli.event_loop import run_to_end

if TYPE_CHECKING:
    from saga_service.cli.access.starts import StartedSaga
    from saga_service.core.state import JsonObject


def start_command(
    saga: Annotated[str, typer.Argument(help="The saga's name.")],
    data: Annotated[
        str | None, typer.Option(metavar="JSON", help="The input as a JSON object; - reads it from stdin.")
    ] = None,
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
    wait: Annotated[bool, typer.Option("--wait", help="Stay until the saga has ended, and tell what happens.")] = False,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0.1, help="With --wait: how long to stay, in seconds.")
    ] = 300.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Start a saga by adding its event. The input is checked by SAGA_DEFINITIONS, or by what Postgres has on record."""
    from saga_service.cli.access.starts import StartRequest, start

    settings = read_settings()
    request = StartRequest(saga, given_data(data, field), given_fields(field), key, event_id, stream)
    started = run_to_end(start(settings, request, is_awaited=wait))
    if not wait:
        _print_started(started, as_json)
        return
    from saga_service.cli.access.outcomes import wait_for_end

    if not as_json:
        _print_started(started, as_json=False)
    raise typer.Exit(run_to_end(wait_for_end(settings, started, timeout_s, as_json=as_json)))


def _print_started(started: StartedSaga, as_json: bool) -> None:
    from saga_service.cli.console.output import print_json, print_line

    if as_json:
        print_json(started)
        return
    added = f"added to {started.stream} as {started.entry_id}"
    if started.saga_id is None:
        typer.echo(f"{added}\nthe saga's id is not known: {started.id_unknown_because}", err=True)
        return
    print_line(started.saga_id)
    if started.is_new is False:
        typer.echo("nothing new was started: this saga is there already, and this is its story:", err=True)
    else:
        typer.echo(f"{added}; look: saga-service show {started.saga_id}", err=True)


def given_data(data: str | None, fields: list[str] | None) -> JsonObject | None:
    """What `--data` says, or stdin where it is -. Raises CommandFailed where it is no JSON object."""
    if data is not None and fields:
        raise CommandFailed("give the input by --data or by --field, not by both", ExitCode.USAGE)
    if data is None:
        return None
    return read_json_object(sys.stdin.read() if data == "-" else data, "--data")


def read_json_object(text: str, option: str) -> JsonObject:
    """Raises CommandFailed where what `option` says is none."""
    from saga_service.wire.entries import Malformed
    from saga_service.wire.json import read_object

    try:
        return read_object(text.encode("utf-8", "surrogateescape"), option)
    except Malformed as error:
        raise CommandFailed(str(error).replace(f"field '{option}'", option), ExitCode.USAGE) from None


def given_fields(fields: list[str] | None) -> dict[str, str]:
    """What each `--field` says. Raises CommandFailed where one is not NAME=VALUE."""
    return dict(_pair(given) for given in fields or [])


def _pair(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not (name and equals):
        raise CommandFailed(f"--field must be NAME=VALUE, but is '{given}'", ExitCode.USAGE)
    return name, value
