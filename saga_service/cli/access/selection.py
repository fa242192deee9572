"""The sagas that a person names on the command line: one by its id or its business key, or several by filters."""

from __future__ import annotations

from dataclasses import dataclass

import typer
from asyncpg import Connection

from saga_service.admin import lookup
from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.filters import STATUSES_TO_OPERATE, SagaFilter, sagas_to_operate
from saga_service.admin.text import quoted
from saga_service.admin.views import SagaRow, registered_names
from saga_service.cli.access.option_values import age
from saga_service.core.vocabulary import Operation, SagaStatus


async def find_saga(
    connection: Connection,
    given: str,
    definition: str | None = None,
    *,
    by_definition: str = ", or its definition by --saga",
    deferral_max_ms: int | None = None,
) -> SagaRow:
    """The saga that has this id or business key. Raises Failure where there is none, or more than one.

    That child sagas have the key too is said on standard error. `definition` is the name of the saga's definition, for
    a key that several definitions know. `by_definition` is printed to say how it can be given, and `deferral_max_ms` to
    say by what time a start that waits for a replica is refused.
    """
    saga, children = await lookup.find_saga(
        connection, given, definition, by_definition=by_definition, deferral_max_ms=deferral_max_ms
    )
    if children:
        have = "a child saga has" if len(children) == 1 else "child sagas have"
        typer.echo(f"{have} the key {quoted(given)} too: {lookup.in_one_line(children)}", err=True)
    return saga


async def tell_unknown_definition(connection: Connection, name: str | None) -> None:
    """Say on standard error that no definition has this name, where others are registered. Nothing is found by it."""
    if name is None or name in (known := await registered_names(connection)) or not known:
        return
    from saga_service.admin.definitions import UnknownSaga  # most commands find something, and need no definitions

    typer.echo(str(UnknownSaga(name, "registered in Postgres", known)), err=True)


@dataclass(frozen=True, slots=True)
class Selection:
    """One saga by its id or key, or all that the filters leave. `older_than` is a duration, such as 2h."""

    target: str | None
    status: SagaStatus | None
    saga: str | None
    error_code: str | None
    older_than: str | None
    sagas_max: int

    def filters(self) -> list[str]:
        """The filters that are given, as options. `--saga` is not among them: it may also say whose key a target is."""
        given = {"--status": self.status, "--error-code": self.error_code, "--older-than": self.older_than}
        return [option for option, value in given.items() if value is not None]


@dataclass(frozen=True, slots=True)
class SelectedSagas:
    """The sagas of a selection. `fit` counts those that there would be without the limit."""

    sagas: list[SagaRow]
    fit: int


def check_selection(selection: Selection) -> None:
    """Raises Failure where nothing says which sagas are meant, or a target and filters both do."""
    filters = selection.filters()
    if selection.target is not None and filters:
        raise Failure(f"name one saga, or filter ({', '.join(filters)}); not both", kind=FailureKind.INVALID)
    if selection.target is None and not filters and selection.saga is None:
        raise Failure(
            "no saga is named: give its id or key, or filter by --status, --saga, --error-code, --older-than",
            kind=FailureKind.INVALID,
        )
    age(selection.older_than, "--older-than")


async def select(connection: Connection, operation: Operation, selection: Selection) -> SelectedSagas:
    """The sagas to operate, those first that are unchanged the longest.

    Raises Failure where the one saga that is named cannot be found.
    """
    if selection.target is not None:
        return SelectedSagas([await find_saga(connection, selection.target, selection.saga)], 1)
    wanted = SagaFilter(
        statuses=STATUSES_TO_OPERATE[operation] if selection.status is None else (selection.status,),
        saga=selection.saga,
        error_code=selection.error_code,
        older_than=age(selection.older_than, "--older-than"),
    )
    sagas, fit = await sagas_to_operate(connection, wanted, selection.sagas_max)
    return SelectedSagas(sagas, fit)
