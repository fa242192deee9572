"""A worker's inbox in memory: the decisions are the real inbox's, and only its rows are here.

Handlers of a simulation run one after the other, so no other command comes between a mark and its result.
"""

from __future__ import annotations

from typing import Any

from saga_service.core.ids import SagaId
from saga_service.core.vocabulary import Direction, Outcome
from saga_service.wire.commands import ReceivedCommand
from saga_service.wire.entries import Message
from saga_service.worker.context import StepContext
from saga_service.worker.errors import Rejected
from saga_service.worker.execution import body_of, failure, success
from saga_service.worker.inbox.decisions import (
    NO_RECORD,
    Attempt,
    Decision,
    Row,
    Run,
    after_rejection,
    after_success,
    decide,
)
from saga_service.worker.inbox.recorded_replies import reply_to
from saga_service.worker.registration import Handler


class MemoryExactlyOnce:
    """Fulfils `worker.execution.ExactlyOnce`. `connection` is what transactional handlers are given."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._rows: dict[tuple[SagaId, str], Row] = {}

    async def carry_out(
        self, handler: Handler, command: ReceivedCommand, argument: object, context: StepContext, reply_bytes_max: int
    ) -> Message | None:
        async def call() -> Message:
            connection = self._connection if handler.takes_connection else None
            return success(command, await handler.call(argument, context, connection), reply_bytes_max)

        if command.direction is Direction.PROBE and not handler.answers_probes:
            return await call()
        place = (command.saga_id, command.step)
        absence_is_proof = handler.absence_is_proof(command)
        attempt = Attempt(command.direction, command.attempt, command.deadline_ms, absence_is_proof)
        before = self._rows.get(place, NO_RECORD)
        decided = decide(before, attempt)
        if decided.decision is not Decision.RUN:
            self._rows[place] = decided.row
            return reply_to(command, decided.decision, decided.row)
        if not handler.takes_connection:
            # Of a transactional one mark and result are one commit: one that dies leaves nothing behind.
            self._rows[place] = decided.row
        run = Run(attempt, before)
        try:
            reply = await call()
        except Rejected as error:
            rejection = body_of(failure(command, Outcome.REJECTED, error.code, error.message))
            self._rows[place] = after_rejection(decided.row, run, rejection).row
            raise
        self._rows[place] = after_success(decided.row, run, body_of(reply)).row
        return reply
