"""Asking something of sagas: which are meant, whether the person is sure, and what became of each.

All of it goes through Postgres. Whether Redis is there does not matter to who asks.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from getpass import getuser
from typing import TYPE_CHECKING

import typer

from saga_service.cli.access.selection import Chosen, Manner, Selection, Wish, refuse_unclear, select
from saga_service.cli.access.servers import open_postgres, open_requests
from saga_service.cli.access.views import SagaRow, sagas_with_ids
from saga_service.cli.commands.start import read_json_object
from saga_service.cli.console.exits import CommandFailed, ExitCode
from saga_service.cli.console.output import duration, print_json, print_line, print_table
from saga_service.cli.console.timeline import why
from saga_service.core.ids import SagaId
from saga_service.core.vocabulary import Operation, Resolution
from saga_service.store.requests import Answer, Asking, PostgresRequests

if TYPE_CHECKING:
    from asyncpg import Connection

    from saga_service.settings import Settings

POLL_S = 0.1

APPLIED, REPEATED, REFUSED = "applied", "repeated", "refused"


@dataclass(frozen=True, slots=True)
class Became:
    """What became of one request. `verdict` is null where nobody has answered yet."""

    saga_id: str
    saga: str
    key: str | None
    request: int
    verdict: str | None
    reason: str
    status: str
    """The saga's, after the answer."""


async def operate(settings: Settings, wish: Wish, selection: Selection, manner: Manner) -> ExitCode:
    """Raises CommandFailed where the words do not go together, no saga is meant, or the person is not sure."""
    asking = _asking(wish)
    refuse_unclear(selection)
    async with open_postgres(settings) as connection:
        chosen = await select(connection, wish.operation, selection)
        if manner.dry_run:
            _show(chosen, as_json=manner.as_json)
            return ExitCode.FINE
        if chosen.sagas and selection.target is None and not manner.yes:
            _make_sure(asking.operation, _counted(chosen))
        async with open_requests(settings) as requests:
            numbers = await requests.ask([SagaId(saga.id) for saga in chosen.sagas], asking)
            became = await outcome(connection, requests, chosen.sagas, numbers, manner.timeout_s)
    _tell(became, asking.operation, as_json=manner.as_json)
    if left := chosen.fit - len(chosen.sagas):
        typer.echo(f"{left:,} more fit; --limit says how many are asked at once", err=True)
    return exit_code(became, manner.timeout_s)


# ------------------------------------------------------------------------------------------------------- what is asked


def _asking(wish: Wish) -> Asking:
    if wish.output is not None and wish.resolution != Resolution.SUCCEEDED:
        raise CommandFailed("--output goes with --as succeeded, and with nothing else", ExitCode.USAGE)
    return Asking(
        Operation(wish.operation),
        wish.actor or _own_name(),
        wish.reason,
        wish.step,
        None if wish.resolution is None else Resolution(wish.resolution),
        None if wish.output is None else read_json_object(wish.output, "--output"),
    )


def _own_name() -> str:
    try:
        return getuser()
    except (KeyError, OSError):
        raise CommandFailed("nobody knows who you are on this machine; say so: --actor NAME", ExitCode.USAGE) from None


# --------------------------------------------------------------------------------------------------------- being sure


def _show(chosen: Chosen, *, as_json: bool) -> None:
    from datetime import UTC, datetime

    if as_json:
        print_json([{name: getattr(saga, name) for name in _SHOWN} for saga in chosen.sagas])
        return
    if chosen.sagas:
        now = datetime.now(UTC)
        rows = [
            (saga.id, saga.status, saga.saga, saga.key or "", duration(now - saga.updated_at), why(saga))
            for saga in chosen.sagas
        ]
        print_table(("id", "status", "saga", "key", "unchanged for", "why"), rows)
    typer.echo(f"{_counted(chosen)}; nothing was asked of any", err=True)


_SHOWN = (
    *("id", "saga", "key", "status", "error_code", "error_message", "error_step"),
    *("stuck_step", "stuck_code", "stuck_message", "updated_at"),
)


def _make_sure(operation: Operation, counted: str) -> None:
    if not is_terminal():
        raise CommandFailed(
            f"this would {operation} {counted}, and there is no terminal to ask on; look with --dry-run, then "
            "say --yes",
            ExitCode.USAGE,
        )
    if not typer.confirm(f"{operation} {counted}?", err=True):
        raise CommandFailed("nothing was asked of any")


def is_terminal() -> bool:
    """Whether there is somebody who could answer."""
    return sys.stdin.isatty()


def _counted(chosen: Chosen) -> str:
    count = len(chosen.sagas)
    sagas = "1 saga" if count == 1 else f"{count:,} sagas"
    return f"{sagas}, the longest unchanged of the {chosen.fit:,} that fit" if chosen.fit > count else sagas


# --------------------------------------------------------------------------------------------------- what became of it


async def outcome(
    connection: Connection,
    requests: PostgresRequests,
    sagas: Sequence[SagaRow],
    numbers: Sequence[int],
    timeout_s: float,
) -> list[Became]:
    """Wait so long at most for the answers to these requests, one of each saga."""
    answers = await _answers(requests, numbers, timeout_s)
    statuses = {row.id: row.status for row in await sagas_with_ids(connection, [saga.id for saga in sagas])}
    return [
        _became(saga, number, answers.get(number), statuses.get(saga.id, saga.status))
        for saga, number in zip(sagas, numbers, strict=True)
    ]


async def _answers(requests: PostgresRequests, numbers: Sequence[int], timeout_s: float) -> dict[int, Answer]:
    loop = asyncio.get_running_loop()
    give_up_at_s = loop.time() + timeout_s
    answers: dict[int, Answer] = {}
    while True:
        answers |= await requests.answers([number for number in numbers if number not in answers])
        # Answers can only be looked for: a notification would need a lock of the whole server in each commit.
        if len(answers) == len(numbers) or loop.time() >= give_up_at_s:
            return answers
        await asyncio.sleep(POLL_S)


def _became(saga: SagaRow, number: int, answer: Answer | None, status: str) -> Became:
    verdict, reason = (None, "") if answer is None else answer
    return Became(saga.id, saga.saga, saga.key, number, verdict, reason, status)


def _tell(became: Sequence[Became], operation: Operation, *, as_json: bool) -> None:
    if as_json:
        print_json(became)
        return
    if not became:
        typer.echo("no saga fits", err=True)
    for each in became:
        print_line(in_words(each, _DONE[operation]))


def in_words(became: Became, done: str) -> str:
    """One line on one saga; `done` says what it is when it was applied."""
    name = f"{became.saga} {became.key} ({became.saga_id})" if became.key else f"{became.saga} {became.saga_id}"
    if became.verdict is None:
        return f"{name}: not answered yet"
    if became.verdict == REFUSED:
        return f"{name}: refused: {became.reason}"
    if became.verdict == REPEATED and became.status == "stuck":
        needs = f"see what it needs: saga-service show {became.saga_id}"
        return f"{name}: nothing new was asked: {became.reason}, but it is stuck; {needs}"
    if became.verdict == REPEATED:
        return f"{name}: nothing to do: {became.reason}"
    return f"{name}: {done}; the saga is now {became.status}"


_DONE: dict[Operation, str] = {
    Operation.RETRY: "tried again",
    Operation.SKIP: "skipped",
    Operation.RESOLVE: "resolved",
    Operation.CANCEL: "cancelled",
    Operation.COMPENSATE: "told to undo everything",
    Operation.PAUSE: "paused",
    Operation.RESUME: "resumed",
}


def exit_code(became: Sequence[Became], timeout_s: float) -> ExitCode:
    """Tells on stderr what is still open."""
    still_open = sum(each.verdict is None for each in became)
    if still_open:
        typer.echo(f"saga-service: {_nobody_answered(still_open, len(became), timeout_s)}", err=True)
        return ExitCode.NOT_YET
    return ExitCode.PROBLEM if any(each.verdict == REFUSED for each in became) else ExitCode.FINE


def _nobody_answered(still_open: int, asked: int, timeout_s: float) -> str:
    if still_open < asked:
        return f"{still_open:,} of {asked:,} not answered within {timeout_s:g} s; they stay and will be carried out"
    stays = "the request stays" if asked == 1 else "the requests stay"
    return f"no replica answered within {timeout_s:g} s; is one running? {stays} and will be carried out"
