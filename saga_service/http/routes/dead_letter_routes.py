"""Dead letters by HTTP: entries that could not be used are listed, put back where they came from, or dropped."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from saga_service.admin.dead_letters import Replayed
from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.filters import LetterFilter, newest_letters
from saga_service.admin.views import DeadLetterRow, dead_letters_with_ids
from saga_service.http.access.callers import Admin, Operator, Viewer
from saga_service.http.cursor import Limit, Span
from saga_service.http.pooled_servers import ServersOfRequest

router = APIRouter(prefix="/dead-letters", tags=["dead letters"])

Number = Annotated[int, Path(ge=1, le=2**63 - 1, description="The dead letter's number.")]


class DeadLetterPage(BaseModel):
    """Dead letters, newest first."""

    items: list[DeadLetterRow]
    next: int | None
    """The number to read on before; null on the last page."""
    total: int | None
    """The number of all that fit; null where there are too many to be counted."""


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
    wanted = LetterFilter(stream, reason, saga, older_than, newer_than, with_replayed)
    async with servers.postgres() as connection:
        found, total = await newest_letters(connection, wanted, limit + 1, before=before)
    return DeadLetterPage(items=found[:limit], next=found[limit - 1].id if len(found) > limit else None, total=total)


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
