"""Live events by HTTP: what happens to one saga, and to the sagas of a list."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from saga_service.admin.changes import Cursor, cursor_in
from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.filters import SagaFilter
from saga_service.admin.lookup import find_saga
from saga_service.admin.text import quoted
from saga_service.admin.views import history_of
from saga_service.http.access.callers import Viewer
from saga_service.http.api_route import ApiRoute
from saga_service.http.live.application_reader import LiveOfRequest
from saga_service.http.live.event_stream import HEADERS, EventStream, still_permitted
from saga_service.http.live.event_texts import EventTexts
from saga_service.http.live.reader import LiveReader
from saga_service.http.live.saga_followers import SagaViewer, Until
from saga_service.http.live.saga_list import ListViewer
from saga_service.http.live.server_sent_events import (
    MEDIA_TYPE,
    OF_A_LIST,
    OF_A_SAGA,
    UNREACHABLE,
    EventName,
)
from saga_service.http.pooled_servers import PooledServers, ServersOfRequest
from saga_service.http.problem_details import Problem, ProblemRaised
from saga_service.http.routes.saga_routes import (
    BY_DEFINITION,
    ErrorCode,
    Key,
    OfDefinition,
    ParentId,
    SagaName,
    Statuses,
    Target,
    saga_id_in,
)
from saga_service.settings.http_settings import HttpSettings

router = APIRouter(prefix="/sagas", tags=["events"], route_class=ApiRoute)

PAST_LINES_MAX = 500
"""Lines of the past that are read and sent at once."""
PAST_AGAIN_S = 1.0
"""How long the reading of the past waits while Postgres is away."""
REVISION_MAX = 2**31 - 1
_DIGITS = re.compile(r"[0-9]{1,10}")


def last_event_id(
    header: Annotated[
        str | None,
        Header(alias="Last-Event-ID", max_length=8_000, description="Goes on after this event, as browsers ask it."),
    ] = None,
    parameter: Annotated[
        str | None,
        Query(alias="last_event_id", max_length=8_000, description="The same, for tools. The header goes before it."),
    ] = None,
) -> str | None:
    return header or parameter


LastEventId = Annotated[str | None, Depends(last_event_id)]


def _stream_of(meanings: dict[EventName, str]) -> dict[int | str, dict[str, Any]]:  # FastAPI's own type for it
    """The description of a stream for OpenAPI: its events, and what each means."""
    told = "\n".join(f"- `{name}`: {meaning}" for name, meaning in meanings.items())
    schema = {"type": "string", "description": f"Server-sent events; `data` is one line of JSON.\n\n{told}"}
    return {200: {"description": "A stream of events.", "content": {MEDIA_TYPE: {"schema": schema}}}}


@router.get(
    "/events",
    summary="Watch a list of sagas: server-sent events",
    status_code=HTTPStatus.OK,
    response_class=EventStream,
    responses=_stream_of(OF_A_LIST),
)
async def watch_sagas(
    caller: Viewer,
    request: Request,
    live: LiveOfRequest,
    last_id: LastEventId,
    status: Statuses = None,
    saga: SagaName = None,
    key: Key = None,
    parent_id: ParentId = None,
    error_code: ErrorCode = None,
) -> EventStream:
    wanted = SagaFilter(
        statuses=None if status is None else tuple(sorted(status)),
        saga=saga,
        key=key,
        parent_id=None if parent_id is None else saga_id_in(parent_id),
        error_code=error_code,
    )
    since = None if last_id is None else _cursor(last_id)
    refuse_too_many(live, request.app.state.servers.settings)
    viewer = ListViewer(caller.payloads, wanted, since)
    return EventStream(_told_of_list(live, viewer), still_permitted(request, caller), live.heartbeat_s)


async def _told_of_list(live: LiveReader, viewer: ListViewer) -> AsyncIterator[bytes]:
    with live.admitted(viewer), live.telling(viewer):
        async for text in viewer.told():
            yield text


@router.get(
    "/{target}/events",
    summary="Watch one saga: server-sent events, past ones first",
    status_code=HTTPStatus.OK,
    response_class=EventStream,
    responses=_stream_of(OF_A_SAGA)
    | {204: {"description": "With `until`: it is met, and `Last-Event-ID` is the last event. Browsers stop here."}},
)
async def watch_saga(
    caller: Viewer,
    request: Request,
    servers: ServersOfRequest,
    live: LiveOfRequest,
    last_id: LastEventId,
    target: Target,
    saga: OfDefinition = None,
    until: Annotated[
        Until | None, Query(description="End the stream once the saga has ended, or also once it is stuck.")
    ] = None,
) -> Response:
    revision = 0 if last_id is None else _revision(last_id)
    async with live.turn(), servers.postgres() as connection:
        found = (await find_saga(connection, target, saga, by_definition=BY_DEFINITION)).saga
    if until is not None and until.is_met_by(found) and last_id is not None and revision == found.revision:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    refuse_too_many(live, servers.settings)
    viewer = SagaViewer(caller.payloads, found.id, revision, until)
    return EventStream(_told_of_saga(servers, live, viewer), still_permitted(request, caller), live.heartbeat_s)


async def _told_of_saga(servers: PooledServers, live: LiveReader, viewer: SagaViewer) -> AsyncIterator[bytes]:
    """The past, page by page, and then what the reader tells of it. The reader goes on where the past ends."""
    with live.admitted(viewer):
        async for text in _past(servers, live, viewer):
            yield text
        with live.telling(viewer):
            async for text in viewer.told():
                yield text


async def _past(servers: PooledServers, live: LiveReader, viewer: SagaViewer) -> AsyncIterator[bytes]:
    is_away = False
    while not viewer.is_over:
        try:
            async with live.turn(), servers.postgres() as connection:
                lines = await history_of(
                    connection, viewer.saga_id, after_revision=viewer.revision, lines_max=PAST_LINES_MAX
                )
        except Failure:
            if not is_away:
                yield UNREACHABLE
            is_away = True
            await asyncio.sleep(PAST_AGAIN_S)
            continue
        if lines:
            texts = EventTexts()
            viewer.revision = lines[-1].revision
            yield b"".join(texts.line(viewer.saga_id, line, viewer.payloads) for line in lines)
        if len(lines) < PAST_LINES_MAX:
            return


@router.head("/events", include_in_schema=False)
async def look_at_events(caller: Viewer) -> Response:
    return Response(headers=HEADERS, media_type=MEDIA_TYPE)


@router.head("/{target}/events", include_in_schema=False)
async def look_at_events_of_saga(
    caller: Viewer, servers: ServersOfRequest, live: LiveOfRequest, target: Target, saga: OfDefinition = None
) -> Response:
    async with live.turn(), servers.postgres() as connection:
        await find_saga(connection, target, saga, by_definition=BY_DEFINITION)
    return Response(headers=HEADERS, media_type=MEDIA_TYPE)


def refuse_too_many(live: LiveReader, settings: HttpSettings) -> None:
    """Raises ProblemRaised where this process has as many viewers as it may have."""
    if len(live.viewers) >= settings.http_viewers_max:
        raise ProblemRaised(
            Problem(
                type="urn:saga-service:problem:too-many-viewers",
                title="Too many viewers",
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                detail=f"{len(live.viewers)} streams of events are open on this process, as many as it may have",
                advice="ask again later, or run more processes; SAGA_HTTP_VIEWERS_MAX is the limit of each",
            )
        )


def _revision(given: str) -> int:
    if _DIGITS.fullmatch(given) and int(given) <= REVISION_MAX:
        return int(given)
    raise Failure(
        f"Last-Event-ID: must be the revision of a saga, but is {quoted(given)}",
        "leave it out to begin with the first event",
        kind=FailureKind.INVALID,
    )


def _cursor(given: str) -> Cursor:
    cursor = cursor_in(given)
    if cursor is None:
        raise Failure(
            f"Last-Event-ID: must be the id of an event of a list, but is {quoted(given)}",
            "leave it out, and read the list once the stream is ready",
            kind=FailureKind.INVALID,
        )
    return cursor
