"""The theory of effects that happen once, and its tables.

For each step of a saga an inbox keeps one row, and the row has two sides: the step's action, and its undo. A side is

    never       no handler was ever called for it (and none will have been: the mark comes before the call)
    begun       a handler was called, and how that ended is not on record: it may have had its effect
    done        it had its effect; the result is on record, and is the answer from then on
    rejected    the handler said that it can never work, at this attempt; no other call of it is in doubt

and remembers the highest attempt that began. What a command meets on its own side (`OWN_SIDE`) depends on whether it is
an earlier attempt than that one, the same (a redelivery), or a later one:

    done        whatever the attempt, the recorded result is the answer, and the handler is not called
    fencing     an earlier attempt is passed over: the later one has the word, and only it may act
    redelivery  a rejection is repeated word for word; what was only begun is begun again
    retry       a later attempt begins; after a rejection too, since then it was a person who asked for it

Four things come from the other side.

    no-op undo  An undo of what never happened succeeds without its handler. That holds if the action had to pass by the
                same inbox (the handler says so with `undoes`), and if the saga does not know better: a saga that sends
                the action's result along had it carried out before the inbox was there.
    tombstone   An undo that has been taken up, as a no-op or not, refuses an action that never began. One that is in
                doubt is passed over: whether it happened nobody knows, and the undo is under way.
    overlap     An action that was begun may end after its undo. Then its success opens the undo again, so that the
                saga's next one has its effect; and an undo that ran while the action ended fails, to be tried again.
    closing     A probe that says "it did not happen" makes that true for good: no attempt that was sent before it may
                begin any more. The deadline tells which those are: each command of a step has the same time for itself,
                so what was sent earlier ends earlier.

A transactional handler has no `begun` on record: mark, effect and result are one commit, under the row's lock. One that
is not transactional leaves `begun` behind if it dies, and is called again: only the idempotency key can help it.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import NamedTuple

from saga_service.core.vocabulary import Direction


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
    """JSON: what a side that is done returned, or the error of one that was rejected."""


class Row(NamedTuple):
    """What is on record of a step."""

    action: Side = Side()
    undo: Side = Side()
    closed_until_ms: int = 0
    """No action may begin whose deadline is not after this."""


NOTHING = Row()


class Asked(NamedTuple):
    """As much of a command as the verdict depends on."""

    direction: Direction
    attempt: int
    deadline_ms: int
    absence_is_proof: bool = False
    """Of an undo: if the action is not on record it did not happen."""


class Verdict(Enum):
    """What is to be done about a command."""

    RUN = "call the handler"
    ANSWER = "answer with what is on record"
    EMPTY = "answer success: there is nothing to undo"
    REFUSE = "answer that it can never be done: its undo came first"
    CLOSED = "answer that it was not done: a probe has said so"
    PASS_OVER = "do nothing, and do not answer"
    NOT_DONE = "answer that it did not happen, and never will by what was sent so far"
    IN_DOUBT = "answer that nobody can tell"
    OVERLAPPED = "answer that it has to be done again"


class Judged(NamedTuple):
    verdict: Verdict
    row: Row
    """What is to be on record before anything is done about it."""


class Relation(Enum):
    """A command's attempt, seen from the highest one that began."""

    EARLIER = 0
    SAME = 1
    LATER = 2


_RUN, _ANSWER, _PASS, _REFUSE = Verdict.RUN, Verdict.ANSWER, Verdict.PASS_OVER, Verdict.REFUSE

OWN_SIDE: dict[Mark, tuple[Verdict, Verdict, Verdict]] = {
    #              EARLIER   SAME     LATER
    Mark.NEVER:    (_PASS,   _RUN,    _RUN),
    Mark.BEGUN:    (_PASS,   _RUN,    _RUN),
    Mark.DONE:     (_ANSWER, _ANSWER, _ANSWER),
    Mark.REJECTED: (_PASS,   _ANSWER, _RUN),
}  # fmt: skip

ACTION_AFTER_UNDO: dict[Mark, tuple[Verdict, Verdict, Verdict]] = {
    Mark.NEVER:    (_REFUSE, _REFUSE, _REFUSE),
    Mark.BEGUN:    (_PASS,   _PASS,   _PASS),
    Mark.DONE:     (_ANSWER, _ANSWER, _ANSWER),
    Mark.REJECTED: (_PASS,   _ANSWER, _REFUSE),
}  # fmt: skip

PROBE: dict[Mark, Verdict] = {
    Mark.NEVER: Verdict.NOT_DONE,
    Mark.BEGUN: Verdict.IN_DOUBT,
    Mark.DONE: Verdict.ANSWER,
    Mark.REJECTED: Verdict.NOT_DONE,
}

DID_NOT_HAPPEN = frozenset({Mark.NEVER, Mark.REJECTED})


def judge(row: Row, asked: Asked) -> Judged:
    """What to do about a command, and what to put on record first."""
    match asked.direction:
        case Direction.ACTION:
            return _judge_action(row, asked)
        case Direction.COMPENSATION:
            return _judge_undo(row, asked)
        case Direction.PROBE:
            return _judge_probe(row, asked)


def _judge_action(row: Row, asked: Asked) -> Judged:
    rules = OWN_SIDE if row.undo.mark is Mark.NEVER else ACTION_AFTER_UNDO
    verdict = rules[row.action.mark][_relation(row.action, asked).value]
    if verdict is not Verdict.RUN:
        return Judged(verdict, row)
    if row.action.mark in DID_NOT_HAPPEN and asked.deadline_ms <= row.closed_until_ms:
        return Judged(Verdict.CLOSED, row)
    return Judged(verdict, row._replace(action=Side(Mark.BEGUN, asked.attempt)))


def _judge_undo(row: Row, asked: Asked) -> Judged:
    verdict = OWN_SIDE[row.undo.mark][_relation(row.undo, asked).value]
    if verdict is not Verdict.RUN:
        return Judged(verdict, row)
    if row.undo.mark is Mark.NEVER and row.action.mark in DID_NOT_HAPPEN and asked.absence_is_proof:
        return Judged(Verdict.EMPTY, row._replace(undo=Side(Mark.DONE, asked.attempt, "{}")))
    return Judged(verdict, row._replace(undo=Side(Mark.BEGUN, asked.attempt)))


def _judge_probe(row: Row, asked: Asked) -> Judged:
    verdict = PROBE[row.action.mark]
    if verdict is not Verdict.NOT_DONE:
        return Judged(verdict, row)
    return Judged(verdict, row._replace(closed_until_ms=max(row.closed_until_ms, asked.deadline_ms)))


def _relation(side: Side, asked: Asked) -> Relation:
    if asked.attempt == side.attempt:
        return Relation.SAME
    return Relation.LATER if asked.attempt > side.attempt else Relation.EARLIER


class Run(NamedTuple):
    """A call of a handler, and what was on record when it began."""

    asked: Asked
    before: Row


class Concluded(NamedTuple):
    verdict: Verdict | None
    """What to answer instead of what the handler said; None: just that."""
    row: Row


def succeeded(row: Row, run: Run, result: str) -> Concluded:
    """What is to be on record when a handler has succeeded; `row` is what is there by now."""
    attempt = run.asked.attempt
    if run.asked.direction is Direction.ACTION:
        if row.action.mark is Mark.DONE:
            return Concluded(Verdict.ANSWER, row)
        done = Side(Mark.DONE, max(attempt, row.action.attempt), result)
        return Concluded(None, row._replace(action=done, undo=Side(Mark.NEVER, row.undo.attempt)))
    if row.undo.mark is Mark.DONE:
        return Concluded(Verdict.ANSWER, row)
    if row.action.mark is Mark.DONE and run.before.action.mark is not Mark.DONE:
        return Concluded(Verdict.OVERLAPPED, row)
    return Concluded(None, row._replace(undo=Side(Mark.DONE, max(attempt, row.undo.attempt), result)))


def rejected(row: Row, run: Run, error: str, *, is_alone: bool = True) -> Concluded:
    """What is to be on record when a handler has rejected. A rejection is remembered only if it is the whole truth: not
    after a call whose end nobody knows, nor with a later attempt under way, nor if another call may have begun beside
    it (`is_alone`: nobody looked at the row since)."""
    is_action = run.asked.direction is Direction.ACTION
    now, before = (row.action, run.before.action) if is_action else (row.undo, run.before.undo)
    if now.mark is Mark.DONE:
        return Concluded(Verdict.ANSWER, row)
    if not is_alone or before.mark is Mark.BEGUN or now != Side(Mark.BEGUN, run.asked.attempt):
        return Concluded(None, row)
    side = Side(Mark.REJECTED, run.asked.attempt, error)
    return Concluded(None, row._replace(action=side) if is_action else row._replace(undo=side))
