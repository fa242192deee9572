"""Deduplication of effects: the theory of effects that happen exactly once, and its tables.

For each step of a saga an inbox keeps one row, and the row has two sides: the step's action, and its undo. A side is

    never       no handler was ever called for it (and none will have been: the mark comes before the call)
    begun       a handler was called, and its end is not on record: it may have had its effect
    done        it had its effect; the result is on record, and is the reply from then on
    rejected    the handler said that it can never succeed, at this attempt; no other call of it is in doubt

and remembers the highest attempt that began. The decision on a command's own side (`OWN_SIDE`) depends on its attempt,
which is earlier than that one, the same (a redelivery), or later:

    done        for any attempt, the recorded result is the reply, and the handler is not called
    fencing     an earlier attempt is skipped: the later one has taken its place, and only it may act
    redelivery  a rejection is repeated word for word; a side that was only begun is begun again
    retry       a later attempt begins; after a rejection too, since then a person asked for it

Four rules come from the other side.

    no-op undo  An undo of what never happened succeeds without its handler. That holds if the action had to pass by the
                same inbox (the handler says so with `undoes`), and if the saga does not know better: a saga that sends
                the action's result along had it carried out before the inbox was there.
    tombstone   An undo that has begun, as a no-op or not, refuses an action that never began. An action that is in
                doubt is skipped: it may have happened, and the undo is under way.
    overlap     An action that was begun may end after its undo. Then its success opens the undo again, so that the
                saga's next one has its effect; and an undo that ran while the action ended fails, to be retried.
    denial      A probe's reply "it did not happen" is made true for good: no attempt that was sent before it may begin
                any more. The deadline tells which those are: each command of a step has the same time for itself, so
                what was sent earlier ends earlier.

A transactional handler leaves no `begun` on record: mark, effect and result are one commit, under the row's lock. A
handler that is not transactional leaves `begun` behind if its process dies, and is called again: only the idempotency
key can make that harmless.

`reply_to` makes the replies that the inbox sends in a handler's place.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Any, NamedTuple

import orjson

from saga_service.core.vocabulary import Direction, Outcome
from saga_service.wire.commands import ReceivedCommand
from saga_service.wire.entries import Message
from saga_service.wire.replies import write_success
from saga_service.worker.errors import (
    ACTION_ENDED_MEANWHILE,
    DID_NOT_HAPPEN,
    FAULT_CODES,
    FENCED_BY_PROBE,
    IN_DOUBT,
    UNDONE_BEFORE_DONE,
)
from saga_service.worker.execution import failure


class Mark(StrEnum):
    """How far one side of a step has come."""

    NEVER = "never"
    BEGUN = "begun"
    DONE = "done"
    REJECTED = "rejected"


class Side(NamedTuple):
    mark: Mark = Mark.NEVER
    attempt: int = 0
    """The highest one that began; 0 before the first."""
    result: str | None = None
    """JSON: the result of a side that is done, or the error of one that was rejected."""


class Row(NamedTuple):
    """What is on record of a step."""

    action: Side = Side()
    undo: Side = Side()
    fenced_until_ms: int = 0
    """The latest deadline of an action that may not begin any more."""


NO_RECORD = Row()


class Attempt(NamedTuple):
    """As much of a command as the decision depends on."""

    direction: Direction
    number: int
    deadline_ms: int
    absence_is_proof: bool = False
    """True for an undo whose action did not happen if it is not on record."""


class Decision(Enum):
    """What is done about a command."""

    RUN = "call the handler"
    REPEAT = "reply with what is on record"
    NO_OP = "reply with success: there is nothing to undo"
    REFUSE = "reply that it can never be done: its undo came first"
    FENCED = "reply that it was not done: a probe has said so"
    SKIP = "do nothing, and send no reply"
    NOT_DONE = "reply that it did not happen, and that no attempt sent so far will begin"
    IN_DOUBT = "reply that it may have happened"
    OVERLAPPED = "reply that it has to be done again"


class Decided(NamedTuple):
    decision: Decision
    row: Row
    """What must be on record before anything is done about the command."""


class Relation(Enum):
    """A command's attempt, seen from the highest one that began."""

    EARLIER = 0
    SAME = 1
    LATER = 2


_RUN, _REPEAT, _SKIP, _REFUSE = Decision.RUN, Decision.REPEAT, Decision.SKIP, Decision.REFUSE

OWN_SIDE: dict[Mark, tuple[Decision, Decision, Decision]] = {
    #              EARLIER   SAME     LATER
    Mark.NEVER:    (_SKIP,   _RUN,    _RUN),
    Mark.BEGUN:    (_SKIP,   _RUN,    _RUN),
    Mark.DONE:     (_REPEAT, _REPEAT, _REPEAT),
    Mark.REJECTED: (_SKIP,   _REPEAT, _RUN),
}  # fmt: skip

ACTION_AFTER_UNDO: dict[Mark, tuple[Decision, Decision, Decision]] = {
    Mark.NEVER:    (_REFUSE, _REFUSE, _REFUSE),
    Mark.BEGUN:    (_SKIP,   _SKIP,   _SKIP),
    Mark.DONE:     (_REPEAT, _REPEAT, _REPEAT),
    Mark.REJECTED: (_SKIP,   _REPEAT, _REFUSE),
}  # fmt: skip

PROBE: dict[Mark, Decision] = {
    Mark.NEVER: Decision.NOT_DONE,
    Mark.BEGUN: Decision.IN_DOUBT,
    Mark.DONE: Decision.REPEAT,
    Mark.REJECTED: Decision.NOT_DONE,
}

_DID_NOT_HAPPEN = frozenset({Mark.NEVER, Mark.REJECTED})


def decide(row: Row, attempt: Attempt) -> Decided:
    """Decide on a command by what is on record of its step."""
    match attempt.direction:
        case Direction.ACTION:
            return _decide_action(row, attempt)
        case Direction.COMPENSATION:
            return _decide_undo(row, attempt)
        case Direction.PROBE:
            return _decide_probe(row, attempt)


def _decide_action(row: Row, attempt: Attempt) -> Decided:
    rules = OWN_SIDE if row.undo.mark is Mark.NEVER else ACTION_AFTER_UNDO
    decision = rules[row.action.mark][_relation(row.action, attempt).value]
    if decision is not Decision.RUN:
        return Decided(decision, row)
    if row.action.mark in _DID_NOT_HAPPEN and attempt.deadline_ms <= row.fenced_until_ms:
        return Decided(Decision.FENCED, row)
    return Decided(decision, row._replace(action=Side(Mark.BEGUN, attempt.number)))


def _decide_undo(row: Row, attempt: Attempt) -> Decided:
    decision = OWN_SIDE[row.undo.mark][_relation(row.undo, attempt).value]
    if decision is not Decision.RUN:
        return Decided(decision, row)
    if row.undo.mark is Mark.NEVER and row.action.mark in _DID_NOT_HAPPEN and attempt.absence_is_proof:
        return Decided(Decision.NO_OP, row._replace(undo=Side(Mark.DONE, attempt.number, "{}")))
    return Decided(decision, row._replace(undo=Side(Mark.BEGUN, attempt.number)))


def _decide_probe(row: Row, attempt: Attempt) -> Decided:
    decision = PROBE[row.action.mark]
    if decision is not Decision.NOT_DONE:
        return Decided(decision, row)
    return Decided(decision, row._replace(fenced_until_ms=max(row.fenced_until_ms, attempt.deadline_ms)))


def _relation(side: Side, attempt: Attempt) -> Relation:
    if attempt.number == side.attempt:
        return Relation.SAME
    return Relation.LATER if attempt.number > side.attempt else Relation.EARLIER


class Run(NamedTuple):
    """A call of a handler, and what was on record when it began."""

    attempt: Attempt
    before: Row


class Conclusion(NamedTuple):
    decision: Decision | None
    """The reply in place of the handler's own; None for the handler's own."""
    row: Row


def after_success(row: Row, run: Run, result: str) -> Conclusion:
    """Conclude a call whose handler has succeeded; `row` is what is on record by now."""
    attempt = run.attempt.number
    if run.attempt.direction is Direction.ACTION:
        if row.action.mark is Mark.DONE:
            return Conclusion(Decision.REPEAT, row)
        done = Side(Mark.DONE, max(attempt, row.action.attempt), result)
        return Conclusion(None, row._replace(action=done, undo=Side(Mark.NEVER, row.undo.attempt)))
    if row.undo.mark is Mark.DONE:
        return Conclusion(Decision.REPEAT, row)
    if row.action.mark is Mark.DONE and run.before.action.mark is not Mark.DONE:
        return Conclusion(Decision.OVERLAPPED, row)
    return Conclusion(None, row._replace(undo=Side(Mark.DONE, max(attempt, row.undo.attempt), result)))


def after_rejection(row: Row, run: Run, error: str, *, is_alone: bool = True) -> Conclusion:
    """Conclude a call whose handler has rejected; `row` is what is on record by now.

    A rejection is recorded only if it is the whole truth: not after a call whose end is unknown, nor with a later
    attempt under way, nor if another call may have begun beside it (`is_alone`: the row was not touched since).
    """
    is_action = run.attempt.direction is Direction.ACTION
    now, before = (row.action, run.before.action) if is_action else (row.undo, run.before.undo)
    if now.mark is Mark.DONE:
        return Conclusion(Decision.REPEAT, row)
    if not is_alone or before.mark is Mark.BEGUN or now != Side(Mark.BEGUN, run.attempt.number):
        return Conclusion(None, row)
    side = Side(Mark.REJECTED, run.attempt.number, error)
    return Conclusion(None, row._replace(action=side) if is_action else row._replace(undo=side))


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
