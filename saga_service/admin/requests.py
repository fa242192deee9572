"""Requests to sagas (operations and signals): their outcomes, awaited in Postgres.

Redis may be away meanwhile: a replica of the service answers once it reads the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from asyncpg import Connection

from saga_service.admin.payloads import PayloadMark
from saga_service.admin.views import SagaRow, sagas_with_ids
from saga_service.store.requests import PostgresRequests, Result

POLL_S = 0.1

APPLIED, REPEATED, REFUSED = "applied", "repeated", "refused"


@dataclass(frozen=True, slots=True)
class RequestOutcome:
    """The outcome of one request to one saga. `verdict` is null where no replica has answered yet."""

    saga_id: str
    saga: str
    key: str | None
    request_id: int
    verdict: str | None
    reason: Annotated[str, PayloadMark.TEXT]
    status: str
    """The saga's status after the answer."""


async def request_outcomes(
    connection: Connection,
    requests: PostgresRequests,
    sagas: Sequence[SagaRow],
    request_ids: Sequence[int],
    timeout_s: float,
) -> list[RequestOutcome]:
    """The outcomes of these requests, one of each saga, awaited for `timeout_s` at most."""
    return await outcomes_of(connection, sagas, request_ids, await answers_to(requests, request_ids, timeout_s))


async def outcomes_of(
    connection: Connection, sagas: Sequence[SagaRow], request_ids: Sequence[int], answers: Mapping[int, Result]
) -> list[RequestOutcome]:
    """The outcomes of these requests, one of each saga, by the answers that have come."""
    statuses = {row.id: row.status for row in await sagas_with_ids(connection, [saga.id for saga in sagas])}
    return [
        _outcome(saga, request_id, answers.get(request_id), statuses.get(saga.id, saga.status))
        for saga, request_id in zip(sagas, request_ids, strict=True)
    ]


async def answers_to(requests: PostgresRequests, request_ids: Sequence[int], timeout_s: float) -> dict[int, Result]:
    """The answers to these requests by their ids, awaited for `timeout_s` at most. No connection is held meanwhile."""
    loop = asyncio.get_running_loop()
    give_up_at_s = loop.time() + timeout_s
    answers: dict[int, Result] = {}
    while True:
        answers |= await requests.results([each for each in request_ids if each not in answers])
        # Answers can only be polled: a notification would need a lock of the whole server in each commit.
        if len(answers) == len(request_ids) or loop.time() >= give_up_at_s:
            return answers
        await asyncio.sleep(POLL_S)


def _outcome(saga: SagaRow, request_id: int, answer: Result | None, status: str) -> RequestOutcome:
    verdict, reason = (None, "") if answer is None else answer
    return RequestOutcome(saga.id, saga.saga, saga.key, request_id, verdict, reason, status)
