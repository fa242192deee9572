"""What the inbox answers in a handler's place."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from saga_service.core.vocabulary import Direction, Outcome
from saga_service.wire.commands import ReceivedCommand
from saga_service.wire.entries import Message
from saga_service.wire.replies import write_success
from saga_service.worker.execution import failure
from saga_service.worker.inbox.decisions import Mark, Row, Verdict

UNDONE_BEFORE_DONE = "undone_before_done"
CLOSED_BY_PROBE = "closed_by_probe"
DID_NOT_HAPPEN = "did_not_happen"
IN_DOUBT = "in_doubt"
ENDED_MEANWHILE = "action_ended_meanwhile"


class Refusal(NamedTuple):
    outcome: Outcome
    code: str
    message: str


REFUSALS: dict[Verdict, Refusal] = {
    Verdict.REFUSE: Refusal(
        Outcome.REJECTED, UNDONE_BEFORE_DONE, "the step was undone before this action came; it was not carried out"
    ),
    Verdict.CLOSED: Refusal(
        Outcome.FAILED, CLOSED_BY_PROBE, "a probe was told that this did not happen; it was not carried out"
    ),
    Verdict.NOT_DONE: Refusal(
        Outcome.REJECTED, DID_NOT_HAPPEN, "the action did not happen, and no attempt that was sent so far will"
    ),
    Verdict.IN_DOUBT: Refusal(
        Outcome.FAILED, IN_DOUBT, "the action was begun, and its end is not on record: it may have happened"
    ),
    Verdict.OVERLAPPED: Refusal(
        Outcome.FAILED, ENDED_MEANWHILE, "the action ended while it was being undone; it has to be undone once more"
    ),
}


def reply_to(command: ReceivedCommand, verdict: Verdict, row: Row) -> Message | None:
    """The reply that a verdict other than RUN asks for, None if there is to be none."""
    if verdict is Verdict.ANSWER:
        return _recorded(command, row)
    if verdict is Verdict.EMPTY:
        return write_success(command.reply_to, command.id, command.saga_id, {})
    refusal = REFUSALS.get(verdict)
    return None if refusal is None else failure(command, *refusal)


def _recorded(command: ReceivedCommand, row: Row) -> Message:
    side = row.undo if command.direction is Direction.COMPENSATION else row.action
    # Any: what a handler returned, or the code and message of its rejection.
    recorded: dict[str, Any] = orjson.loads(side.result or "{}")
    if side.mark is Mark.DONE:
        return write_success(command.reply_to, command.id, command.saga_id, recorded, command.cipher)
    return failure(command, Outcome.REJECTED, recorded["code"], recorded["message"])
