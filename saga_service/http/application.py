"""The application: the routes of version 1, the guard, problems in words, and the description of it all (OpenAPI)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from saga_service.http import front_page
from saga_service.http.access.loopback_guard import LoopbackGuard
from saga_service.http.access.rights import Rights
from saga_service.http.body_limit import BodyLimit
from saga_service.http.live.application_reader import live_reader
from saga_service.http.openapi import described
from saga_service.http.pooled_servers import pooled_servers
from saga_service.http.problem_details import RESPONSES, answer_with_problems
from saga_service.http.process_watch import ProcessWatch, process_watch
from saga_service.http.rate_limit import RateLimit
from saga_service.http.request_metrics import RequestMetrics
from saga_service.http.routes import (
    dead_letter_routes,
    deployment_routes,
    event_routes,
    job_routes,
    login_routes,
    probe_routes,
    request_routes,
    saga_routes,
    start_routes,
)
from saga_service.http.watched_process import WatchedProcess
from saga_service.settings import Settings

ROUTERS = (
    start_routes.router,
    # Before the routes of one saga, which may have any key.
    event_routes.router,
    saga_routes.router,
    request_routes.router,
    dead_letter_routes.router,
    job_routes.router,
    deployment_routes.router,
    login_routes.router,
)

ENVELOPE_BYTES_MAX = 65_536
"""How much larger a body may be than the entry that it becomes."""


def make_application(
    settings: Settings, process: WatchedProcess | None = None, watch: ProcessWatch | None = None
) -> FastAPI:
    """The application for these settings. It opens its connections when it starts, and closes them when it ends.

    `watch` answers the probes of a process that has other servers beside it. Raises Failure where a file of tokens
    cannot be used.
    """
    rights = Rights(settings)
    watched = process or WatchedProcess(asyncio.Event())

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            servers = await stack.enter_async_context(pooled_servers(settings))
            await stack.enter_async_context(rights.kept(servers))
            application.state.servers = servers
            application.state.live = await stack.enter_async_context(live_reader(servers, watched))
            application.state.watch = watch or await stack.enter_async_context(process_watch(servers, watched))
            yield

    application = FastAPI(
        title="saga_service",
        version=version("saga-service"),
        summary="Sagas started, read and steered.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # The address of another path would be made of `Host`, which anybody may set, and of the proxy's plain HTTP.
        redirect_slashes=False,
    )
    application.state.rate_limit = RateLimit(settings.http_requests_per_s_max)
    version_1 = APIRouter(prefix="/v1", responses=RESPONSES)
    for router in ROUTERS:
        version_1.include_router(router)
    application.include_router(version_1)
    application.include_router(login_routes.browser_router, responses=RESPONSES)
    application.include_router(probe_routes.router)
    application.include_router(front_page.router)
    application.state.callers = rights
    application.add_middleware(UnderPath, root_path=settings.http_root_path)
    application.add_middleware(BodyLimit, bytes_max=settings.entry_bytes_max + ENVELOPE_BYTES_MAX)
    if not settings.has_rights:
        application.add_middleware(LoopbackGuard, settings.http_public_url, rights.refusals.note)
    application.add_middleware(RequestMetrics, watched.measurements)
    if settings.http_trusted_proxies:
        application.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.http_trusted_proxies))
    answer_with_problems(application, rights.refusals.note)
    schema = application.openapi

    def openapi() -> dict[str, Any]:  # Any: an OpenAPI document
        if application.openapi_schema is None:
            application.openapi_schema = described(schema(), has_rights=settings.has_rights)
        return application.openapi_schema

    application.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to change its document
    return application


class UnderPath:
    """Tells the application the path under which a proxy serves it, whether the proxy leaves it in requests or not."""

    def __init__(self, application: ASGIApp, root_path: str) -> None:
        self._application = application
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # In place: whoever counts requests finds in it the route that was taken.
        scope["root_path"] = self._root_path
        await self._application(scope, receive, send)
