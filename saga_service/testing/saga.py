"""One saga of a simulation, as a test asks about it. It is always up to date."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from saga_service.core.compensation import outstanding_effects
from saga_service.core.effects import ChildRequest, HistoryEntry, Sent
from saga_service.core.ids import SagaId
from saga_service.core.state import SagaState, StepState
from saga_service.core.vocabulary import StepStatus
from saga_service.testing.service import Record, ServiceInMemory
from saga_service.testing.timeline import headline, moment_text, sent_text, timeline_text

_SENT_SHOWN_MAX = 8


class SimulatedSaga:
    """All moments are counted from the saga's start."""

    def __init__(self, service: ServiceInMemory, saga_id: SagaId) -> None:
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
        """The code of what turned the saga round, or of what it is stuck at."""
        return None if self.state.fault is None else self.state.fault.code

    @property
    def ended_after(self) -> str | None:
        """The moment of its end; None while it goes on."""
        ended_at_ms = self.state.ended_at_ms
        return None if ended_at_ms is None else moment_text(ended_at_ms - self.state.created_at_ms)

    @property
    def state(self) -> SagaState:
        """All that the service knows of it."""
        return self._record.state

    @property
    def sent(self) -> list[str]:
        """Everything that was sent for it, in order, each with its moment: `0s reserve`, `0.2s charge (attempt 2)`,
        `1m undo of reserve`."""
        began_ms = self.state.created_at_ms
        return [f"{moment_text(at_ms - began_ms)} {sent_text(sent)}" for at_ms, sent in self._record.sent]

    @property
    def commands(self) -> list[Sent]:
        """The same with all that is in them, in the same order."""
        return [sent for _, sent in self._record.sent]

    @property
    def children(self) -> list[SimulatedSaga]:
        """The child sagas that it started, in that order."""
        asked_for = [sent.child_id for sent in self.commands if isinstance(sent, ChildRequest)]
        there = [child_id for child_id in dict.fromkeys(asked_for) if child_id in self._service.records]
        return [SimulatedSaga(self._service, child_id) for child_id in there]

    def step(self, name: str) -> StepState:
        """A step's status, attempts, fault and so on. Raises KeyError."""
        steps = {step.name: step for step in self.state.steps}
        if name not in steps:
            raise KeyError(f"saga '{self.name}' has no step '{name}'; its steps: {', '.join(steps)}")
        return steps[name]

    def output(self, step: str) -> dict[str, Any] | None:
        """What a step returned; None for one that is not done. Raises KeyError."""
        output = self.step(step).output
        return None if output is None else dict(output)

    def attempts(self, step: str) -> int:
        """How often a step's action was sent. Raises KeyError."""
        return self.step(step).attempts

    @property
    def done(self) -> list[str]:
        """The steps that are done, in the order in which they were."""
        done = [step for step in self.state.steps if step.status is StepStatus.SUCCEEDED]
        return [step.name for step in sorted(done, key=lambda step: step.effect_revision or 0)]

    @property
    def undone(self) -> list[str]:
        """The steps that were undone, in the order in which they were."""
        events = ("compensation_succeeded", "resolved_compensated")
        return [entry.step for entry in self.history if entry.event in events and entry.step is not None]

    @property
    def standing(self) -> list[str]:
        """The steps whose effect stands, or may stand, and could be undone, the latest first. A compensated saga has
        none."""
        definition = self._service.definition(self.state)
        return [self.state.steps[position].name for position in outstanding_effects(definition, self.state.steps)]

    @property
    def history(self) -> list[HistoryEntry]:
        return list(self._record.history)

    def timeline(self) -> str:
        """What happened, a line for each, to be printed."""
        return timeline_text(self.state, self._record.history)

    def __str__(self) -> str:
        return self.timeline()

    def __repr__(self) -> str:
        # One short line: pytest shows no more of a value within an assertion.
        left_out = "… " if len(self.sent) > _SENT_SHOWN_MAX else ""
        return f"<{headline(self.state)}; sent: {left_out}{', '.join(self.sent[-_SENT_SHOWN_MAX:])}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SimulatedSaga) and (self.id, self._service) == (other.id, other._service)

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def _record(self) -> Record:
        return self._service.records[self.id]


Condition = str | Callable[[], bool]
"""A saga's status, or anything that can be asked."""
