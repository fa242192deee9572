"""Requests, counted by the template of their route, and how long they take."""

from __future__ import annotations

import time
from http import HTTPMethod, HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from saga_service.metrics import declarations
from saga_service.metrics.measurements import Measurements

NO_ROUTE = "none"
"""The route of a path that leads nowhere: whoever tries paths makes no new labels."""
METHODS = frozenset(HTTPMethod)


class RequestMetrics:
    """Passes every request on, and counts it when its answer is over."""

    def __init__(self, application: ASGIApp, measurements: Measurements) -> None:
        self._application = application
        self._requests = measurements.counter(declarations.REQUESTS)
        self._duration = measurements.histogram(declarations.REQUEST_DURATION)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        began_s, status = time.perf_counter(), int(HTTPStatus.INTERNAL_SERVER_ERROR)

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._application(scope, receive, sent)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "other"
            route = _template(scope)
            self._requests[method, route, str(status)] += 1
            self._duration.observe((method, route), time.perf_counter() - began_s)


def _template(scope: Scope) -> str:
    """The route that was taken, as `/v1/sagas/{target}`.

    A route of an included router knows its own part alone. The rest is what the path has before as many segments.
    """
    own: str | None = getattr(scope.get("route"), "path", None)
    if own is None:
        return NO_ROUTE
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    before = path.split("/")[: -own.count("/")] if own.count("/") else []
    return "/".join(before) + own
