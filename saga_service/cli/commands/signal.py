"""`signal`: a signal to a saga that waits for it, or will."""

from __future__ import annotations

from typing import Annotated

import typer

from saga_service.cli.access.arguments import given_data, given_fields, read_value
from saga_service.cli.access.lookup import find_saga
from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.access.settings import read_settings
from saga_service.cli.access.store import open_requests
from saga_service.cli.console.options import ANSWER_TIMEOUT_S, AnswerTimeout, AsJson, Data, Definition, Target
from saga_service.cli.console.output import print_json, print_line
from saga_service.cli.console.requests import RequestOutcome, exit_code, in_words, request_outcomes
from saga_service.cli.event_loop import run_to_end
from saga_service.core.ids import SagaId
from saga_service.core.state import JsonObject
from saga_service.settings import Settings


def signal_command(
    name: Annotated[str, typer.Argument(help="The signal's name, as the definition has it.")],
    target: Target,
    data: Data = None,
    field: Annotated[
        list[str] | None,
        typer.Option(
            "--field", "-f", metavar="NAME=VALUE", help="One field of the data: JSON if it is valid JSON, else text."
        ),
    ] = None,
    signal_id: Annotated[
        str | None, typer.Option("--id", help="Signal id: two signals with the same one are the same signal.")
    ] = None,
    saga: Definition = None,
    timeout_s: AnswerTimeout = ANSWER_TIMEOUT_S,
    as_json: AsJson = False,
) -> None:
    given = given_data(data, field) or {key: read_value(value) for key, value in given_fields(field).items()}
    outcome = run_to_end(_signal(read_settings(), name, target, saga, given, signal_id, timeout_s))
    if as_json:
        print_json(outcome)
    else:
        print_line(in_words(outcome, "signalled"))
    raise typer.Exit(exit_code([outcome], timeout_s))


async def _signal(
    settings: Settings,
    name: str,
    target: str,
    saga: str | None,
    data: JsonObject,
    signal_id: str | None,
    timeout_s: float,
) -> RequestOutcome:
    async with open_postgres(settings) as connection, open_requests(settings) as requests:
        found = await find_saga(connection, target, saga)
        request_id = await requests.signal(SagaId(found.id), name, data, signal_id)
        [outcome] = await request_outcomes(connection, requests, [found], [request_id], timeout_s)
        return outcome
