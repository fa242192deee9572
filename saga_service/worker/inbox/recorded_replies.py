"""The replies that the inbox sends in a handler's place."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from saga_service.core.vocabulary import Direction, Outcome
from saga_service.wire.commands import ReceivedCommand
from saga_service.wire.entries import Message
from saga_service.wire.replies import write_success
from saga_service.worker.execution import failure
from saga_service.worker.fault_codes import (
    ACTION_ENDED_MEANWHILE,
    DID_NOT_HAPPEN,
    FAULT_CODES,
    FENCED_BY_PROBE,
    IN_DOUBT,
    UNDONE_BEFORE_DONE,
)
from saga_service.worker.inbox.decisions import Decision, Mark, Row


class Refusal(NamedTuple):
    outcome: Outcome
    code: str


REFUSALS: dict[Decision, Refusal] = {
    Decision.REFUSE: Refusal(Outcome.REJECTED, UNDONE_BEFORE_DONE),
    Decision.FENCED: Refusal(Outcome.FAILED, FENCED_BY_PROBE),
    Decision.NOT_DONE: Refusal(Outcome.REJECTED, DID_NOT_HAPPEN),
    Decision.IN_DOUBT: Refusal(Outcome.FAILED, IN_DOUBT),
    Decision.OVERLAPPED: Refusal(Outcome.FAILED, ACTION_ENDED_MEANWHILE),
}


def reply_to(command: ReceivedCommand, decision: Decision, row: Row) -> Message | None:
    """Return the reply that a decision other than RUN asks for; None for SKIP."""
    if decision is Decision.REPEAT:
        return _recorded(command, row)
    if decision is Decision.NO_OP:
        return write_success(command.reply_to, command.id, command.saga_id, {})
    refusal = REFUSALS.get(decision)
    return None if refusal is None else failure(command, *refusal, FAULT_CODES[refusal.code])


def _recorded(command: ReceivedCommand, row: Row) -> Message:
    side = row.undo if command.direction is Direction.COMPENSATION else row.action
    # Any: what a handler returned, or the code and message of its rejection.
    recorded: dict[str, Any] = orjson.loads(side.result or "{}")
    if side.mark is Mark.DONE:
        return write_success(command.reply_to, command.id, command.saga_id, recorded, command.cipher)
    return failure(command, Outcome.REJECTED, recorded["code"], recorded["message"])
