"""One saga of a simulation, as a test asks about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from saga_service.core.compensation import outstanding_effects
from saga_service.core.effects import ChildRequest, HistoryEntry, Sent
from saga_service.core.ids import SagaId
from saga_service.core.state import SagaState, StepState
from saga_service.core.vocabulary import StepStatus
from saga_service.testing.service import Record, SimulatedService
from saga_service.testing.timeline import headline, moment_text, sent_text, timeline_text

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
        """The steps whose effect stands, or may stand, and could be compensated, the latest first.

        A compensated saga has none.
        """
        definition = self._service.definition(self.state)
        return [self.state.steps[position].name for position in outstanding_effects(definition, self.state.steps)]

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
