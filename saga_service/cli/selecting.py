"""The sagas that an operator means: one by its name, or those that filters leave."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.cli.finding import find_saga
from saga_service.cli.operation import Selection
from saga_service.cli.reading import SagaRow, sagas_to_operate

if TYPE_CHECKING:
    from asyncpg import Connection

_NOT_ENDED = ("running", "compensating", "paused", "stuck")

USEFUL_FOR: dict[str, tuple[str, ...]] = {
    "retry": ("stuck",),
    "skip": ("stuck",),
    "resolve": ("stuck",),
    "cancel": ("running", "paused", "stuck"),
    # Completed ones only for who says so.
    "compensate": ("running", "paused", "stuck"),
    "pause": ("running", "compensating", "stuck"),
    "resume": ("paused",),
}
"""The statuses that each verb can do something about: those meant where none is named."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The sagas, and how many there would be without the limit."""

    sagas: list[SagaRow]
    fit: int


def refuse_unclear(selection: Selection) -> None:
    """Raises CommandFailed where nothing, or too much, says which sagas are meant."""
    filters = selection.filters()
    if selection.target is not None and filters:
        raise CommandFailed(f"name one saga, or filter ({', '.join(filters)}); not both", ExitCode.USAGE)
    if selection.target is None and not filters and selection.saga is None:
        raise CommandFailed(
            "no saga is named: give its id or key, or filter by --status, --saga, --error-code, --older-than",
            ExitCode.USAGE,
        )
    _age(selection.older_than)


async def select(connection: Connection, verb: str, selection: Selection) -> Chosen:
    """Raises CommandFailed where the one saga that is named cannot be found."""
    if selection.target is not None:
        return Chosen([await find_saga(connection, selection.target, selection.saga)], 1)
    sagas, fit = await sagas_to_operate(
        connection,
        statuses=USEFUL_FOR[verb] if selection.status is None else (selection.status,),
        saga=selection.saga,
        error_code=selection.error_code,
        unchanged_for=_age(selection.older_than),
        sagas_max=selection.sagas_max,
    )
    return Chosen(sagas, fit)


def _age(given: str | None) -> timedelta | None:
    from saga_service.definitions.durations import duration_ms

    try:
        return None if given is None else timedelta(milliseconds=duration_ms(given))
    except ValueError as error:
        raise CommandFailed(f"--older-than {error}", ExitCode.USAGE) from None
