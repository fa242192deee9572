"""A saga's past in words, a line for each thing that happened, with the time since its start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from saga_service.core.effects import HistoryEntry, Sent
from saga_service.core.state import Fault, SagaState, SagaStatus
from saga_service.testing.moments import moment_text, short

_IN_WORDS = {"action": "{}", "compensation": "undo of {}", "probe": "probe of {}", "cancel": "cancel of {}"}


def sent_text(sent: Sent) -> str:
    """`charge`, `charge (attempt 2)`, `undo of charge`, `probe of charge`; of a child saga also `cancel of refund`."""
    what = _IN_WORDS[sent.word].format(sent.step)
    return what if sent.attempt == 1 or sent.word == "cancel" else f"{what} (attempt {sent.attempt})"


def headline(state: SagaState) -> str:
    """`order 'A-1' is compensated, because of charge: card_declined`"""
    because = f", because of {_fault(state.fault, with_message=False)}" if state.fault is not None else ""
    return f"{state.saga} '{state.key or short(state.id)}' is {state.status.value}{because}"


def timeline_text(state: SagaState, history: Sequence[HistoryEntry]) -> str:
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
