"""The probes and the metrics of the process that serves the API."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from saga_service.http.access.callers import NeedsRole
from saga_service.http.pooled_servers import servers_of
from saga_service.http.process_watch import ProcessWatch
from saga_service.settings.roles import Role

# Their answers are for machinery that knows their form, so the document of the API leaves them out.
router = APIRouter(include_in_schema=False)


def watch_of(request: Request) -> ProcessWatch:
    """The watch over the process that a request has come to."""
    watch = request.app.state.watch
    assert isinstance(watch, ProcessWatch), "the application is started before it answers"
    return watch


async def may_read_metrics(request: Request) -> None:
    """Let viewers read the metrics, and everybody where SAGA_HTTP_METRICS_OPEN says so."""
    if not servers_of(request).settings.http_metrics_open:
        await NeedsRole(Role.VIEWER)(request)


WatchOfRequest = Annotated[ProcessWatch, Depends(watch_of)]


def _tells_reasons(request: Request) -> bool:
    # Whoever starts and stops processes has no token, and addresses of servers are not for everybody.
    return not servers_of(request).settings.has_rights


@router.get("/livez")
async def get_livez(request: Request, watch: WatchOfRequest) -> Response:
    return watch.livez(request, with_reasons=_tells_reasons(request))


@router.get("/readyz")
async def get_readyz(request: Request, watch: WatchOfRequest) -> Response:
    return await watch.readyz(request, with_reasons=_tells_reasons(request))


@router.get("/metrics", dependencies=[Depends(may_read_metrics)])
async def get_metrics(request: Request, watch: WatchOfRequest) -> Response:
    return await watch.metrics(request)
