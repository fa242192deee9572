"""A worker's inbox in memory: what is judged is judged by the inbox's own tables, only the rows are here.

Handlers of a simulation run one after the other, so nothing comes in between a mark and its result, and what a handler
says of itself always stands.
"""

from __future__ import annotations

from typing import Any

from saga_service.core.ids import SagaId
from saga_service.core.vocabulary import Direction, Outcome
from saga_service.wire.commands import OUTPUTS_FIELD, ReceivedCommand
from saga_service.wire.entries import Message
from saga_service.worker.context import StepContext
from saga_service.worker.errors import Rejected
from saga_service.worker.execution import body_of, failure, success
from saga_service.worker.inbox.decisions import NOTHING, Asked, Row, Run, Verdict, judge, rejected, succeeded
from saga_service.worker.inbox.recorded_replies import reply_to
from saga_service.worker.registration import Handler


class OnceInMemory:
    """Fulfils `worker.execution.Once`. `connection` is what transactional handlers get."""

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
        before, asked = self._rows.get(place, NOTHING), _asked(handler, command)
        judged = judge(before, asked)
        if judged.verdict is not Verdict.RUN:
            self._rows[place] = judged.row
            return reply_to(command, judged.verdict, judged.row)
        if not handler.takes_connection:
            # Of a transactional one mark and result are one commit: one that dies leaves nothing behind.
            self._rows[place] = judged.row
        run = Run(asked, before)
        try:
            reply = await call()
        except Rejected as error:
            rejection = body_of(failure(command, Outcome.REJECTED, error.code, error.message))
            self._rows[place] = rejected(judged.row, run, rejection).row
            raise
        self._rows[place] = succeeded(judged.row, run, body_of(reply)).row
        return reply


def _asked(handler: Handler, command: ReceivedCommand) -> Asked:
    outputs = command.data.get(OUTPUTS_FIELD)
    known_to_be_done = isinstance(outputs, dict) and command.step in outputs
    return Asked(
        command.direction, command.attempt, command.deadline_ms, handler.undoes is not None and not known_to_be_done
    )
