"""Sagas started by HTTP: the entry is on the stream, and the saga's id is known, when the answer goes out."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field

from saga_service.admin.encryption import decrypted_saga
from saga_service.admin.failure_kinds import Failure
from saga_service.admin.starts import StartedSaga, StartRequest, start
from saga_service.admin.views import SagaRow, dead_letter_of_entry, saga_with_id
from saga_service.http.access.callers import Operator
from saga_service.http.api_route import ApiRoute
from saga_service.http.exact_request import ExactBody
from saga_service.http.pooled_servers import PooledServers, ServersOfRequest

router = APIRouter(prefix="/sagas", tags=["sagas"], route_class=ApiRoute)

WAIT_S_MAX = 60.0
POLL_S = 0.25
AT_REST = ("completed", "compensated", "stuck")


class Start(ExactBody):
    """A saga to start."""

    saga: Annotated[str, Field(min_length=1, max_length=200, description="The name of the definition.")]
    input: Annotated[
        dict[str, Any], Field(default_factory=dict, description="The input, in the form of the definition's schema.")
    ]
    key: Annotated[
        str | None, Field(max_length=500, description="The business key: two starts with one key are one saga.")
    ] = None


class Started(BaseModel):
    """A saga that was started, and with `wait` what had become of it."""

    started: StartedSaga
    saga: SagaRow | None = None
    """Null where it was not waited for, or no replica has taken the entry in yet."""


@router.post(
    "",
    summary="Start a saga",
    status_code=HTTPStatus.ACCEPTED,
    responses={200: {"model": Started, "description": "It has ended, is stuck, or was there already."}},
)
async def start_saga(
    caller: Operator,
    servers: ServersOfRequest,
    response: Response,
    wanted: Start,
    idempotency_key: Annotated[
        str | None,
        Header(max_length=500, description="Two starts with one key are one saga, however often they are sent."),
    ] = None,
    wait: Annotated[float, Query(ge=0, le=WAIT_S_MAX, description="Seconds to wait until it has ended.")] = 0,
) -> Started:
    request = StartRequest(wanted.saga, wanted.input, {}, wanted.key, idempotency_key, None, actor=caller.name)
    started = await start(servers, request, is_awaited=True)
    assert started.saga_id is not None, "a saga whose id cannot be known is refused"
    saga = await _when_at_rest(servers, started, started.saga_id, wait) if wait else None
    response.headers["Location"] = f"sagas/{started.saga_id}"
    if started.is_new is False or (saga is not None and saga.status in AT_REST):
        response.status_code = HTTPStatus.OK
    return Started(started=started, saga=saga)


async def _when_at_rest(servers: PooledServers, started: StartedSaga, saga_id: str, wait_s: float) -> SagaRow | None:
    """The saga once it has ended or is stuck, or as it is when the time is up.

    Raises Failure where its entry became a dead letter.
    """
    loop = asyncio.get_running_loop()
    give_up_at_s = loop.time() + wait_s
    while True:
        async with servers.postgres() as connection:
            saga = await saga_with_id(connection, saga_id)
            letter = None if saga else await dead_letter_of_entry(connection, started.stream, started.entry_id)
        if letter is not None:
            raise Failure(
                f"the entry became dead letter {letter.id}: {letter.reason}", f"look: /v1/dead-letters/{letter.id}"
            )
        if (saga is not None and saga.status in AT_REST) or loop.time() >= give_up_at_s:
            return None if saga is None else decrypted_saga(saga, servers.cipher)
        await asyncio.sleep(min(POLL_S, max(0.0, give_up_at_s - loop.time())))
