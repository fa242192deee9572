"""Bodies of requests, read as every other JSON that comes in: nothing of them is lost, or they are refused.

The standard reader takes the last of two equal names, rounds numbers, and knows NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

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


class ExactRoute(APIRoute):
    """A route whose body is read exactly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def exact(request: Request) -> Response:
            return await handle(ExactRequest(request.scope, request.receive))

        return exact
