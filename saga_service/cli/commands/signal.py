"""`signal`: tell a saga what it waits for, or will wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from saga_service.cli.access.servers import read_settings
from saga_service.cli.commands.operate import TIMEOUT_S, AsJson, Timeout
from saga_service.cli.console.exits import ExitCode
from saga_service.cli.event_loop import run_to_end

if TYPE_CHECKING:
    from saga_service.core.state import JsonObject
    from saga_service.settings import Settings


def signal_command(
    name: Annotated[str, typer.Argument(help="The signal's name, as the definition has it.")],
    target: Annotated[str, typer.Argument(metavar="SAGA_ID|KEY", help="The saga's id, or its business key.")],
    data: Annotated[
        str | None, typer.Option(metavar="JSON", help="What comes with it, a JSON object; - reads it from stdin.")
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(
            "--field", "-f", metavar="NAME=VALUE", help="One field of that: JSON if it is valid JSON, else text."
        ),
    ] = None,
    signal_id: Annotated[str | None, typer.Option("--id", help="The same id twice is the same signal.")] = None,
    saga: Annotated[str | None, typer.Option(help="The saga's definition, for a key that several have.")] = None,
    timeout_s: Timeout = TIMEOUT_S,
    as_json: AsJson = False,
) -> None:
    """Send a saga a signal, by way of Postgres, and wait for the answer."""
    from saga_service.cli.access.starts import guessed
    from saga_service.cli.commands.start import given_data, given_fields

    given = given_data(data, field) or {key: guessed(value) for key, value in given_fields(field).items()}
    raise typer.Exit(run_to_end(_signal(read_settings(), name, target, saga, given, signal_id, timeout_s, as_json)))


async def _signal(
    settings: Settings,
    name: str,
    target: str,
    saga: str | None,
    data: JsonObject,
    signal_id: str | None,
    timeout_s: float,
    as_json: bool,
) -> ExitCode:
    from saga_service.cli.access.requests import exit_code, in_words, outcome
    from saga_service.cli.access.selection import find_saga
    from saga_service.cli.access.servers import open_postgres, open_requests
    from saga_service.cli.console.output import print_json, print_line
    from saga_service.core.ids import SagaId

    async with open_postgres(settings) as connection, open_requests(settings) as requests:
        found = await find_saga(connection, target, saga)
        number = await requests.signal(SagaId(found.id), name, data, signal_id)
        [became] = await outcome(connection, requests, [found], [number], timeout_s)
    if as_json:
        print_json(became)
    else:
        print_line(in_words(became, "told"))
    return exit_code([became], timeout_s)
