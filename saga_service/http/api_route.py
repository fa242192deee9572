"""The one way of a request: its caller is known, it is read exactly, and its answer shows what the caller may see."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import wraps
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from saga_service.http.access.callers import Caller, need_of
from saga_service.http.exact_request import ExactRequest, check_query
from saga_service.http.rate_limit import count_request


class ApiRoute(APIRoute):
    """A route of the API. Its function has the caller as `caller`, and returns or yields rows with their payloads."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, _shown_to_caller(endpoint), **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle, need = super().get_route_handler(), need_of(self.dependant)

        async def permitted(request: Request) -> Response:
            count_request(request, await need(request))
            check_query(request)
            return await handle(ExactRequest(request.scope, request.receive))

        return permitted


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
