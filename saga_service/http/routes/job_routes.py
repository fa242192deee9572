"""Jobs by HTTP: an operation on many sagas or dead letters is previewed, confirmed, watched, and stopped."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.filters import LetterFilter, SagaFilter
from saga_service.admin.job_preview import ITEMS_MAX, JobPreview, preview_letters, preview_sagas
from saga_service.admin.jobs import JobItemRow, JobRow, job_with_id, page_of_items, page_of_jobs, refuse_unless_done
from saga_service.admin.requests import APPLIED
from saga_service.core.ids import parse_saga_id
from saga_service.core.vocabulary import Operation, Resolution, SagaStatus
from saga_service.engine.ports import LetterOperation
from saga_service.http.access.callers import Caller, Operator, Viewer, refuse_search_of_payloads, role_too_low
from saga_service.http.api_route import ApiRoute
from saga_service.http.exact_request import ExactBody
from saga_service.http.pages import Limit, Span
from saga_service.http.pooled_servers import ServersOfRequest
from saga_service.settings.roles import Role
from saga_service.store.requests import OperationCall

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=ApiRoute)

JobId = Annotated[int, Path(ge=1, le=2**63 - 1, description="The job's number.")]
Text = Annotated[str, Field(max_length=500)]


class SagasOfJob(ExactBody):
    """Which sagas are meant: those that fit all that is given, as in a list."""

    status: Annotated[
        list[SagaStatus] | None,
        Field(description="Any of these. By default every status that the operation applies to.", min_length=1),
    ] = None
    saga: Annotated[Text | None, Field(description="The name of the definition.")] = None
    key: Annotated[Text | None, Field(description="The business key.")] = None
    parent_id: Annotated[Text | None, Field(description="The child sagas of this saga.")] = None
    error_code: Annotated[Text | None, Field(description="What they were undone for, or are stuck at.")] = None
    older_than: Annotated[Span | None, Field(description="Unchanged for so long: seconds, or PT2H.")] = None
    newer_than: Annotated[Span | None, Field(description="Changed within so long: seconds, or PT2H.")] = None

    def filter(self) -> SagaFilter:
        """The filter. Raises Failure where a value cannot be one."""
        parent_id = None if self.parent_id is None else parse_saga_id(self.parent_id)
        if self.parent_id is not None and parent_id is None:
            raise Failure("sagas/parent_id: must be the id of a saga", kind=FailureKind.INVALID)
        statuses = None if self.status is None else tuple(self.status)
        return SagaFilter(statuses, self.saga, self.key, parent_id, self.error_code, self.older_than, self.newer_than)


class DeadLettersOfJob(ExactBody):
    """Which dead letters are meant: those that fit all that is given, as in a list."""

    stream: Annotated[Text | None, Field(description="The stream that the entry came from.")] = None
    reason: Annotated[Text | None, Field(description="A part of the reason.")] = None
    saga: Annotated[Text | None, Field(description="The saga or the signal that the entry names.")] = None
    older_than: Annotated[Span | None, Field(description="Seconds, or PT2H.")] = None
    newer_than: Annotated[Span | None, Field(description="Seconds, or PT2H.")] = None
    with_replayed: Annotated[bool, Field(description="With those that were put back.")] = False

    def filter(self) -> LetterFilter:
        """The filter."""
        return LetterFilter(self.stream, self.reason, self.saga, self.older_than, self.newer_than, self.with_replayed)


class WantedJob(ExactBody):
    """A job to preview. Operations on sagas take `sagas`, `replay` and `drop` take `dead_letters`."""

    operation: Annotated[Operation | LetterOperation, Field(description="What is to be done to each.")]
    reason: Annotated[str, Field(min_length=1, max_length=900, description="Why: it stands in the history.")]
    sagas: Annotated[SagasOfJob | None, Field(description="Which sagas are meant.")] = None
    dead_letters: Annotated[DeadLettersOfJob | None, Field(description="Which dead letters are meant.")] = None
    limit: Annotated[
        int | None,
        Field(ge=1, le=ITEMS_MAX, description="So many at most: of sagas the longest unchanged, else the oldest."),
    ] = None
    step: Annotated[Text | None, Field(description="retry, skip, resolve: the step that is meant.")] = None
    resolution: Annotated[Resolution | None, Field(description="resolve: what became of the step.")] = None
    output: Annotated[dict[str, Any] | None, Field(description="resolve: the output of a step that succeeded.")] = None


class Confirmation(ExactBody):
    """The confirmation of a job."""

    confirm: Annotated[str, Field(max_length=200, description="`confirm` of the preview.")]


class JobPage(BaseModel):
    """Jobs, newest first."""

    items: list[JobRow]
    next: int | None
    """The number to read on before; null on the last page."""


class JobItemPage(BaseModel):
    """Items of a job, in the order in which they are requested."""

    items: list[JobItemRow]
    next: int | None
    """The position to read on after; null on the last page."""


JobStatus = Literal["previewed", "expired", "running", "stopping", "stopped", "completed"]
ItemVerdict = Literal["applied", "repeated", "refused", "unknown", "open"]


@router.post("", summary="Preview an operation on many sagas or dead letters", status_code=HTTPStatus.CREATED)
async def preview_job(caller: Operator, servers: ServersOfRequest, response: Response, wanted: WantedJob) -> JobPreview:
    if isinstance(wanted.operation, LetterOperation):
        preview = await _preview_letters(caller, servers, wanted, wanted.operation)
    else:
        preview = await _preview_sagas(caller, servers, wanted, wanted.operation)
    response.headers["Location"] = f"jobs/{preview.id}"
    return preview


@router.get("", summary="List jobs, newest first")
async def list_jobs(
    caller: Viewer,
    servers: ServersOfRequest,
    status: Annotated[list[JobStatus] | None, Query(description="Repeat it for several.")] = None,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="`next` of the page before.")] = None,
    limit: Limit = 50,
) -> JobPage:
    async with servers.postgres() as connection:
        found = await page_of_jobs(connection, limit + 1, before=before, statuses=status)
    return JobPage(items=found[:limit], next=found[limit - 1].id if len(found) > limit else None)


@router.get("/{job}", summary="One job: how far it is, and what is wrong where it stands still")
async def get_job(caller: Viewer, servers: ServersOfRequest, job: JobId) -> JobRow:
    async with servers.postgres() as connection:
        return await job_with_id(connection, job)


@router.get("/{job}/items", summary="The sagas or dead letters of a job, and what became of each")
async def list_items(
    caller: Viewer,
    servers: ServersOfRequest,
    job: JobId,
    verdict: Annotated[ItemVerdict | None, Query(description="`open`: requested, and not answered yet.")] = None,
    after: Annotated[int, Query(ge=0, le=2**31 - 1, description="`next` of the page before.")] = 0,
    limit: Limit = 100,
) -> JobItemPage:
    async with servers.postgres() as connection:
        await job_with_id(connection, job)
        found = await page_of_items(connection, job, limit + 1, verdict=verdict, after=after)
    return JobItemPage(items=found[:limit], next=found[limit - 1].position if len(found) > limit else None)


@router.post(
    "/{job}/confirm",
    summary="Have a previewed job carried out",
    status_code=HTTPStatus.ACCEPTED,
    responses={200: {"model": JobRow, "description": "It was confirmed before."}},
)
async def confirm_job(
    caller: Operator, servers: ServersOfRequest, response: Response, job: JobId, confirmation: Confirmation
) -> JobRow:
    async with servers.postgres() as connection:
        _check_role(caller, (await job_with_id(connection, job)).operation)
    with servers.jobs() as jobs:
        result = await jobs.confirm(job, confirmation.confirm, caller.name)
    refuse_unless_done(*result)
    if result.verdict != APPLIED:
        response.status_code = HTTPStatus.OK
    return await get_job(caller, servers, job)


@router.post("/{job}/stop", summary="Request nothing more of a job. What was requested is carried out")
async def stop_job(caller: Operator, servers: ServersOfRequest, job: JobId) -> JobRow:
    with servers.jobs() as jobs:
        refuse_unless_done(*await jobs.stop(job, caller.name))
    return await get_job(caller, servers, job)


async def _preview_sagas(
    caller: Caller, servers: ServersOfRequest, wanted: WantedJob, operation: Operation
) -> JobPreview:
    if wanted.sagas is None or wanted.dead_letters is not None:
        raise Failure(f"{operation} is for sagas: give sagas, and no dead_letters", kind=FailureKind.INVALID)
    call = OperationCall(operation, caller.name, wanted.reason, wanted.step, wanted.resolution, wanted.output)
    _check_arguments(call)
    async with servers.postgres() as connection:
        with servers.jobs() as jobs:
            return await preview_sagas(connection, jobs, call, wanted.sagas.filter(), wanted.limit)


async def _preview_letters(
    caller: Caller, servers: ServersOfRequest, wanted: WantedJob, operation: LetterOperation
) -> JobPreview:
    if wanted.dead_letters is None or wanted.sagas is not None:
        raise Failure(f"{operation} is for dead letters: give dead_letters, and no sagas", kind=FailureKind.INVALID)
    if wanted.step is not None or wanted.resolution is not None or wanted.output is not None:
        raise Failure(f"{operation} takes no step, resolution or output", kind=FailureKind.INVALID)
    _check_role(caller, operation)
    refuse_search_of_payloads(caller, wanted.dead_letters.reason, "a search of reasons")
    chosen = wanted.dead_letters.filter()
    async with servers.postgres() as connection:
        with servers.jobs() as jobs:
            return await preview_letters(connection, jobs, operation, caller.name, wanted.reason, chosen, wanted.limit)


def _check_arguments(call: OperationCall) -> None:
    """Raises Failure where an argument is missing, or is none of this operation's."""
    takes_step = call.operation in (Operation.RETRY, Operation.SKIP, Operation.RESOLVE)
    if call.step is not None and not takes_step:
        raise Failure(f"{call.operation} is for a whole saga: leave step out", kind=FailureKind.INVALID)
    if (call.operation is Operation.RESOLVE) != (call.resolution is not None):
        raise Failure("resolve needs a resolution, and nothing else takes one", kind=FailureKind.INVALID)
    if call.output is not None and call.resolution is not Resolution.SUCCEEDED:
        raise Failure("an output goes with the resolution succeeded alone", kind=FailureKind.INVALID)


def _check_role(caller: Caller, operation: str) -> None:
    """Raises ProblemRaised for an operator who would have something lost for good."""
    if operation == LetterOperation.DROP and not caller.role.covers(Role.ADMIN):
        raise role_too_low(caller, Role.ADMIN, "a job that drops dead letters")
