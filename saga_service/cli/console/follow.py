"""Following one saga until its end: its timeline is printed as it grows."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from asyncpg import Connection

from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.access.starts import StartedSaga
from saga_service.cli.access.views import HistoryRow, SagaRow, dead_letter_of_entry, history_of, saga_with_id
from saga_service.cli.console.output import aligned, duration, print_json, print_line
from saga_service.cli.console.timeline import timeline
from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.settings import Settings

POLL_S = 0.1

EXIT_CODES = {"completed": ExitCode.FINE, "compensated": ExitCode.COMPENSATED, "stuck": ExitCode.STUCK}


async def wait_for_end(settings: Settings, started: StartedSaga, timeout_s: float, *, as_json: bool) -> ExitCode:
    """Print what happens to the saga as it happens. The exit code says how the saga ended.

    Raises CommandFailed where its entry became a dead letter, or where it has not ended in time.
    """
    saga_id = started.saga_id
    assert saga_id is not None, "a saga is only followed where its id is known"
    try:
        async with asyncio.timeout(timeout_s), open_postgres(settings) as connection:
            saga = await _follow(connection, started, saga_id, printing=not as_json)
    except TimeoutError:
        raise CommandFailed(
            f"{started.saga} {saga_id} has not ended after {timeout_s:g} s",
            f"look: saga-service show {saga_id}",
            code=ExitCode.NOT_YET,
        ) from None
    if as_json:
        ended = {"status": saga.status, "error_code": saga.error_code, "error_message": saga.error_message}
        print_json(asdict(started) | ended)
    else:
        print_line(f"{saga.status} after {duration(saga.updated_at - saga.created_at)}")
    return EXIT_CODES[saga.status]


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
        for line in aligned(timeline([*printed, *news]))[len(printed) :]:
            print_line(line)
    return news


async def _refuse_dead_letter(connection: Connection, started: StartedSaga) -> None:
    letter = await dead_letter_of_entry(connection, started.stream, started.entry_id)
    if letter is not None:
        raise CommandFailed(
            f"the entry became dead letter {letter.id}: {letter.reason}",
            f"look: saga-service dead-letters show {letter.id}",
        )
