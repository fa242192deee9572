"""The one way of a request: its caller is known, it is read exactly, and its answer shows what the caller may see."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import wraps
from typing import Any

import structlog
from fastapi import Request, Response
from fastapi.routing import APIRoute

from saga_service.http.access.callers import Caller, need_of
from saga_service.http.exact_request import ExactRequest, check_query
from saga_service.http.rate_limit import count_request

log = structlog.get_logger(__name__)
READS = ("GET", "HEAD")


class ApiRoute(APIRoute):
    """A route of the API. Its function has the caller as `caller`, and returns or yields rows with their payloads."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, _shown_to_caller(endpoint), **options)
        role = need_of(self.dependant).role
        self.description = f"{self.description}\n\nNeeds the role `{role}`.".lstrip()
        self.openapi_extra = {**(self.openapi_extra or {}), "x-role": role.value}

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle, need = super().get_route_handler(), need_of(self.dependant)

        async def permitted(request: Request) -> Response:
            caller = await need(request)
            count_request(request, caller)
            check_query(request)
            response = await handle(ExactRequest(request.scope, request.receive))
            # What one caller may see, no cache may show to another.
            response.headers.setdefault("Cache-Control", "no-store")
            if request.method not in READS:
                _on_record(request, caller, response)
            return response

        return permitted


def _on_record(request: Request, caller: Caller, response: Response) -> None:
    """Who had what done: the history has it of operations alone, and not of starts, signals and dead letters."""
    log.info(
        "asked by http",
        caller=caller.name,
        role=caller.role.value,
        method=request.method,
        path=request.url.path,
        status=response.status_code,
        location=response.headers.get("location"),
    )


def _shown_to_caller(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with all that it returns or yields as its caller may see it."""
    if inspect.isasyncgenfunction(endpoint):

        @wraps(endpoint)
        async def items(*, caller: Caller, **values: Any) -> AsyncIterator[Any]:
            async for item in endpoint(caller=caller, **values):
                yield caller.payloads.shown(item)

        return items

    @wraps(endpoint)
    async def answer(*, caller: Caller, **values: Any) -> Any:
        return caller.payloads.shown(await endpoint(caller=caller, **values))

    return answer
