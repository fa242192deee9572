"""A saga's history in words: what happened when."""

from __future__ import annotations

from datetime import UTC, datetime

from saga_service.cli.access.views import HistoryRow, SagaRow
from saga_service.cli.console.output import Row, duration

_EVENTS = {
    "started": "started",
    "action_succeeded": "{step} done",
    "action_failed": "{step} failed, attempt {attempt}: {error}",
    "action_rejected": "{step} refused by its worker: {error}",
    "action_timed_out": "{step} not answered in time, attempt {attempt}: it may or may not have happened",
    "action_retry_due": "{step} is tried again",
    "action_progressed": "{step} is still at work",
    "action_failed_late": "{step} had not answered in time, and has failed after all, attempt {attempt}: {error}",
    "probe_confirmed": "it was found that {step} has happened",
    "probe_inconclusive": "nobody can tell whether {step} has happened, probe {attempt}: {error}",
    "probe_denied": "it was found that {step} has not happened",
    "probe_timed_out": "whether {step} has happened was not answered in time, probe {attempt}",
    "probe_retry_due": "another probe whether {step} has happened",
    "compensation_succeeded": "{step} undone",
    "compensation_failed": "undo of {step} failed, attempt {attempt}: {error}",
    "compensation_rejected": "undo of {step} refused by its worker: {error}",
    "compensation_timed_out": "undo of {step} not answered in time, attempt {attempt}",
    "compensation_retry_due": "undo of {step} is tried again",
    "compensation_progressed": "undo of {step} is still at work",
    "signal_received": "{step} has its signal",
    "signal_buffered": "a signal came, and is kept until a step waits for it",
    "wait_ended": "the wait of {step} is over",
    "condition_not_met": "{step} left out, for its condition does not hold",
    "expression_failed": "an expression of {step} has no value: {error}",
    "deadline_passed": "the deadline has passed",
    "retry_requested": "retry of {step} requested",
    "skip_requested": "skip of {step} requested",
    "resolved_succeeded": "{step} resolved as succeeded",
    "resolved_failed": "{step} resolved as failed",
    "resolved_compensated": "{step} resolved as compensated",
    "cancel_requested": "cancelled",
    "compensate_requested": "compensation of the whole saga requested",
    "pause_requested": "paused",
    "resume_requested": "resumed",
}


def timeline(history: list[HistoryRow]) -> list[Row]:
    """A row for each line of history: time of day, time since the start, and what happened."""
    rows: list[Row] = []
    before: HistoryRow | None = None
    for entry in history:
        since = duration(entry.at - history[0].at) if before else ""
        rows.append((_time_of_day(entry.at, before), since, happened(entry, before.status if before else "running")))
        before = entry
    return rows


def happened(entry: HistoryRow, status_before: str) -> str:
    """One line of history in words. `status_before` is the saga's status before it."""
    known = _EVENTS.get(entry.event, f"{entry.event} {{step}}")
    error = error_text(entry.error_code, entry.error_message)
    what = known.format(step=entry.step, attempt=entry.attempt, error=error) + _by_whom(entry)
    sent = [f"sent {_command(command)}" for command in entry.sent]
    status = [f"the saga is now {entry.status}"] if entry.status != status_before else []
    return "; ".join([what, *status, *sent])


def _by_whom(entry: HistoryRow) -> str:
    if entry.actor is None:
        return ""
    return f" by {entry.actor}" + (f" ({entry.reason})" if entry.reason else "")


def _time_of_day(at: datetime, before: HistoryRow | None) -> str:
    text = at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    return text if before is None or before.at.date() != at.date() else text[11:].rjust(len(text))


def _command(named: str) -> str:
    """The command `step:direction:attempt` in words."""
    step, direction, attempt = named.rsplit(":", 2)
    what = _DIRECTIONS.get(direction, f"{direction} of {{step}}").format(step=step)
    return what if attempt == "1" or direction == "cancel" else f"{what} (attempt {attempt})"


_DIRECTIONS = {
    "action": "{step}",
    "compensation": "undo of {step}",
    "probe": "a probe whether {step} has happened",
    "cancel": "a cancel to the child saga of {step}",
}


def error_text(code: str | None, message: str | None) -> str:
    return ": ".join(part for part in (code, message) if part) or "no reason given"


def why(saga: SagaRow) -> str:
    """The reason for a saga's state: what a stuck one is stuck at, else why it is or was undone."""
    if saga.stuck_step is not None:
        return f"{saga.stuck_step}: {error_text(saga.stuck_code, saga.stuck_message)}"
    if saga.error_code is None:
        return ""
    of_step = f"{saga.error_step}: " if saga.error_step else ""
    return f"{of_step}{error_text(saga.error_code, saga.error_message)}"
