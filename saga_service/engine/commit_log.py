"""What a commit leaves in the log. A saga that goes well is told at debug alone: its history is in Postgres."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import structlog

from saga_service.core.effects import HistoryEntry
from saga_service.core.ids import command_id
from saga_service.core.vocabulary import SagaStatus
from saga_service.engine.fold import Folded
from saga_service.wire.dead_letters import DeadLetter

log = structlog.get_logger(__name__)


def log_commit(folded: Folded, dead_letters: Iterable[DeadLetter]) -> None:
    """Call after the commit: what was not committed did not happen."""
    for letter in dead_letters:
        log.warning(
            "an entry became a dead letter", stream=letter.stream, entry_id=letter.entry_id, reason=letter.reason
        )
    for saga_id, reason in folded.refusals:
        log.warning("an event is refused", saga_id=saga_id, reason=reason)
    all_of_it = log.is_enabled_for(logging.DEBUG)
    for entry in folded.history:
        if all_of_it or _level(entry) > logging.DEBUG:
            _tell(entry, folded)


def _tell(entry: HistoryEntry, folded: Folded) -> None:
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
