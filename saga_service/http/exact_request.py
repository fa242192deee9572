"""Requests of which nothing is lost: what would be passed over is refused.

The standard reader of JSON takes the last of two equal names, rounds numbers, and knows NaN. The framework passes over
names that it does not know, so that a misspelt filter would leave everything.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.base.similar_names import closest_or_all
from saga_service.wire.entries import Malformed
from saga_service.wire.json import NotJson, read_json


class ExactBody(BaseModel):
    """A body in which nothing is unknown: a misspelt name is a mistake, and not a default."""

    model_config = ConfigDict(extra="forbid")


class ExactRequest(Request):
    """A request whose body is refused where a part of it would be lost."""

    async def json(self) -> Any:  # a value of JSON
        try:
            return read_json(await self.body(), "body")
        except (Malformed, NotJson) as error:
            text = str(error).replace("field 'body'", "the body")
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, text) from None


def check_query(request: Request) -> None:
    """Raises Failure where the query of a request has a parameter that its route does not have."""
    parameters = get_flat_params(request.scope["route"].dependant)
    known = [each.alias for each in parameters if isinstance(each.field_info, Query)]
    for name in request.query_params:
        if name not in known:
            raise Failure(
                f"query/{name}: there is no such parameter here{closest_or_all(name, known)}",
                kind=FailureKind.INVALID,
            )
