"""Sagas started by HTTP: the entry is on the stream, and the saga's id is known, when the answer goes out."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field

from saga_service.admin.changes import EntryPlace
from saga_service.admin.encryption import decrypted_saga
from saga_service.admin.failure_kinds import Failure
from saga_service.admin.starts import StartedSaga, StartRequest, start
from saga_service.admin.views import SagaRow, saga_with_id
from saga_service.http.access.callers import Operator
from saga_service.http.api_route import ApiRoute
from saga_service.http.exact_request import ExactBody
from saga_service.http.live.application_reader import LiveOfRequest
from saga_service.http.live.reader import LiveReader
from saga_service.http.live.saga_followers import AT_REST
from saga_service.http.live.waits import until_at_rest
from saga_service.http.pooled_servers import PooledServers, ServersOfRequest
from saga_service.http.routes.saga_routes import WAIT_S_MAX

router = APIRouter(prefix="/sagas", tags=["sagas"], route_class=ApiRoute)


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
    live: LiveOfRequest,
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
    saga = await _when_at_rest(servers, live, started, started.saga_id, wait) if wait else None
    response.headers["Location"] = f"sagas/{started.saga_id}"
    if started.is_new is False or (saga is not None and saga.status in AT_REST):
        response.status_code = HTTPStatus.OK
    return Started(started=started, saga=saga)


async def _when_at_rest(
    servers: PooledServers, live: LiveReader, started: StartedSaga, saga_id: str, wait_s: float
) -> SagaRow | None:
    """The saga once it has ended or is stuck, or as it is when the time is up. Nobody else is asked meanwhile.

    Raises Failure where its entry became a dead letter.
    """
    letter = await until_at_rest(live, saga_id, wait_s, EntryPlace(started.stream, started.entry_id))
    if letter is not None:
        raise Failure(
            f"the entry became dead letter {letter.id}: ",
            f"look: /v1/dead-letters/{letter.id}",
            because=letter.reason,
        )
    async with servers.postgres() as connection:
        saga = await saga_with_id(connection, saga_id)
    return None if saga is None else decrypted_saga(saga, servers.cipher)
