"""What a person wants done to which sagas, and how: as it stands on the command line, not yet looked at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from saga_service.cli.access.views import SagaRow, saga_with_id, sagas_to_operate, sagas_with_key
from saga_service.cli.console.exits import CommandFailed, ExitCode
from saga_service.core.ids import parse_saga_id


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked, of whatever saga. `output` is JSON text."""

    operation: str
    actor: str | None
    reason: str | None
    step: str | None = None
    resolution: str | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """One saga by its id or key, or all that the filters leave. `older_than` is a duration, such as 2h."""

    target: str | None
    status: str | None
    saga: str | None
    error_code: str | None
    older_than: str | None
    sagas_max: int

    def filters(self) -> list[str]:
        """Those that are given, as options; without `--saga`, which also says whose key a target is."""
        given = {"--status": self.status, "--error-code": self.error_code, "--older-than": self.older_than}
        return [option for option, value in given.items() if value is not None]


@dataclass(frozen=True, slots=True)
class Manner:
    """How the command goes about it."""

    dry_run: bool
    yes: bool
    timeout_s: float
    as_json: bool


# MERGED from cli.finding:
# The one saga that a person names, by its id or by its business key.

if TYPE_CHECKING:
    from asyncpg import Connection


async def find_saga(
    connection: Connection,
    given: str,
    definition: str | None = None,
    *,
    by_definition: str = ", or its definition by --saga",
) -> SagaRow:
    """`definition` is the name of the saga's definition, for a key that several have; `by_definition` says how it is
    given, where it can be.

    Raises CommandFailed where there is none, or more than one.
    """
    saga_id = parse_saga_id(given)
    by_id = await saga_with_id(connection, saga_id) if saga_id else None
    if by_id is not None:
        return by_id
    # A business key may well look like a UUID.
    with_key = [row for row in await sagas_with_key(connection, given) if definition in (None, row.saga)]
    if len(with_key) > 1:
        ids = ", ".join(f"{row.saga} {row.id}" for row in with_key)
        raise CommandFailed(
            f"several sagas have the key '{given}': {ids}; name one by its id{by_definition}",
            ExitCode.USAGE,
        )
    if not with_key:
        raise CommandFailed(f"no saga has the id or the key '{given}'; see: saga-service list")
    return with_key[0]


# MERGED from cli.selecting:
# The sagas that an operator means: one by its name, or those that filters leave.

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


async def select(connection: Connection, operation: str, selection: Selection) -> Chosen:
    """Raises CommandFailed where the one saga that is named cannot be found."""
    if selection.target is not None:
        return Chosen([await find_saga(connection, selection.target, selection.saga)], 1)
    sagas, fit = await sagas_to_operate(
        connection,
        statuses=USEFUL_FOR[operation] if selection.status is None else (selection.status,),
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
