"""Jobs as people ask for them: an operation on all sagas, or all dead letters, that their filters leave.

A preview counts them, shows the first, and fixes them: what is confirmed is what was seen. Each saga still refuses by
itself what does not fit it any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, NoReturn

from asyncpg import Connection

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.filters import STATUSES_TO_OPERATE, Conditions, LetterFilter, SagaFilter
from saga_service.admin.lists import count_of
from saga_service.admin.payloads import PayloadMark
from saga_service.admin.views import dead_letters_with_ids, sagas_with_ids
from saga_service.core.ids import SagaId
from saga_service.core.vocabulary import Operation
from saga_service.engine.ports import LetterOperation
from saga_service.store.jobs import PostgresJobs, PreviewedJob
from saga_service.store.requests import OperationCall

ITEMS_MAX = 100_000
"""The items of one job, at most."""
PREVIEWS_MAX = 20
"""Previews that wait for their confirmation at once, as `saga_private.preview_job` has it."""
SHOWN_MAX = 20
"""The items that a preview shows."""


@dataclass(frozen=True, slots=True)
class PreviewedSaga:
    """A saga that a job would operate."""

    id: str
    saga: str
    key: str | None
    status: str
    error_code: str | None
    stuck_step: str | None
    stuck_code: str | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class PreviewedLetter:
    """A dead letter that a job would put back or drop."""

    id: int
    stream: str
    entry_id: str
    reason: Annotated[str, PayloadMark.TEXT]
    at: datetime
    replayed_at: datetime | None


@dataclass(frozen=True, slots=True)
class JobPreview:
    """A job that waits for its confirmation. Nothing of it happens before."""

    id: int
    """The job's number."""
    total: int
    """How many sagas or dead letters it has."""
    fit: int | None
    """How many there would be without the limit; null where they are too many to be counted."""
    would: str
    """What it would do."""
    confirm: str
    """What confirms it."""
    expires_at: datetime
    """Until when it can be confirmed."""
    sagas: list[PreviewedSaga]
    """The first of the sagas, in the order in which they are requested."""
    dead_letters: list[PreviewedLetter]
    """The first of the dead letters, in the order in which they are put back or dropped."""


WOULD: Mapping[Operation | LetterOperation, str] = {
    Operation.RETRY: "begin a new series of attempts of {step}",
    Operation.SKIP: "go on without {step}",
    Operation.RESOLVE: "record {step} as {resolution}",
    Operation.CANCEL: "stop each saga and undo what it has done",
    Operation.COMPENSATE: "undo all that each saga has done, also where it has completed",
    Operation.PAUSE: "send nothing more until each saga is resumed",
    Operation.RESUME: "continue each saga from where it was paused",
    LetterOperation.REPLAY: "put each entry back where it came from",
    LetterOperation.DROP: "delete each dead letter for good",
}
"""What a job of each operation does. `{step}` and `{resolution}` stand for its arguments."""


async def preview_sagas(
    connection: Connection, jobs: PostgresJobs, call: OperationCall, wanted: SagaFilter, sagas_max: int | None
) -> JobPreview:
    """A job on the sagas that fit, the longest unchanged first.

    Without statuses, every status counts that the operation can do something about. Raises Failure where nothing says
    which sagas are meant, or they are too many.
    """
    _refuse_everything(wanted, SagaFilter())
    filters = _given(wanted)
    if wanted.statuses is None:
        wanted = _with_statuses(wanted, STATUSES_TO_OPERATE[call.operation])
    await _refuse_more_previews(connection)
    ids, fit = await sagas_that_fit(connection, wanted, sagas_max)
    shown = {row.id: row for row in await sagas_with_ids(connection, ids[:SHOWN_MAX])}
    made = await jobs.preview_sagas(call, [SagaId(each) for each in ids], filters)
    sagas = [_projected(PreviewedSaga, shown[each]) for each in ids[:SHOWN_MAX] if each in shown]
    return _preview(made, call.operation, fit, call, sagas=sagas)


async def sagas_that_fit(
    connection: Connection, wanted: SagaFilter, sagas_max: int | None
) -> tuple[list[str], int | None]:
    """The ids of the sagas that fit, the longest unchanged first, and the number of all that fit.

    Sagas that have ended are not read where only others are meant. Raises Failure where they are too many.
    """
    return await _ids(connection, "sagas", wanted.conditions(), "updated_at, id", sagas_max)


async def preview_letters(
    connection: Connection,
    jobs: PostgresJobs,
    operation: LetterOperation,
    caller: str,
    reason: str,
    wanted: LetterFilter,
    letters_max: int | None,
) -> JobPreview:
    """A job on the dead letters that fit, the oldest first.

    Raises Failure where nothing says which are meant, or they are too many.
    """
    _refuse_everything(wanted, LetterFilter(with_replayed=wanted.with_replayed))
    await _refuse_more_previews(connection)
    ids, fit = await _ids(connection, "dead_letters", wanted.conditions(), "id", letters_max)
    shown = await dead_letters_with_ids(connection, ids[:SHOWN_MAX])
    made = await jobs.preview_letters(operation, caller, reason, ids, _given(wanted))
    return _preview(made, operation, fit, None, letters=[_projected(PreviewedLetter, each) for each in shown])


async def _ids(
    connection: Connection, view: str, conditions: Conditions, order: str, items_max: int | None
) -> tuple[list[Any], int | None]:  # Any: ids of sagas, or numbers of dead letters
    """The ids of the items that fit, and the number of all that fit."""
    limit = ITEMS_MAX if items_max is None else items_max
    query = f"select id from saga.{view} {conditions.where()} order by {order} limit {limit + 1}"
    ids = [row["id"] for row in await connection.fetch(query, *conditions.values)]
    if len(ids) <= limit:
        return ids, len(ids)
    fit = await count_of(connection, view, conditions)
    if items_max is None:
        _refuse_too_many(fit)
    return ids[:limit], fit


def _refuse_too_many(fit: int | None) -> NoReturn:
    many = f"more than {ITEMS_MAX:,}" if fit is None else f"{fit:,}"
    raise Failure(
        f"{many} fit, and a job has {ITEMS_MAX:,} items at most",
        f"narrow the filters, or give a limit of at most {ITEMS_MAX:,}, and make another job for the rest",
        kind=FailureKind.INVALID,
    )


async def _refuse_more_previews(connection: Connection) -> None:
    waiting = await connection.fetchval("select count(*) from saga.jobs where status = 'previewed'")
    if waiting >= PREVIEWS_MAX:
        raise Failure(
            f"{waiting} previews wait for their confirmation, and there may be no more",
            "confirm or stop some; each expires after 15 minutes",
        )


def _refuse_everything(wanted: SagaFilter | LetterFilter, nothing_given: SagaFilter | LetterFilter) -> None:
    """Raises Failure where no filter is given: a filter that was forgotten must not mean all."""
    if wanted == nothing_given:
        raise Failure("no filter is given, and a job is never on everything", kind=FailureKind.INVALID)


def _with_statuses(wanted: SagaFilter, statuses: Sequence[str]) -> SagaFilter:
    return SagaFilter(**{**asdict(wanted), "statuses": tuple(statuses)})


def _given(wanted: SagaFilter | LetterFilter) -> dict[str, Any]:  # Any: values of JSON
    """The filters that are given, as JSON has them. Ages are in seconds."""
    return {
        "status" if name == "statuses" else name: value.total_seconds() if isinstance(value, timedelta) else value
        for name, value in asdict(wanted).items()
        if value is not None and value is not False
    }


def _projected(kind: type[Any], row: object) -> Any:  # Any: a row with fewer columns
    return kind(**{name: getattr(row, name) for name in kind.__dataclass_fields__})


def _preview(
    made: PreviewedJob,
    operation: Operation | LetterOperation,
    fit: int | None,
    call: OperationCall | None,
    *,
    sagas: Sequence[PreviewedSaga] = (),
    letters: Sequence[PreviewedLetter] = (),
) -> JobPreview:
    step = f"step '{call.step}'" if call is not None and call.step else "every step that waits for a person"
    resolution = "" if call is None or call.resolution is None else call.resolution.value
    return JobPreview(
        id=made.job_id,
        total=made.items,
        fit=fit,
        would=WOULD[operation].format(step=step, resolution=resolution),
        confirm=made.confirm,
        expires_at=made.expires_at,
        sagas=list(sagas),
        dead_letters=list(letters),
    )
