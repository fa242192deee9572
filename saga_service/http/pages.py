"""Pages of a list: a cursor is the place of the last item, so that no page is counted from the beginning.

Items that come in meanwhile shift nothing, and a deep page costs what the first one does.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypedDict

from asyncpg import Connection
from fastapi import Query
from pydantic import BeforeValidator, Field, WithJsonSchema

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.filters import Conditions
from saga_service.admin.lists import AfterSaga, count_of
from saga_service.core.ids import parse_saga_id
from saga_service.http.pooled_servers import PooledServers

PAGE_MAX = 500
_FIRST_MOMENT = datetime(1970, 1, 1, tzinfo=UTC)
"""Before it no saga began, and soon before it Python's times end."""
COUNTED_MAX = 10_000
"""A list is counted exactly up to here."""

_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?")


def _in_seconds(given: object) -> object:
    """The seconds of a text that has digits alone: in a query everything is a text."""
    return float(given) if isinstance(given, str) and _SECONDS.fullmatch(given) else given


SPAN_MAX = timedelta(days=36_500)
_SPAN_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": SPAN_MAX.total_seconds()},
        {"type": "string", "format": "duration"},
    ]
}
Span = Annotated[
    timedelta, Field(ge=timedelta(), le=SPAN_MAX), BeforeValidator(_in_seconds), WithJsonSchema(_SPAN_SCHEMA)
]
"""An age of items, in seconds or as ISO 8601 has it, a hundred years at most."""
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX, description="The items of one page.")]
Cursor = Annotated[str | None, Query(description="`next` of the page before. Leave it out for the first page.")]


Total = Annotated[
    int | None,
    Field(
        description="The number of all that fit, 10,000 at most; null where it takes too long to count, or many count."
    ),
]
TotalIsExact = Annotated[bool, Field(description="False where more fit, or where `total` is null.")]


class Counted(TypedDict):
    """How many fit, as a page says it."""

    total: int | None
    total_is_exact: bool


async def counted(servers: PooledServers, connection: Connection, view: str, conditions: Conditions) -> Counted:
    """How many rows of a view fit. Nothing is counted while others count on half of the connections."""
    total = None
    if not servers.counting.locked():
        async with servers.counting:
            total = await count_of(connection, view, conditions, COUNTED_MAX + 1)
    if total is None:
        return Counted(total=None, total_is_exact=False)
    return Counted(total=min(total, COUNTED_MAX), total_is_exact=total <= COUNTED_MAX)


def cursor_of(place: AfterSaga) -> str:
    """The cursor of the page after this saga."""
    return base64.urlsafe_b64encode(f"{place.created_at.isoformat()} {place.id}".encode()).decode().rstrip("=")


def place_of(cursor: str | None) -> AfterSaga | None:
    """The place that a cursor stands for. Raises Failure where it is none."""
    if cursor is None:
        return None
    try:
        created_at, saga_id = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii").split(" ")
        place = AfterSaga(datetime.fromisoformat(created_at), saga_id)
    except (ValueError, binascii.Error):
        raise _no_cursor() from None
    if parse_saga_id(place.id) is None or place.created_at.tzinfo is None or place.created_at < _FIRST_MOMENT:
        raise _no_cursor()
    return place


def _no_cursor() -> Failure:
    return Failure("cursor: is not the `next` of a page", "begin with the first page", kind=FailureKind.INVALID)
