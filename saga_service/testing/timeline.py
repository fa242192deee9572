"""A saga's past in words, a line for each event, with its moment since the saga's start: `0.2s`, `2h 30s`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from saga_service.core.effects import HistoryEntry, Sent
from saga_service.core.ids import SagaId
from saga_service.core.state import Fault, SagaState
from saga_service.core.vocabulary import SagaStatus
from saga_service.definitions.durations import UNITS_MS

BEGINNING = datetime(2100, 1, 1, tzinfo=UTC)
"""The default moment at which a simulation begins. It is later than any machine's clock, so that a handler which reads
that clock never finds a deadline passed."""

_UNITS = ("d", "h", "m")


def moment_text(milliseconds: int) -> str:
    """A duration in words, exact to the millisecond."""
    parts, left_ms = [], milliseconds
    for unit in _UNITS:
        count, left_ms = divmod(left_ms, UNITS_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    if left_ms or not parts:
        parts.append(f"{left_ms / 1000:.3f}".rstrip("0").rstrip(".") + "s")
    return " ".join(parts)


def moment_ms(moment: datetime | int) -> int:
    """A moment as milliseconds since 1970. Raises ValueError for a datetime without a time zone."""
    if isinstance(moment, int):
        return moment
    if moment.tzinfo is None:
        raise ValueError(f"the moment {moment} has no time zone; write datetime(..., tzinfo=UTC)")
    return round(moment.timestamp() * 1000)


def short(saga_id: SagaId) -> str:
    """The beginning of an id, long enough to tell the sagas of one test apart."""
    return saga_id[:8]


_IN_WORDS = {"action": "{}", "compensation": "undo of {}", "probe": "probe of {}", "cancel": "cancel of {}"}


def sent_text(sent: Sent) -> str:
    """A message in words: `charge (attempt 2)`, `undo of charge`, `probe of charge`, `cancel of refund`."""
    what = _IN_WORDS[sent.label].format(sent.step)
    return what if sent.attempt == 1 or sent.label == "cancel" else f"{what} (attempt {sent.attempt})"


def headline(state: SagaState) -> str:
    """One line about a saga: `order 'A-1' is compensated, because of charge: card_declined`."""
    because = f", because of {_fault(state.fault, with_message=False)}" if state.fault is not None else ""
    return f"{state.saga} '{state.key or short(state.id)}' is {state.status.value}{because}"


def timeline_text(state: SagaState, history: Sequence[HistoryEntry]) -> str:
    """The headline, and a line for each entry of the saga's history."""
    rows = list(_rows(state, history))
    width = max((len(moment) for moment, _ in rows), default=0)
    return "\n".join([headline(state), *(f"  {moment:>{width}}  {what}" for moment, what in rows)])


def _rows(state: SagaState, history: Sequence[HistoryEntry]) -> Iterator[tuple[str, str]]:
    status_before = SagaStatus.RUNNING
    for entry in history:
        yield moment_text(entry.at_ms - state.created_at_ms), _happened(entry, status_before)
        status_before = entry.status


def _happened(entry: HistoryEntry, status_before: SagaStatus) -> str:
    what = entry.event.replace("_", " ")
    parts = [f"{entry.step}: {what}" if entry.step is not None else what]
    if entry.attempt is not None and entry.attempt > 1:
        parts[0] += f", attempt {entry.attempt}"
    if entry.fault is not None:
        parts[0] += f" ({_fault(entry.fault, with_message=True)})"
    if entry.actor is not None:
        parts[0] += f" by {entry.actor}" + (f" ({entry.reason})" if entry.reason else "")
    if entry.status is not status_before:
        parts.append(f"the saga is {entry.status.value}")
    parts += [f"sent {sent_text(sent)}" for sent in entry.sent]
    return "; ".join(parts)


def _fault(fault: Fault, *, with_message: bool) -> str:
    parts = (fault.step, fault.code, fault.message if with_message else None)
    return ": ".join(part for part in parts if part)
