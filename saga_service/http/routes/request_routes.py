"""Signals to sagas and operations on them by HTTP, as requests in Postgres that any replica carries out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.lookup import find_saga
from saga_service.admin.requests import REFUSED, RequestOutcome, outcomes_of
from saga_service.core.ids import SagaId
from saga_service.core.vocabulary import Operation, Resolution
from saga_service.http.access.callers import Operator
from saga_service.http.api_route import ApiRoute
from saga_service.http.exact_request import ExactBody
from saga_service.http.live.application_reader import LiveOfRequest
from saga_service.http.live.reader import LiveReader
from saga_service.http.live.waits import answer_to
from saga_service.http.pooled_servers import PooledServers, ServersOfRequest
from saga_service.http.problem_details import RefusedBySaga
from saga_service.http.routes.saga_routes import BY_DEFINITION, OfDefinition, Target
from saga_service.store.requests import OperationCall, PostgresRequests

router = APIRouter(prefix="/sagas/{target}", tags=["steering"], route_class=ApiRoute)

ANSWER_S_MAX = 60.0
AnswerTimeout = Annotated[
    float, Query(ge=0, le=ANSWER_S_MAX, description="Seconds to wait for the answer of a replica.")
]


class Signal(ExactBody):
    """A signal to a saga."""

    name: Annotated[str, Field(min_length=1, max_length=200, description="The name that the definition has for it.")]
    data: Annotated[
        dict[str, Any], Field(default_factory=dict, description="Whatever the step that waits for it is given.")
    ]
    id: Annotated[
        str | None, Field(min_length=1, max_length=200, description="Two signals with one id are one signal.")
    ] = None
    step: Annotated[str | None, Field(max_length=200, description="The step that is meant; else any that waits.")] = (
        None
    )


class OperationArguments(ExactBody):
    """The arguments of an operation on a saga. Which are needed depends on the operation."""

    reason: Annotated[str, Field(min_length=1, max_length=1000, description="Why: it stands in the history.")]
    step: Annotated[str | None, Field(max_length=200, description="The step that is meant.")] = None
    resolution: Annotated[Resolution | None, Field(description="resolve: what became of the step.")] = None
    output: Annotated[dict[str, Any] | None, Field(description="resolve: the output of a step that succeeded.")] = None


NOT_YET: dict[int | str, dict[str, Any]] = {  # Any: FastAPI's own type for it
    202: {"model": RequestOutcome, "description": "No replica has answered in time. The request stays."}
}


@router.post("/signals", summary="Send a saga a signal", responses=NOT_YET)
async def signal_saga(
    caller: Operator,
    servers: ServersOfRequest,
    live: LiveOfRequest,
    response: Response,
    target: Target,
    wanted: Signal,
    saga: OfDefinition = None,
    timeout: AnswerTimeout = 10,
) -> RequestOutcome:
    async def request(requests: PostgresRequests, saga_id: SagaId) -> int:
        return await requests.signal(saga_id, wanted.name, wanted.data, wanted.id, wanted.step, caller.name)

    return await _requested(servers, live, response, target, saga, request, timeout)


@router.post(
    "/operations/{operation}",
    summary="Retry, skip, resolve, cancel, compensate, pause or resume a saga",
    responses=NOT_YET,
)
async def operate_saga(
    caller: Operator,
    servers: ServersOfRequest,
    live: LiveOfRequest,
    response: Response,
    target: Target,
    operation: Annotated[Operation, Path(description="What is to be done.")],
    wanted: OperationArguments,
    saga: OfDefinition = None,
    timeout: AnswerTimeout = 10,
) -> RequestOutcome:
    if operation is Operation.RESOLVE and (wanted.step is None or wanted.resolution is None):
        raise Failure("resolve needs a step and a resolution", kind=FailureKind.INVALID)
    call = OperationCall(operation, caller.name, wanted.reason, wanted.step, wanted.resolution, wanted.output)

    async def request(requests: PostgresRequests, saga_id: SagaId) -> int:
        [request_id] = await requests.operate([saga_id], call)
        return request_id

    return await _requested(servers, live, response, target, saga, request, timeout)


async def _requested(
    servers: PooledServers,
    live: LiveReader,
    response: Response,
    target: str,
    saga: str | None,
    request: Callable[[PostgresRequests, SagaId], Awaitable[int]],
    timeout_s: float,
) -> RequestOutcome:
    """The outcome of a request: 202 where no replica has answered yet. Raises RefusedBySaga.

    Whoever waits holds no connection, so that any number may wait.
    """
    async with servers.postgres() as connection:
        found = (await find_saga(connection, target, saga, by_definition=BY_DEFINITION)).saga
    with servers.requests() as requests:
        request_id = await request(requests, SagaId(found.id))
    answer = await answer_to(live, request_id, timeout_s) if timeout_s else None
    async with servers.postgres() as connection:
        [outcome] = await outcomes_of(connection, [found], [request_id], {} if answer is None else {request_id: answer})
    if outcome.verdict is None:
        response.status_code = HTTPStatus.ACCEPTED
    elif outcome.verdict == REFUSED:
        raise RefusedBySaga(outcome)
    return outcome
