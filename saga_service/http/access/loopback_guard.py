"""A guard against other people's web pages: whoever may open one in a browser on this machine may post to loopback.

`Host` must be a name of this machine, which stops a page whose name was made to lead here (DNS rebinding). `Origin`,
which a browser sends with whatever a page posts, must be that host.
"""

from __future__ import annotations

import ipaddress
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from saga_service.http.problem_details import NoteRefusal, Problem, problem_response


class LoopbackGuard:
    """Lets requests through that are addressed to this machine, or to the public address, and come from no other."""

    def __init__(self, application: ASGIApp, public_url: str | None, note_refusal: NoteRefusal) -> None:
        self._application = application
        self._public_url = public_url
        self._note_refusal = note_refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self._problem(Headers(scope=scope)) if scope["type"] == "http" else None
        if problem is None:
            await self._application(scope, receive, send)
        else:
            self._note_refusal(Request(scope), problem.status, problem.detail, None)
            await problem_response(problem)(scope, receive, send)

    def _problem(self, headers: Headers) -> Problem | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        is_public = self._public_url is not None and host == urlsplit(self._public_url).netloc
        if not is_public and not is_loopback(_name_in(f"//{host}")):
            return Problem(
                type="urn:saga-service:problem:wrong-host",
                title="Another host is meant",
                status=HTTPStatus.MISDIRECTED_REQUEST,
                detail=f"Host is '{host}', and this process answers as {self._public_url or 'localhost'} alone",
                advice="SAGA_HTTP_PUBLIC_URL is the address under which a proxy serves it",
            )
        if origin is not None and origin != self._public_url and urlsplit(origin).netloc != host:
            return Problem(
                type="urn:saga-service:problem:wrong-origin",
                title="A page of another host",
                status=HTTPStatus.FORBIDDEN,
                detail=f"Origin is '{origin}', and pages of other hosts may ask nothing here",
            )
        return None


def _name_in(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def is_loopback(name: str) -> bool:
    """True for `localhost` and for every address of the loopback interface."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
