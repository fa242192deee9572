"""Sagas read by HTTP: lists, one saga with its steps, its history, and what would be undone."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from saga_service.admin.definitions import plan_of
from saga_service.admin.encryption import decrypted_saga, decrypted_story
from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.filters import SagaFilter
from saga_service.admin.lists import page_of_sagas
from saga_service.admin.lookup import find_saga, removed_just_now, story_and_state
from saga_service.admin.text import quoted
from saga_service.admin.views import HistoryRow, SagaRow, SagaStory, history_of
from saga_service.core.ids import parse_saga_id
from saga_service.core.undo_plan import Plan
from saga_service.core.vocabulary import SagaStatus
from saga_service.http.access.callers import Viewer
from saga_service.http.api_route import ApiRoute
from saga_service.http.live.application_reader import LiveOfRequest
from saga_service.http.live.saga_followers import AT_REST
from saga_service.http.live.waits import until_at_rest
from saga_service.http.pages import Cursor, Limit, Span, Total, TotalIsExact, counted, cursor_of, place_of
from saga_service.http.pooled_servers import ServersOfRequest

router = APIRouter(prefix="/sagas", tags=["sagas"], route_class=ApiRoute)

Target = Annotated[str, Path(description="A saga's id, or the business key that it was started with.", max_length=500)]
OfDefinition = Annotated[
    str | None, Query(alias="saga", description="The saga's definition, for a key that several definitions know.")
]
Statuses = Annotated[list[SagaStatus] | None, Query(description="Repeat it for several.")]
SagaName = Annotated[str | None, Query(description="The name of the definition.")]
Key = Annotated[str | None, Query(description="The business key.")]
ParentId = Annotated[str | None, Query(description="The child sagas of this saga.")]
ErrorCode = Annotated[str | None, Query(description="What they were undone for, or are stuck at.")]
WAIT_S_MAX = 60.0
BY_DEFINITION = ", or its definition by ?saga="


class SagaPage(BaseModel):
    """Sagas, newest first."""

    items: list[SagaRow]
    next: str | None
    """The cursor of the next page; null on the last one. A page may be short, or empty, and not be the last."""
    total: Total
    total_is_exact: TotalIsExact


class HistoryPage(BaseModel):
    """Lines of a saga's history, the oldest first."""

    items: list[HistoryRow]
    next: int | None
    """The revision to read on after; null on the last page."""


class PlannedUndo(BaseModel):
    """What cancel, or compensate once the saga has completed, would undo now."""

    saga_id: str
    status: str
    plan: Plan


@router.get("", summary="List sagas, newest first")
async def list_sagas(
    caller: Viewer,
    servers: ServersOfRequest,
    status: Statuses = None,
    saga: SagaName = None,
    key: Key = None,
    parent_id: ParentId = None,
    error_code: ErrorCode = None,
    older_than: Annotated[Span | None, Query(description="Unchanged for so long: seconds, or PT2H.")] = None,
    newer_than: Annotated[Span | None, Query(description="Changed within so long: seconds, or PT2H.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> SagaPage:
    wanted = SagaFilter(
        statuses=status,
        saga=saga,
        key=key,
        parent_id=None if parent_id is None else saga_id_in(parent_id),
        error_code=error_code,
        older_than=older_than,
        newer_than=newer_than,
    )
    place = place_of(cursor)
    async with servers.postgres() as connection:
        page = await page_of_sagas(connection, wanted, limit, place)
        total = await counted(servers, connection, "sagas", wanted.conditions())
    return SagaPage(
        items=[decrypted_saga(each, servers.cipher) for each in page.items],
        next=None if page.next is None else cursor_of(page.next),
        **total,
    )


@router.get("/{target}", summary="One saga with its steps, signals, children and what is still to be undone")
async def get_saga(
    caller: Viewer,
    servers: ServersOfRequest,
    live: LiveOfRequest,
    target: Target,
    saga: OfDefinition = None,
    wait: Annotated[
        float, Query(ge=0, le=WAIT_S_MAX, description="Seconds to wait until it has ended or is stuck.")
    ] = 0,
) -> SagaStory:
    async with servers.postgres() as connection:
        found = (await find_saga(connection, target, saga, by_definition=BY_DEFINITION)).saga
    if wait and found.status not in AT_REST:
        await until_at_rest(live, found.id, wait)
    async with servers.postgres() as connection:
        shown = await story_and_state(connection, found.id, servers.cipher)
    if shown is None:
        raise removed_just_now(found.id)
    return decrypted_story(shown[0], servers.cipher)


@router.get("/{target}/history", summary="What happened to a saga, and when")
async def get_history(
    caller: Viewer,
    servers: ServersOfRequest,
    target: Target,
    saga: OfDefinition = None,
    after_revision: Annotated[int, Query(ge=0, le=2**31 - 1, description="Read on after this revision.")] = 0,
    limit: Limit = 100,
) -> HistoryPage:
    async with servers.postgres() as connection:
        found = await find_saga(connection, target, saga, by_definition=BY_DEFINITION)
        lines = await history_of(connection, found.saga.id, after_revision=after_revision, lines_max=limit + 1)
    return HistoryPage(items=lines[:limit], next=lines[limit - 1].revision if len(lines) > limit else None)


@router.get("/{target}/plan", summary="What would be undone now, in which order. Changes nothing")
async def get_plan(caller: Viewer, servers: ServersOfRequest, target: Target, saga: OfDefinition = None) -> PlannedUndo:
    async with servers.postgres() as connection:
        found = await find_saga(connection, target, saga, by_definition=BY_DEFINITION)
        saga_now, planned = await plan_of(connection, found.saga, servers.cipher)
    return PlannedUndo(saga_id=saga_now.id, status=saga_now.status, plan=planned)


def saga_id_in(given: str) -> str:
    """The id that a parameter is. Raises Failure where it is none."""
    saga_id = parse_saga_id(given)
    if saga_id is None:
        raise Failure(f"parent_id: must be the id of a saga, but is {quoted(given)}", kind=FailureKind.INVALID)
    return saga_id
