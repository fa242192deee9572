"""The log of commits, and of those that failed.

A saga that goes well is logged at debug level alone: its history is in Postgres.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

import structlog

from saga_service.core.effects import HistoryEntry
from saga_service.core.ids import command_id
from saga_service.core.vocabulary import SagaStatus
from saga_service.engine.batch import Item
from saga_service.engine.failures import Failure, Remedy
from saga_service.engine.fold import Folded
from saga_service.wire.dead_letters import DeadLetter
from saga_service.wire.entries import Entry

log = structlog.get_logger(__name__)

_FAILURES: Mapping[Remedy, tuple[int, str]] = {
    Remedy.WAIT: (logging.WARNING, "{failure}; a batch waits"),
    Remedy.READ_AFRESH: (logging.INFO, "{failure}; the batch is read afresh"),
    Remedy.WITHOUT_REQUESTS: (logging.WARNING, "some request was answered meanwhile; the batch goes on without any"),
    Remedy.PUT_BACK: (logging.INFO, "an earlier request of a saga is open; the batch goes on without later ones"),
    Remedy.HALVE: (logging.WARNING, "a batch cannot be committed; it is taken apart"),
    Remedy.TRY_AGAIN: (logging.WARNING, "an item cannot be handled; it is tried once more"),
    Remedy.DEFER: (logging.WARNING, "an item cannot be handled now; it is deferred"),
    Remedy.LEAVE: (logging.WARNING, "an item cannot be handled now; it comes again after its lease"),
    Remedy.QUARANTINE: (logging.ERROR, "an item cannot be handled; it becomes a dead letter"),
    Remedy.DROP_FIELDS: (logging.ERROR, "an entry cannot be kept as it is; its fields are dropped"),
    Remedy.END: (logging.CRITICAL, "postgres does not fit this release; the service ends"),
}
"""The level and the event of the log line, by what is done about a failure."""


def log_failure(failure: Failure, remedy: Remedy, items: Sequence[Item], error: Exception, lost_races: int) -> None:
    """Log that an attempt at these items failed. A first lost race is no news: an old copy explains it."""
    if remedy is Remedy.READ_AFRESH and lost_races < 2:
        return
    level, event = _FAILURES[remedy]
    context: dict[str, object] = {"failure": failure.value, "error": str(error), "items": len(items)}
    if len(items) == 1:
        context["item"] = _named(items[0])
    if lost_races:
        context["lost_races"] = lost_races
    trace = error if failure is Failure.BUG and remedy is Remedy.QUARANTINE else None
    log.log(level, event.format(failure=failure.value), exc_info=trace, **context)


def _named(item: Item) -> str:
    return f"{item.stream} {item.id}" if isinstance(item, Entry) else repr(item)


def log_commit(folded: Folded, dead_letters: Iterable[DeadLetter]) -> None:
    """Log what was committed. A log processor that is not ours may raise anything."""
    for letter in dead_letters:
        log.warning(
            "an entry became a dead letter", stream=letter.stream, entry_id=letter.entry_id, reason=letter.reason
        )
    for saga_id, reason in folded.refusals:
        log.warning("an event is refused", saga_id=saga_id, reason=reason)
    every_line = log.is_enabled_for(logging.DEBUG)
    for entry in folded.history:
        if every_line or _level(entry) > logging.DEBUG:
            _log_entry(entry, folded)


def _log_entry(entry: HistoryEntry, folded: Folded) -> None:
    state = folded.states[entry.saga_id]
    context: dict[str, object] = {"saga_id": entry.saga_id, "saga": state.saga, "status": entry.status.value}
    if entry.actor is not None:
        context |= {"actor": entry.actor, "reason": entry.reason}
    if entry.step is not None and entry.direction is not None and entry.attempt is not None:
        context |= {
            "step": entry.step,
            "command_id": command_id(entry.saga_id, entry.step, entry.direction, entry.attempt),
        }
    if entry.fault is not None:
        context |= {"error_code": entry.fault.code, "error": entry.fault.message}
    log.log(_level(entry), entry.event.replace("_", " "), **context)


def _level(entry: HistoryEntry) -> int:
    if entry.status is SagaStatus.STUCK:
        return logging.ERROR
    if entry.fault is None and entry.status in (SagaStatus.RUNNING, SagaStatus.COMPLETED):
        return logging.DEBUG
    return logging.INFO
