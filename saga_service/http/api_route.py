"""The one way of every request: its caller is known first, its body is read exactly, its answer shows what it may.

The standard reader of bodies takes the last of two equal names, rounds numbers, and knows NaN. Here a body is refused
where a part of it would be lost, as every other JSON that comes in.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import wraps
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from saga_service.http.access.callers import Caller, need_of
from saga_service.wire.entries import Malformed
from saga_service.wire.json import NotJson, read_json


class ExactRequest(Request):
    """A request whose body is refused where a part of it would be lost."""

    async def json(self) -> Any:  # a value of JSON
        try:
            return read_json(await self.body(), "body")
        except (Malformed, NotJson) as error:
            text = str(error).replace("field 'body'", "the body")
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, text) from None


class ApiRoute(APIRoute):
    """A route of the API. Its function has the caller as `caller`, and returns or yields rows with their payloads."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, _shown_to_caller(endpoint), **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle, need = super().get_route_handler(), need_of(self.dependant)

        async def permitted(request: Request) -> Response:
            await need(request)
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
