"""Failures as problem details (RFC 9457): what was wrong and where, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.payloads import NOTHING, PayloadMark, PayloadView
from saga_service.admin.requests import RequestOutcome

log = structlog.get_logger(__name__)
MEDIA_TYPE = "application/problem+json"
STATUSES = {
    FailureKind.PROBLEM: HTTPStatus.CONFLICT,
    FailureKind.NOT_FOUND: HTTPStatus.NOT_FOUND,
    FailureKind.CONFLICT: HTTPStatus.CONFLICT,
    FailureKind.INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    FailureKind.UNREACHABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    FailureKind.SCHEMA: HTTPStatus.SERVICE_UNAVAILABLE,
    FailureKind.NOT_YET: HTTPStatus.GATEWAY_TIMEOUT,
}
TITLES = {
    FailureKind.PROBLEM: "It cannot be done",
    FailureKind.NOT_FOUND: "There is no such thing",
    FailureKind.CONFLICT: "Something else is there already",
    FailureKind.INVALID: "The request is wrong",
    FailureKind.UNREACHABLE: "A server cannot be used",
    FailureKind.SCHEMA: "The database schema does not fit",
    FailureKind.NOT_YET: "It has not happened yet",
}
TRY_AGAIN_AFTER_S = "5"


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: Annotated[str, Field(examples=["urn:saga-service:problem:not-found"])]
    """The kind of problem, for programs."""
    title: str
    status: int
    detail: str
    """What was wrong, and where."""
    advice: str | None = None
    """What to do about it."""
    outcome: RequestOutcome | None = None
    """The request that the saga refused."""
    errors: list[dict[str, Any]] | None = None  # Any: what pydantic says of one value
    """Each value of the request that cannot be used: its place, and what is wrong with it."""

    @classmethod
    def of_status(cls, status: int, detail: str) -> Problem:
        """A problem that its status tells."""
        phrase = HTTPStatus(status).phrase
        return cls(type=_urn(phrase.lower()), title=phrase, status=status, detail=detail or phrase)


class RefusedBySaga(Exception):
    """A saga has refused what was requested of it."""

    def __init__(self, outcome: RequestOutcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class ProblemRaised(Exception):
    """An answer that is a problem, with its headers. `caller` is whoever was refused, where the name is known."""

    def __init__(self, problem: Problem, headers: dict[str, str] | None = None, *, caller: str | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.headers = headers or {}
        self.caller = caller


_CONTENT = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
RESPONSES: dict[int | str, dict[str, Any]] = {  # Any: FastAPI's own type for it
    "default": {"description": "A problem.", "content": _CONTENT}
}


NoteRefusal = Callable[[Request, int, str, str | None], None]
"""Notes that a request was refused, with the status, why, and the caller's name where it is known."""


def answer_with_problems(application: FastAPI, note_refusal: NoteRefusal) -> None:
    """Answer every failure of this application with problem details."""

    @application.exception_handler(Failure)
    async def failed(request: Request, failure: Failure) -> JSONResponse:
        because = payloads_of(request).payload(failure.because, PayloadMark.TEXT) or ""
        problem = Problem(
            type=_urn(failure.kind.value),
            title=TITLES[failure.kind],
            status=STATUSES[failure.kind],
            detail=advice_by_path(failure.known) + because,
            advice=failure.advice and advice_by_path(failure.advice),
        )
        return problem_response(problem)

    @application.exception_handler(ProblemRaised)
    async def told(request: Request, raised: ProblemRaised) -> JSONResponse:
        note_refusal(request, raised.problem.status, raised.problem.detail, raised.caller)
        return problem_response(raised.problem, raised.headers)

    @application.exception_handler(RefusedBySaga)
    async def refused_by_saga(request: Request, refused: RefusedBySaga) -> JSONResponse:
        title, status = "The saga refuses", HTTPStatus.CONFLICT
        outcome = payloads_of(request).shown(refused.outcome)
        return problem_response(
            Problem(type=_urn("refused"), title=title, status=status, detail=outcome.reason, outcome=outcome)
        )

    @application.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        errors = [
            {"place": "/".join(map(str, each["loc"])), "message": each["msg"].removeprefix("Value error, ")}
            for each in error.errors()
        ]
        told = "; ".join(f"{each['place']}: {each['message']}" for each in errors)
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        kind = FailureKind.INVALID
        return problem_response(
            Problem(type=_urn(kind.value), title=TITLES[kind], status=status, detail=told, errors=errors)
        )

    @application.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        log.error("a request met a bug", path=request.url.path, error=repr(error), exc_info=error)
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        detail = "this process met an error that nobody foresaw; its log has it"
        return problem_response(Problem(type=_urn("bug"), title="A bug", status=status, detail=detail))

    @application.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_methods_at(request))
        return problem_response(Problem.of_status(error.status_code, error.detail), headers)


def problem_response(problem: Problem, headers: dict[str, str] | None = None) -> JSONResponse:
    """The answer with these details."""
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers = {"Retry-After": TRY_AGAIN_AFTER_S} | (headers or {})
    content = problem.model_dump(exclude_none=True)
    return JSONResponse(content, status_code=problem.status, headers=headers, media_type=MEDIA_TYPE)


def payloads_of(request: Request) -> PayloadView:
    """What the caller of a request sees of payloads. Whoever is not known sees none."""
    caller = getattr(request.state, "caller", None)
    return NOTHING if caller is None else caller.payloads


def _methods_at(request: Request) -> list[str]:
    """The methods of all routes with this path. The framework names those of the first one alone."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    routes = iter_route_contexts(request.app.routes)
    return sorted({method for route in routes if route.path_regex.match(path) for method in route.methods or ()})


def advice_by_path(advice: str) -> str:
    """The advice, with paths of the API in the place of commands that show what they show."""
    for command, path in _PATH_OF_COMMAND:
        advice = command.sub(path, advice)
    return advice


_PATH_OF_COMMAND = (
    (re.compile(r"saga-service dead-letters show (\S+)"), r"/v1/dead-letters/\1"),
    (re.compile(r"saga-service show (\S+)"), r"/v1/sagas/\1"),
    (re.compile(r"saga-service list\b"), "/v1/sagas"),
)


def _urn(words: str) -> str:
    return f"urn:saga-service:problem:{words.replace(' ', '-')}"
