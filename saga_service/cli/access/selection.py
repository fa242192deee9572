"""The sagas that a person means: one by its id or business key, or those that filters leave."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from asyncpg import Connection

from saga_service.cli.access.lookup import find_saga
from saga_service.cli.access.views import SagaRow, sagas_to_operate
from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.core.vocabulary import Operation, SagaStatus
from saga_service.definitions.durations import duration_ms

_RUNNING, _COMPENSATING, _PAUSED, _STUCK = (
    SagaStatus.RUNNING,
    SagaStatus.COMPENSATING,
    SagaStatus.PAUSED,
    SagaStatus.STUCK,
)

STATUSES_TO_OPERATE: dict[Operation, tuple[SagaStatus, ...]] = {
    Operation.RETRY: (_STUCK,),
    Operation.SKIP: (_STUCK,),
    Operation.RESOLVE: (_STUCK,),
    Operation.CANCEL: (_RUNNING, _PAUSED, _STUCK),
    # Completed sagas only where --status says so.
    Operation.COMPENSATE: (_RUNNING, _PAUSED, _STUCK),
    Operation.PAUSE: (_RUNNING, _COMPENSATING, _STUCK),
    Operation.RESUME: (_PAUSED,),
}
"""The statuses that each operation can do something about: the default of --status."""


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
    """Raises CommandFailed where nothing says which sagas are meant, or a target and filters both do."""
    filters = selection.filters()
    if selection.target is not None and filters:
        raise CommandFailed(f"name one saga, or filter ({', '.join(filters)}); not both", code=ExitCode.USAGE)
    if selection.target is None and not filters and selection.saga is None:
        raise CommandFailed(
            "no saga is named: give its id or key, or filter by --status, --saga, --error-code, --older-than",
            code=ExitCode.USAGE,
        )
    _age(selection.older_than)


async def select(connection: Connection, operation: Operation, selection: Selection) -> SelectedSagas:
    """The sagas to operate, those first that are unchanged the longest.

    Raises CommandFailed where the one saga that is named cannot be found.
    """
    if selection.target is not None:
        return SelectedSagas([await find_saga(connection, selection.target, selection.saga)], 1)
    sagas, fit = await sagas_to_operate(
        connection,
        statuses=STATUSES_TO_OPERATE[operation] if selection.status is None else (selection.status,),
        saga=selection.saga,
        error_code=selection.error_code,
        unchanged_for=_age(selection.older_than),
        sagas_max=selection.sagas_max,
    )
    return SelectedSagas(sagas, fit)


def _age(given: str | None) -> timedelta | None:
    try:
        return None if given is None else timedelta(milliseconds=duration_ms(given))
    except ValueError as error:
        raise CommandFailed(f"--older-than {error}", code=ExitCode.USAGE) from None
