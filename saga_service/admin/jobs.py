"""Jobs and their items as people read them: one operation on many sagas or dead letters, and how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asyncpg import Connection

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.filters import Conditions
from saga_service.admin.views import ErrorText, rows_of


@dataclass(frozen=True, slots=True)
class JobRow:
    """One row of `saga.jobs`."""

    id: int
    operation: str
    status: str
    actor: str
    reason: str
    step: str | None
    resolution: str | None
    filters: Any  # a JSON object
    total: int
    requested: int
    applied: int
    repeated: int
    refused: int
    unknown: int
    open: int
    per_s: float | None
    previewed_at: datetime
    expires_at: datetime
    confirmed_at: datetime | None
    confirmed_by: str | None
    stopped_at: datetime | None
    stopped_by: str | None
    ended_at: datetime | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class JobItemRow:
    """One row of `saga.job_items`, without the job's number."""

    position: int
    saga_id: str | None
    dead_letter: int | None
    request_id: int | None
    requested_at: datetime | None
    verdict: str | None
    reason: ErrorText
    answered_at: datetime | None


async def page_of_jobs(
    connection: Connection, jobs_max: int, *, before: int | None = None, statuses: Sequence[str] | None = None
) -> list[JobRow]:
    """Jobs, newest first, those with a lower number than `before`."""
    wanted = Conditions()
    wanted.add("id < {}", before)
    wanted.add("status = any({}::text[])", None if statuses is None else list(statuses))
    return await rows_of(
        connection, JobRow, "jobs", f"{wanted.where()} order by id desc limit {jobs_max}", wanted.values
    )


async def job_with_id(connection: Connection, job_id: int) -> JobRow:
    """One job. Raises Failure where there is none with this number."""
    found = await rows_of(connection, JobRow, "jobs", "where id = $1", [job_id])
    if not found:
        raise no_such_job(job_id)
    return found[0]


async def page_of_items(
    connection: Connection, job_id: int, items_max: int, *, verdict: str | None = None, after: int = 0
) -> list[JobItemRow]:
    """Items of a job in their order, after a position. The verdict `open` is of those that have no answer yet."""
    rest = f"where job_id = $1 and position > $2 {_OF_VERDICT[verdict]} order by position limit {items_max}"
    return await rows_of(connection, JobItemRow, "job_items", rest, [job_id, after])


# In words of their own, so that the partial indexes serve.
_OF_VERDICT = {
    None: "",
    "applied": "and verdict = 'applied'",
    "repeated": "and verdict = 'repeated'",
    "refused": "and verdict = 'refused'",
    "unknown": "and verdict = 'unknown'",
    "open": "and verdict is null and requested_at > '-infinity'",
}


async def stop_job(connection: Connection, job_id: int, actor: str) -> None:
    """Request nothing more of a job. Raises Failure where there is none, or it has ended."""
    stopped = await connection.fetchrow("select verdict, reason from saga.stop_job($1, $2)", job_id, actor)
    assert stopped is not None, "the function returns one row"
    refuse_unless_done(stopped["verdict"], stopped["reason"])


def no_such_job(job_id: int) -> Failure:
    """The failure of whoever names a job that is not there."""
    return Failure(
        f"there is no job {job_id}: ended ones are removed after some days, and unconfirmed ones after an hour",
        kind=FailureKind.NOT_FOUND,
    )


def refuse_unless_done(verdict: str, reason: str) -> None:
    """Raises Failure where a job could not be confirmed or stopped, by what Postgres says of it."""
    if verdict == "unknown":
        raise Failure(reason, kind=FailureKind.NOT_FOUND)
    if verdict == "refused":
        raise Failure(reason)
