"""Failures as problem details (RFC 9457): what was wrong and where, and what to do about it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from saga_service.admin.failure_kinds import Failure, FailureKind

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
    errors: list[dict[str, Any]] | None = None  # Any: what pydantic says of one value
    """Each value of the request that cannot be used: its place, and what is wrong with it."""


class ProblemRaised(Exception):
    """An answer that is a problem, with its headers."""

    def __init__(self, problem: Problem, headers: dict[str, str] | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.headers = headers or {}


_CONTENT = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
RESPONSES: dict[int | str, dict[str, Any]] = {  # Any: FastAPI's own type for it
    "default": {"description": "A problem.", "content": _CONTENT}
}


def answer_with_problems(application: FastAPI) -> None:
    """Answer every failure of this application with problem details."""

    @application.exception_handler(Failure)
    async def failed(_: Request, failure: Failure) -> JSONResponse:
        problem = Problem(
            type=_urn(failure.kind.value),
            title=TITLES[failure.kind],
            status=STATUSES[failure.kind],
            detail=failure.message,
            advice=failure.advice,
        )
        return problem_response(problem)

    @application.exception_handler(ProblemRaised)
    async def told(_: Request, raised: ProblemRaised) -> JSONResponse:
        return problem_response(raised.problem, raised.headers)

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
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        phrase = HTTPStatus(error.status_code).phrase
        problem = Problem(
            type=_urn(phrase.lower()), title=phrase, status=error.status_code, detail=error.detail or phrase
        )
        return problem_response(problem, dict(error.headers or {}))


def problem_response(problem: Problem, headers: dict[str, str] | None = None) -> JSONResponse:
    """The answer with these details."""
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers = {"Retry-After": TRY_AGAIN_AFTER_S} | (headers or {})
    content = problem.model_dump(exclude_none=True)
    return JSONResponse(content, status_code=problem.status, headers=headers, media_type=MEDIA_TYPE)


def _urn(words: str) -> str:
    return f"urn:saga-service:problem:{words.replace(' ', '-')}"
