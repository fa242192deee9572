"""Dead letters by HTTP: entries that could not be used are listed, put back where they came from, or dropped."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from saga_service.admin.dead_letters import Replayed
from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.filters import LetterFilter
from saga_service.admin.lists import AfterLetter, page_of_letters
from saga_service.admin.views import DeadLetterRow, dead_letters_with_ids
from saga_service.http.access.callers import Admin, Operator, Viewer, refuse_search_of_payloads
from saga_service.http.api_route import ApiRoute
from saga_service.http.pages import Limit, Span, Total, TotalIsExact, counted
from saga_service.http.pooled_servers import ServersOfRequest

router = APIRouter(prefix="/dead-letters", tags=["dead letters"], route_class=ApiRoute)

Number = Annotated[int, Path(ge=1, le=2**63 - 1, description="The dead letter's number.")]


class DeadLetterPage(BaseModel):
    """Dead letters, newest first."""

    items: list[DeadLetterRow]
    next: int | None
    """The number to read on before; null on the last page. A page may be short, or empty, and not be the last."""
    total: Total
    total_is_exact: TotalIsExact


@router.get("", summary="List dead letters, newest first")
async def list_dead_letters(
    caller: Viewer,
    servers: ServersOfRequest,
    stream: Annotated[str | None, Query(description="The stream that the entry came from.")] = None,
    reason: Annotated[str | None, Query(description="A part of the reason.")] = None,
    saga: Annotated[str | None, Query(description="The saga or the signal that the entry names.")] = None,
    older_than: Annotated[Span | None, Query(description="Seconds, or PT2H.")] = None,
    newer_than: Annotated[Span | None, Query(description="Seconds, or PT2H.")] = None,
    with_replayed: Annotated[bool, Query(description="With those that were put back.")] = False,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="`next` of the page before.")] = None,
    limit: Limit = 50,
) -> DeadLetterPage:
    refuse_search_of_payloads(caller, reason, "a search of reasons")
    wanted = LetterFilter(stream, reason, saga, older_than, newer_than, with_replayed)
    async with servers.postgres() as connection:
        page = await page_of_letters(connection, wanted, limit, None if before is None else AfterLetter(before))
        total = await counted(servers, connection, "dead_letters", wanted.conditions())
    return DeadLetterPage(items=page.items, next=None if page.next is None else page.next.id, **total)


@router.get("/{number}", summary="One dead letter")
async def get_dead_letter(caller: Viewer, servers: ServersOfRequest, number: Number) -> DeadLetterRow:
    async with servers.postgres() as connection:
        found = await dead_letters_with_ids(connection, [number])
    if not found:
        raise _no_such_letter(number)
    return found[0]


@router.post("/{number}/replay", summary="Put a dead letter back where it came from")
async def replay_dead_letter(
    caller: Operator,
    servers: ServersOfRequest,
    number: Number,
    again: Annotated[bool, Query(description="Also where it was put back before.")] = False,
) -> Replayed:
    letter = await get_dead_letter(caller, servers, number)
    if letter.replayed_at is not None and not again:
        raise Failure(f"dead letter {number} was replayed already", "to replay it once more: ?again=true")
    with servers.replay() as replay:
        replayed = await replay.batch([number])
    if not replayed:
        raise _no_such_letter(number)
    return replayed[0]


@router.delete("/{number}", summary="Drop a dead letter", status_code=HTTPStatus.NO_CONTENT)
async def drop_dead_letter(caller: Admin, servers: ServersOfRequest, number: Number) -> None:
    with servers.dead_letters() as box:
        dropped = await box.drop_dead_letters([number])
    if not dropped:
        raise _no_such_letter(number)


def _no_such_letter(number: int) -> Failure:
    return Failure(f"there is no dead letter {number}", "see: /v1/dead-letters", kind=FailureKind.NOT_FOUND)
