"""One saga of a simulation, as a test asks about it.

Its timeline has a line for each event, with the moment since the saga's start: `0.2s`, `2h 30s`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from saga_service.core.definition import Definition
from saga_service.core.effects import ChildRequest, HistoryEntry, Sent
from saga_service.core.ids import SagaId
from saga_service.core.state import Fault, SagaState, StepState
from saga_service.core.undo_plan import left_to_undo
from saga_service.core.vocabulary import SagaStatus, StepStatus
from saga_service.definitions.keywords import UNITS_MS
from saga_service.testing.service import Record, SimulatedService

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


_SENT_SHOWN_MAX = 8


class NotReached(AssertionError):
    """A condition was never met. The text has the saga's timeline."""


class SimulatedSaga:
    """A saga as it is now. Every moment is counted from the saga's start.

    An entry may be addressed to a saga that is not started yet. All but `id` then raises KeyError.
    """

    def __init__(self, service: SimulatedService, saga_id: SagaId) -> None:
        self._service = service
        self.id = saga_id

    @property
    def name(self) -> str:
        return self.state.saga

    @property
    def key(self) -> str | None:
        return self.state.key

    @property
    def status(self) -> str:
        """`running`, `compensating`, `paused`, `stuck`, `completed` or `compensated`."""
        return self.state.status.value

    @property
    def error(self) -> str | None:
        """The code of the error that made the saga compensate, or that it is stuck at."""
        return None if self.state.fault is None else self.state.fault.code

    @property
    def ended_after(self) -> str | None:
        """The moment of the saga's end; None while it is open."""
        ended_at_ms = self.state.ended_at_ms
        return None if ended_at_ms is None else moment_text(ended_at_ms - self.state.created_at_ms)

    @property
    def state(self) -> SagaState:
        """The whole state that the service would store."""
        return self._record.state

    @property
    def definition(self) -> Definition:
        """The definition that the saga follows."""
        return self._service.definition(self.state)

    @property
    def sent(self) -> list[str]:
        """Every message that was sent for the saga, in order, each with its moment: `0s reserve`,
        `0.2s charge (attempt 2)`, `1m undo of reserve`."""
        began_ms = self.state.created_at_ms
        return [f"{moment_text(at_ms - began_ms)} {sent_text(sent)}" for at_ms, sent in self._record.sent]

    @property
    def commands(self) -> list[Sent]:
        """Every message that was sent for the saga, in order, with its data."""
        return [sent for _, sent in self._record.sent]

    @property
    def children(self) -> list[SimulatedSaga]:
        """The child sagas that the saga started, in that order."""
        asked_for = [sent.child_id for sent in self.commands if isinstance(sent, ChildRequest)]
        started = [child_id for child_id in dict.fromkeys(asked_for) if child_id in self._service.records]
        return [SimulatedSaga(self._service, child_id) for child_id in started]

    def child(self, step: str) -> SimulatedSaga | None:
        """The child saga that this step started last; None where it has started none."""
        started = [
            sent.child_id
            for sent in self.commands
            if isinstance(sent, ChildRequest) and sent.step == step and sent.child_id in self._service.records
        ]
        return SimulatedSaga(self._service, started[-1]) if started else None

    def step(self, name: str) -> StepState:
        """The state of a step: its status, attempts, fault and so on. Raises KeyError."""
        steps = {step.name: step for step in self.state.steps}
        if name not in steps:
            raise KeyError(f"saga '{self.name}' has no step '{name}'; its steps: {', '.join(steps)}")
        return steps[name]

    def output(self, step: str) -> dict[str, Any] | None:
        """The output of a step; None for a step that has not succeeded. Raises KeyError."""
        output = self.step(step).output
        return None if output is None else dict(output)

    def attempts(self, step: str) -> int:
        """The number of times that a step's action was sent. Raises KeyError."""
        return self.step(step).attempts

    @property
    def done(self) -> list[str]:
        """The steps that have succeeded, in the order of their success."""
        done = [step for step in self.state.steps if step.status is StepStatus.SUCCEEDED]
        return [step.name for step in sorted(done, key=lambda step: step.effect_revision or 0)]

    @property
    def undone(self) -> list[str]:
        """The steps that were compensated, in the order of their compensation."""
        events = ("compensation_succeeded", "resolved_compensated")
        return [entry.step for entry in self.history if entry.event in events and entry.step is not None]

    @property
    def outstanding(self) -> list[str]:
        """The steps whose effect stands, or may stand, and could be compensated, in the order of their undo.

        A step whose undo is under way, or has failed, is among them. A compensated saga has none.
        """
        steps = self.state.steps
        return [steps[position].name for position in left_to_undo(self.definition, steps)]

    @property
    def history(self) -> list[HistoryEntry]:
        return list(self._record.history)

    def timeline(self) -> str:
        """The saga's history in words, a line for each event."""
        return timeline_text(self.state, self._record.history)

    def __str__(self) -> str:
        return self.timeline()

    def __repr__(self) -> str:
        # One short line: pytest shows no more of a value within an assertion.
        if self.id not in self._service.records:
            return f"<saga {self.id}, which is not started>"
        left_out = "… " if len(self.sent) > _SENT_SHOWN_MAX else ""
        return f"<{headline(self.state)}; sent: {left_out}{', '.join(self.sent[-_SENT_SHOWN_MAX:])}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SimulatedSaga) and (self.id, self._service) == (other.id, other._service)

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def _record(self) -> Record:
        record = self._service.records.get(self.id)
        if record is None:
            raise KeyError(f"saga {self.id} is not started; the entry that names it waits for its start")
        return record


Condition = str | Callable[[], bool]
"""A saga's status, or a function that tells whether a condition is met."""
