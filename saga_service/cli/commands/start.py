"""`start` and `signal`: what any producer may send, from the command line. With `--wait`, `start` follows the saga to
its end.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer
from asyncpg import Connection

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.lookup import waits_until
from saga_service.admin.requests import RequestOutcome, request_outcomes
from saga_service.admin.starts import NothingStarted, StartedSaga, StartRequest, read_value, start
from saga_service.admin.views import (
    HistoryRow,
    SagaRow,
    dead_letter_of_entry,
    history_of,
    open_request_of,
    saga_with_id,
)
from saga_service.cli.access.effective_settings import read_settings
from saga_service.cli.access.option_values import given_data, given_fields
from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.access.postgres_writers import open_requests
from saga_service.cli.access.redis import CommandServers
from saga_service.cli.access.selection import find_saga
from saga_service.cli.console.output import (
    ANSWER_TIMEOUT_S,
    AnswerTimeout,
    AsJson,
    Data,
    Definition,
    Target,
    duration,
    print_json,
    print_line,
)
from saga_service.cli.console.requests import exit_code, in_words
from saga_service.cli.console.tables import table_lines
from saga_service.cli.console.timeline import TIMELINE, timeline
from saga_service.cli.exits import ExitCode
from saga_service.cli.invocation import run_to_end
from saga_service.core.ids import SagaId
from saga_service.core.state import JsonObject
from saga_service.settings import Settings

FOLLOW_S = 300.0
POLL_S = 0.1

EXIT_CODES = {"completed": ExitCode.FINE, "compensated": ExitCode.COMPENSATED, "stuck": ExitCode.STUCK}


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
    is_forced: Annotated[
        bool, typer.Option("--force", help="Add the entry also where definitions are known and none has this name.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    settings = read_settings(for_modules=True)
    request = StartRequest(saga, given_data(data, field), given_fields(field), key, event_id, stream, is_forced)
    try:
        started = run_to_end(start(CommandServers(settings), request, is_awaited=wait))
    except NothingStarted as failure:
        raise Failure(failure.message, "--force adds the entry all the same", kind=failure.kind) from None
    for remark in started.remarks:
        typer.echo(remark, err=True)
    if not (wait and as_json):
        _print_started(started, as_json, is_awaited=wait)
    if wait:
        raise typer.Exit(run_to_end(_wait_for_end(settings, started, timeout_s, as_json=as_json)))


def _print_started(started: StartedSaga, as_json: bool, *, is_awaited: bool) -> None:
    if as_json:
        print_json(started)
        return
    added = f"added to {started.stream} as {started.entry_id}"
    if started.saga_id is None:
        typer.echo(f"{added}\nthe saga's id is not known: {started.id_unknown_because}", err=True)
        return
    print_line(started.saga_id)
    look = "" if is_awaited else f"; look: saga-service show {started.saga_id}"
    if started.is_new is False:
        typer.echo(f"nothing new was started: this saga is there already, {started.status}{look}", err=True)
    else:
        typer.echo(f"{added}{look}", err=True)


async def _wait_for_end(settings: Settings, started: StartedSaga, timeout_s: float, *, as_json: bool) -> ExitCode:
    """Print what happens to the saga as it happens. The exit code says how the saga ended.

    Raises Failure where its entry became a dead letter, or where it has not ended in time.
    """
    saga_id = started.saga_id
    assert saga_id is not None, "a saga is only followed where its id is known"
    try:
        async with asyncio.timeout(timeout_s), open_postgres(settings) as connection:
            saga = await _follow(connection, started, saga_id, printing=not as_json)
    except TimeoutError:
        raise await _not_yet(settings, started, saga_id, timeout_s) from None
    if as_json:
        ended = {"status": saga.status, "error_code": saga.error_code, "error_message": saga.error_message}
        print_json(asdict(started) | ended)
    else:
        print_line(f"{saga.status} after {duration(saga.updated_at - saga.created_at)}")
    return EXIT_CODES[saga.status]


async def _not_yet(settings: Settings, started: StartedSaga, saga_id: str, timeout_s: float) -> Failure:
    """The failure of a wait that was too short: the saga has not ended, or its entry has not been taken yet."""
    what, how_long = f"{started.saga} {saga_id}", f"after {timeout_s:g} s"
    async with open_postgres(settings) as connection:
        is_there = await saga_with_id(connection, saga_id) is not None
        request = await open_request_of(connection, saga_id, None)
    if is_there:
        message = f"{what} has not ended {how_long}"
    elif request is None:
        message = f"{what} has not started {how_long}: no service has taken its entry yet"
    else:
        waits = waits_until(request, settings.deferral_max_ms)
        message = f"{what} has not started {how_long}: its entry waits for a service{waits}"
    advice = f"look: saga-service show {saga_id}" if is_there else "see what is wrong: saga-service doctor"
    return Failure(message, advice, kind=FailureKind.NOT_YET)


async def _follow(connection: Connection, started: StartedSaga, saga_id: str, *, printing: bool) -> SagaRow:
    printed: list[HistoryRow] = []
    while True:
        # The saga before its history: the history of one that has ended is then complete.
        saga = await saga_with_id(connection, saga_id)
        if saga is None:
            await _refuse_dead_letter(connection, started)
        elif printing:
            printed += await _print_news(connection, saga_id, printed)
        if saga is not None and saga.status in EXIT_CODES:
            return saga
        await asyncio.sleep(POLL_S)


async def _print_news(connection: Connection, saga_id: str, printed: list[HistoryRow]) -> list[HistoryRow]:
    news = await history_of(connection, saga_id, after_revision=printed[-1].revision if printed else 0)
    if news:
        _, *lines = table_lines(TIMELINE, timeline([*printed, *news]), texts=TIMELINE[-1:])
        typer.echo("\n".join(line for row in lines[len(printed) :] for line in row))
    return news


async def _refuse_dead_letter(connection: Connection, started: StartedSaga) -> None:
    letter = await dead_letter_of_entry(connection, started.stream, started.entry_id)
    if letter is not None:
        raise Failure(
            f"the entry became dead letter {letter.id}: {letter.reason}",
            f"look: saga-service dead-letters show {letter.id}",
        )


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
    step: Annotated[
        str | None, typer.Option(help="The step that is meant; else any that waits for a signal of this name.")
    ] = None,
    saga: Definition = None,
    timeout_s: AnswerTimeout = ANSWER_TIMEOUT_S,
    as_json: AsJson = False,
) -> None:
    given = given_data(data, field) or {key: read_value(key, value) for key, value in given_fields(field).items()}
    outcome = run_to_end(_signal(read_settings(), name, target, saga, given, signal_id, step, timeout_s))
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
    step: str | None,
    timeout_s: float,
) -> RequestOutcome:
    async with open_postgres(settings) as connection, open_requests(settings) as requests:
        found = await find_saga(connection, target, saga)
        request_id = await requests.signal(SagaId(found.id), name, data, signal_id, step)
        [outcome] = await request_outcomes(connection, requests, [found], [request_id], timeout_s)
        return outcome
