"""The state of a saga at one moment: the value that a row in Postgres holds.

States are never changed in place; `advance` returns new ones. `revision` counts transitions: a stored state is only
ever replaced by one that was computed from it.

Throughout the core, values that are made for every message or transition are named tuples: as immutable as a frozen
dataclass, and made in a fifth of the time. All others are frozen dataclasses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from saga_service.core.ids import CommandName, SagaId
from saga_service.core.vocabulary import (
    DISPATCHED,
    DUE_PROBE_TIMEOUT,
    DUE_TIMEOUT,
    SUCCEEDED,
    Course,
    Due,
    SagaStatus,
    StepStatus,
)

JsonObject = Mapping[str, Any]
"""A JSON object. Its content is the author's and passes through unread."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The reason why an attempt did not succeed, from a worker or from `fault_codes`."""

    code: str
    message: str
    step: str | None = None
    """The step that failed, where the fault is the whole saga's."""


class StepState(NamedTuple):
    """One step of one saga. Attempts of the action and of its compensation are counted apart."""

    name: str
    status: StepStatus = StepStatus.PENDING
    attempts: int = 0
    compensation_attempts: int = 0
    effect_revision: int | None = None
    """The revision at which the step took effect, or may have: undo goes from the highest to the lowest."""
    due_at_ms: int | None = None
    due: Due | None = None
    unanswered: tuple[int, ...] = ()
    """Attempts of the action that were left without an answer: the effect may be there whatever other attempts say.
    A step that has some is in doubt."""
    output: JsonObject | None = None
    fault: Fault | None = None
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    deadline_ms: int | None = None
    """The moment at which the attempt in flight is given up on, with or without signs of life. None where `due_at_ms`
    is that moment."""
    probes: int = 0
    """The number of probes that were sent."""
    series_after: int = 0
    """Attempts of the present direction that count no more, because a person asked for a new series."""
    series_since_ms: int | None = None
    """The moment at which the present series began. None for the action's first one, which began at `started_at_ms`."""
    called_off_at_ms: int | None = None
    """The moment at which the step's child saga was asked to stop."""

    @property
    def is_in_flight(self) -> bool:
        """Whether a command of this step is under way."""
        return self.due is DUE_TIMEOUT or self.due is DUE_PROBE_TIMEOUT

    # Every step goes through the next two changes. They are made by position: `_replace` takes three times as long.

    def dispatched(self, now_ms: int, due_at_ms: int, deadline_ms: int | None) -> StepState:
        """The step with its next attempt in flight, and the effect of any attempt still to come."""
        return StepState(
            self.name,
            DISPATCHED,
            self.attempts + 1,
            self.compensation_attempts,
            None,  # effect_revision
            due_at_ms,
            DUE_TIMEOUT,
            self.unanswered,
            self.output,
            self.fault,
            self.started_at_ms or now_ms,
            None,  # ended_at_ms
            deadline_ms,
            self.probes,
            self.series_after,
            self.series_since_ms,
        )

    def succeeded(self, now_ms: int, revision: int, output: JsonObject | None) -> StepState:
        """The step done, with its effect at this revision unless it has one already."""
        return StepState(
            self.name,
            SUCCEEDED,
            self.attempts,
            self.compensation_attempts,
            self.effect_revision or revision,
            None,  # due_at_ms
            None,  # due
            (),  # unanswered
            output,
            None,  # fault
            self.started_at_ms,
            now_ms,
            None,  # deadline_ms
            self.probes,
            self.series_after,
            self.series_since_ms,
        )

    def ended(self, status: StepStatus, at_ms: int) -> StepState:
        """The step at this status, with nothing left to wait for."""
        return self._replace(status=status, due=None, due_at_ms=None, deadline_ms=None, ended_at_ms=at_ms)

    def waiting(self, due: Due, until_ms: int) -> StepState:
        """The step with this to wait for, and nothing else."""
        return self._replace(due=due, due_at_ms=until_ms, deadline_ms=None)


class Signal(NamedTuple):
    """A signal that a saga has received. Its data is kept until a step takes it, and its id after that."""

    name: str
    id: str
    data: JsonObject | None
    """None once a step has taken it."""
    step: str | None = None
    """The step that it is for; None for any that waits for a signal of this name, and once it was taken."""
    data_bytes: int = 0
    """The size of its data as it came; 0 once a step has taken it."""


class SagaState(NamedTuple):
    """One saga.

    `wake_at_ms` is the earliest moment at which a timer may have to act, never later than any step's due time. It only
    moves when an earlier moment appears, or when a timer finds it too early: a step that goes well adds no write for
    its time-out.
    """

    id: SagaId
    saga: str
    version: str
    key: str | None
    status: SagaStatus
    revision: int
    input: JsonObject
    steps: tuple[StepState, ...]
    created_at_ms: int
    updated_at_ms: int
    ended_at_ms: int | None = None
    wake_at_ms: int | None = None
    fault: Fault | None = None
    """The reason why the saga started compensating, or is stuck on its way forward."""
    traceparent: str | None = None
    course: Course = Course.FORWARD
    deadline_ms: int | None = None
    """The moment at which the saga starts compensating by itself; None once it has passed."""
    signals: tuple[Signal, ...] = ()
    parent: CommandName | None = None
    """The parent's command that a child saga replies to when it ends."""
