"""The application: the routes of version 1, the guard, problems in words, and the description of it all (OpenAPI)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI

from saga_service.http.access.loopback_guard import LoopbackGuard
from saga_service.http.access.rights import Rights
from saga_service.http.openapi import described
from saga_service.http.pooled_servers import pooled_servers
from saga_service.http.problem_details import RESPONSES, answer_with_problems
from saga_service.http.routes import (
    dead_letter_routes,
    deployment_routes,
    request_routes,
    saga_routes,
    start_routes,
)
from saga_service.settings import Settings

ROUTERS = (
    start_routes.router,
    saga_routes.router,
    request_routes.router,
    dead_letter_routes.router,
    deployment_routes.router,
)


def make_application(settings: Settings) -> FastAPI:
    """The application for these settings. It opens its connections when it starts, and closes them when it ends.

    Raises Failure where a file of tokens cannot be used.
    """
    rights = Rights(settings)

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[None]:
        async with pooled_servers(settings) as servers, rights.kept():
            application.state.servers = servers
            yield

    application = FastAPI(
        title="saga_service",
        version=version("saga-service"),
        summary="Sagas started, read and steered.",
        lifespan=lifespan,
        root_path=settings.http_root_path,
        docs_url=None,
        redoc_url=None,
    )
    version_1 = APIRouter(prefix="/v1", responses=RESPONSES)
    for router in ROUTERS:
        version_1.include_router(router)
    application.include_router(version_1)
    application.state.callers = rights
    if not settings.has_rights:
        application.add_middleware(LoopbackGuard)
    answer_with_problems(application)
    schema = application.openapi

    def openapi() -> dict[str, Any]:  # Any: an OpenAPI document
        if application.openapi_schema is None:
            application.openapi_schema = described(schema())
        return application.openapi_schema

    application.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to change its document
    return application
