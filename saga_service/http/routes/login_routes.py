"""Log-in and log-out of people by their browsers, and what this API knows of whoever asks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse
from pydantic import BaseModel

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.http.access.callers import KnownBy, Viewer
from saga_service.http.access.logins import Logins
from saga_service.http.api_route import ApiRoute
from saga_service.settings.roles import Role

browser_router = APIRouter(prefix="/auth", tags=["log-in"])
router = APIRouter(tags=["log-in"], route_class=ApiRoute)


class Me(BaseModel):
    """Whoever asks."""

    name: str
    """The actor in the history of what this caller asks for."""
    role: Role
    known_by: KnownBy
    until: datetime | None
    """When the token or the log-in ends; null where it does not."""


@router.get("/me", summary="Who asks: the name, the role, and until when they count")
async def get_me(caller: Viewer) -> Me:
    return Me(name=caller.name, role=caller.role, known_by=caller.known_by, until=caller.until)


@browser_router.get("/login", summary="Log in at the identity provider", status_code=303)
async def log_in(
    request: Request,
    next: Annotated[str | None, Query(description="The path to go on at afterwards.")] = None,  # noqa: A002
) -> RedirectResponse:
    return await _logins(request).begin(next)


@browser_router.get("/callback", summary="Where the identity provider sends a browser back to", status_code=303)
async def finish_login(
    request: Request,
    code: Annotated[str | None, Query(description="What the provider gives a token for.")] = None,
    state: Annotated[str | None, Query(description="The log-in that this is an answer to.")] = None,
    error: Annotated[str | None, Query(description="Why the provider let nobody in.")] = None,
    iss: Annotated[str | None, Query(description="The provider that answers.")] = None,
) -> RedirectResponse:
    return await _logins(request).finish(request, code, state, error, iss)


@browser_router.post("/logout", summary="Log out, here and at the identity provider", status_code=303)
async def log_out(request: Request) -> RedirectResponse:
    return await _logins(request).end(request)


def _logins(request: Request) -> Logins:
    """The log-ins of this application. Raises Failure where nobody can log in."""
    logins: Logins | None = request.app.state.callers.logins
    if logins is None:
        raise Failure("nobody can log in here", "set SAGA_HTTP_OIDC_ISSUER", kind=FailureKind.NOT_FOUND)
    return logins
