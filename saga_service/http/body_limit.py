"""A limit on the bytes of a request's body.

The framework has one too, which answers in plain text where the length is told; every problem here has one form.
"""

from __future__ import annotations

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from saga_service.http.problem_details import Problem, problem_response


class BodyLimit:
    """Refuses a body with more bytes than `bytes_max`: by the length that it tells, or once it has brought as many."""

    def __init__(self, application: ASGIApp, bytes_max: int) -> None:
        self._application = application
        self._bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = Headers(scope=scope).get("content-length", "") if scope["type"] == "http" else ""
        if length.isdecimal() and int(length) > self._bytes_max:
            await problem_response(self._problem())(scope, receive, send)
            return
        left = self._bytes_max

        async def limited() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._problem().detail)
            return message

        await self._application(scope, limited, send)

    def _problem(self) -> Problem:
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        return Problem.of_status(status, f"the body has more than {self._bytes_max:,} bytes")
