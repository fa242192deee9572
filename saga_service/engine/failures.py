"""What is done when a batch cannot be committed, as a table: (what failed, where) -> remedy.

A batch is one commit, so it stands or falls as one. `REMEDIES` says how each failure stays the business of the entry
that it concerns. `Engine.process` follows it and knows no failure by name.

    wait                try the same again, after a growing pause
    read afresh         trust no copy, read every saga, fold again
    without requests    go on without the requests of the batch
    halve               try each half as a batch of its own, until the entry at fault is alone
    put back            requests come again in a moment, after what is open before them; all else of the batch goes on
    try again           once more, alone: a failure that does not come again was not the entry's fault
    defer               keep the entry in Postgres, to be tried again after a growing wait; all else goes on
    leave               nothing: a lease runs out, and with it the entry comes again
    quarantine          make the entry a dead letter
    drop the fields     make a dead letter that has the reason and no fields
    end                 the service ends, and says why

Whose fault a failure is decides the row.

- *The link's or the server's* (connection lost, fail-over, disk full): every batch would fail, so nothing is learned by
  taking one apart. It waits.
- *The password's, the user's, the database's*: refused at the start. A running service waits, for a change may be under
  way there; it is read here at the next start.
- *A statement's* (it timed out, a lock was not to be had, no memory, an internal error of Postgres): the server may be
  well and one row at fault, held by a session that nobody attends to. Or every statement fails. A probe tells: it takes
  the locks on tables that a commit takes, writes, and touches no row of a saga. If the probe fails too, this is an
  outage, and the batch waits whole. If the probe goes through, the batch is tried whole once more, for an outage may
  just have ended; then it is halved, and the entry that still fails alone is deferred. It is never a dead letter:
  nothing is wrong with it.
- *A race's*: another replica was quicker, or Postgres undid the transaction for the sake of another one (a deadlock, a
  serialization failure). A batch reads afresh and tries again, with growing pauses. One that loses
  `RACES_MAX` times is contended: it is halved, so that a hot saga holds up no other, and the entry alone is deferred.
- *The data's* (Postgres refuses a value, a payload cannot be decrypted): it would fail for ever. Dead letter.
- *Ours* (any other exception): tried once more, then a dead letter that asks for a report. A bug costs one entry.
- *The installation's* (a table or a right is missing): whatever came in could not be handled rightly. The service ends.

Where the failure struck decides the column. The first three columns try the entries themselves, the others write down
what becomes of a single one. A request and a timer have a lease in Postgres: they may be left, and come again. An entry
of a stream may not be left, for this replica holds it: it waits until it is written down.

Two failures need no row, for they are settled in the fold, entry by entry: a saga that is not there yet, and a
definition that this release cannot read. Both are deferred (`engine.deferral`).

A due timer has no entry, and is written down as one (`wire.events`). In quarantine it is a dead letter of
`saga.timers`, and the saga's wake-up is moved out of the way, so that it does not fail for ever; `dead-letters replay`
sets it going again. Deferred, a timer is left to its lease.

Nothing that happens after the commit comes here: what is durable is never tried again because of a log line.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from saga_service.wire.encryption import DecryptionFailed


class RevisionConflict(Exception):
    """Some saga of the batch is not at the revision that the batch expects. Nothing was written."""


class RequestsAnswered(Exception):
    """Some request of the batch has a result already. Nothing was written."""


class RequestsOutOfOrder(Exception):
    """Some request of the batch would be carried out before an earlier one of its saga. Nothing was written."""


class StoreUnavailable(Exception):
    """Postgres could not be reached, or asked for a retry. Nothing is known to have been written.

    `summary` says in a few words for the log what is the matter.
    """

    summary = "postgres is away"


class StoreRefused(Exception):
    """Postgres will never take the batch as it is; the text has its reason. Nothing was written."""


class StoreBroken(Exception):
    """Postgres and this version of the service do not go together: a table or a right is missing, say.

    Nothing that comes in could be handled rightly, so the service ends. The text has Postgres' reason.
    """


class StoreDenied(StoreUnavailable):
    """Postgres does not accept the user, the password or the database's name.

    A running service waits, because passwords get changed and databases restored.
    """

    summary = "postgres lets us in no more"


class StoreConflict(StoreUnavailable):
    """Another transaction was in the way: a deadlock, or a serialization failure. Nothing was written."""

    summary = "another transaction was in the way"


class StoreTimedOut(StoreUnavailable):
    """A statement, or its wait for a lock, took longer than it may, or Postgres had no memory for it.

    Other statements may go through. Nothing is known to have been written.
    """

    summary = "a statement timed out"


class StoreFailed(StoreUnavailable):
    """Postgres met an internal error at a statement. Another try, or another statement, may go through."""

    summary = "postgres met an internal error"


RACES_MAX = 10
"""Lost races in a row after which a batch counts as contended."""


class Failure(StrEnum):
    """What failed."""

    OUTAGE = "postgres is away"
    DENIED = "postgres lets us in no more"
    SUSPECTED = "a statement failed, for the first time"
    TIMED_OUT = "a statement timed out"
    INTERNAL = "postgres met an internal error"
    CONFLICT = "another transaction was in the way"
    LOST_RACE = "another replica was quicker"
    CONTENDED = "another replica was quicker again and again"
    ANSWERED = "a request was answered meanwhile"
    OUT_OF_ORDER = "an earlier request of the saga is open"
    REFUSED = "the data is refused"
    BUG = "an internal error"
    BROKEN = "postgres does not fit this release"


class Place(StrEnum):
    """Where it failed: with how many, and with what of them."""

    TOGETHER = "entries together"
    ALONE = "an entry alone"
    ALONE_AGAIN = "an entry alone, the second time"
    DEFERRAL = "the deferral of a stream's entry"
    DEFERRAL_OF_ROW = "the deferral of a request"
    DEAD_LETTER = "the dead letter"
    BARE_DEAD_LETTER = "the dead letter without fields"


class Remedy(StrEnum):
    """What is done."""

    WAIT = "wait"
    READ_AFRESH = "read afresh"
    WITHOUT_REQUESTS = "without requests"
    PUT_BACK = "put back"
    HALVE = "halve"
    TRY_AGAIN = "try again"
    DEFER = "defer"
    LEAVE = "leave"
    QUARANTINE = "quarantine"
    DROP_FIELDS = "drop the fields"
    END = "end"


def _row(*remedies: Remedy) -> Mapping[Place, Remedy]:
    """One row of the table, in the order of `Place`."""
    return dict(zip(Place, remedies, strict=True))


_WAIT, _AFRESH, _WITHOUT, _HALVE = Remedy.WAIT, Remedy.READ_AFRESH, Remedy.WITHOUT_REQUESTS, Remedy.HALVE
_BACK, _AGAIN, _DEFER, _LEAVE, _LETTER, _BARE = (
    Remedy.PUT_BACK,
    Remedy.TRY_AGAIN,
    Remedy.DEFER,
    Remedy.LEAVE,
    Remedy.QUARANTINE,
    Remedy.DROP_FIELDS,
)
_END = Remedy.END

# fmt: off
REMEDIES: Mapping[Failure, Mapping[Place, Remedy]] = {
    #                       together  alone     again     deferral  of a row  letter    bare letter
    Failure.OUTAGE:    _row(_WAIT,    _WAIT,    _WAIT,    _WAIT,    _WAIT,    _WAIT,    _WAIT),
    Failure.DENIED:    _row(_WAIT,    _WAIT,    _WAIT,    _WAIT,    _WAIT,    _WAIT,    _WAIT),
    Failure.SUSPECTED: _row(_WAIT,    _WAIT,    _WAIT,    _WAIT,    _WAIT,    _WAIT,    _WAIT),
    Failure.TIMED_OUT: _row(_HALVE,   _DEFER,   _DEFER,   _WAIT,    _LEAVE,   _DEFER,   _DEFER),
    Failure.INTERNAL:  _row(_HALVE,   _DEFER,   _DEFER,   _WAIT,    _LEAVE,   _DEFER,   _DEFER),
    Failure.CONFLICT:  _row(_AFRESH,  _AFRESH,  _AFRESH,  _AFRESH,  _AFRESH,  _AFRESH,  _AFRESH),
    Failure.LOST_RACE: _row(_AFRESH,  _AFRESH,  _AFRESH,  _AFRESH,  _AFRESH,  _AFRESH,  _AFRESH),
    Failure.CONTENDED: _row(_HALVE,   _DEFER,   _DEFER,   _WAIT,    _LEAVE,   _DEFER,   _DEFER),
    Failure.ANSWERED:  _row(_WITHOUT, _WITHOUT, _WITHOUT, _WITHOUT, _WITHOUT, _WITHOUT, _WITHOUT),
    Failure.OUT_OF_ORDER: _row(_BACK, _BACK,    _BACK,    _BACK,    _BACK,    _BACK,    _BACK),
    Failure.REFUSED:   _row(_HALVE,   _LETTER,  _LETTER,  _LETTER,  _LETTER,  _BARE,    _END),
    Failure.BUG:       _row(_HALVE,   _AGAIN,   _LETTER,  _LETTER,  _LETTER,  _BARE,    _END),
    Failure.BROKEN:    _row(_END,     _END,     _END,     _END,     _END,     _END,     _END),
}
# fmt: on

STATEMENT_FAILURES = frozenset({Failure.TIMED_OUT, Failure.INTERNAL})
"""Failures that a probe tells from an outage."""


def failure_of(error: Exception, lost_races: int) -> Failure:
    """The row of the table. `lost_races` counts those in a row, this one included."""
    match error:
        case RevisionConflict():
            return Failure.CONTENDED if lost_races >= RACES_MAX else Failure.LOST_RACE
        case RequestsAnswered():
            return Failure.ANSWERED
        case RequestsOutOfOrder():
            return Failure.OUT_OF_ORDER
        case StoreConflict():
            return Failure.CONTENDED if lost_races >= RACES_MAX else Failure.CONFLICT
        case StoreDenied():
            return Failure.DENIED
        case StoreTimedOut():
            return Failure.TIMED_OUT
        case StoreFailed():
            return Failure.INTERNAL
        case StoreUnavailable():
            return Failure.OUTAGE
        case StoreRefused() | DecryptionFailed():
            return Failure.REFUSED
        case StoreBroken():
            return Failure.BROKEN
        case _:
            return Failure.BUG


def dead_letter_reason(error: Exception) -> str:
    """The reason that a dead letter gives for an entry which failed by this error."""
    match error:
        case StoreRefused():
            return f"postgres refuses it: {error}"
        case DecryptionFailed():
            return str(error)
        case _:
            return f"internal error, please report: {error!r}"
