"""One transition in the making: the next state, and what it asks of the outside, put together by the rules."""

from __future__ import annotations

from typing import Any

from saga_service.core.definition import Definition
from saga_service.core.effects import Command, Ended, HistoryEntry, Transition, Verdict
from saga_service.core.ids import Direction
from saga_service.core.state import ENDED, Due, Fault, SagaState, SagaStatus, StepState, StepStatus

# Looked up once, for an enum's own look-up runs Python code each time (until Python 3.12).
_DISPATCHED, _COMPENSATING = StepStatus.DISPATCHED, StepStatus.COMPENSATING
_ACTION, _COMPENSATION = Direction.ACTION, Direction.COMPENSATION
_TIMEOUT, _APPLIED = Due.TIMEOUT, Verdict.APPLIED


class StepDraft:
    """One step in the making: a rule sets what changes, all else stays as it was."""

    __slots__ = (
        "attempts",
        "compensation_attempts",
        "due",
        "due_at_ms",
        "ended_at_ms",
        "fault",
        "finished_order",
        "in_doubt",
        "name",
        "output",
        "started_at_ms",
        "status",
    )

    def __init__(self, step: StepState) -> None:
        self.name = step.name
        self.status = step.status
        self.attempts = step.attempts
        self.compensation_attempts = step.compensation_attempts
        self.finished_order = step.finished_order
        self.due_at_ms = step.due_at_ms
        self.due = step.due
        self.in_doubt = step.in_doubt
        self.output = step.output
        self.fault = step.fault
        self.started_at_ms = step.started_at_ms
        self.ended_at_ms = step.ended_at_ms

    def sealed(self) -> StepState:
        # By position, here and below: Python takes twice as long to make an object from names.
        return StepState(
            self.name,
            self.status,
            self.attempts,
            self.compensation_attempts,
            self.finished_order,
            self.due_at_ms,
            self.due,
            self.in_doubt,
            self.output,
            self.fault,
            self.started_at_ms,
            self.ended_at_ms,
        )


AnyStep = StepState | StepDraft
"""They look alike to whoever only reads."""


class Draft:
    """Starts from a state and is changed by the rules; `transition` seals it. It lives for one call of `advance`."""

    __slots__ = ("before", "commands", "definition", "fault", "history", "now_ms", "revision", "status", "steps")

    def __init__(self, definition: Definition, state: SagaState, now_ms: int) -> None:
        self.definition = definition
        self.before = state
        self.now_ms = now_ms
        self.revision = state.revision
        self.status = state.status
        self.fault = state.fault
        self.steps: list[AnyStep] = list(state.steps)
        self.commands: list[Command] = []
        self.history: list[HistoryEntry] = []

    def open(self, position: int) -> StepDraft:
        """The step at this position, to be changed."""
        step = self.steps[position]
        if isinstance(step, StepState):
            step = self.steps[position] = StepDraft(step)
        return step

    def dispatch(self, position: int) -> None:
        """Send the next attempt of a step's action."""
        step = self.open(position)
        step.status = _DISPATCHED
        step.attempts += 1
        step.due = _TIMEOUT
        step.due_at_ms = self.now_ms + self.definition.steps[position].timeout_ms
        step.started_at_ms = step.started_at_ms or self.now_ms
        self.commands.append(self.command(position))

    def dispatch_undo(self, position: int) -> None:
        """Send the next attempt of a step's compensation."""
        step = self.open(position)
        step.status = _COMPENSATING
        step.compensation_attempts += 1
        step.due = _TIMEOUT
        step.due_at_ms = self.now_ms + self.definition.steps[position].compensation_timeout_ms
        self.commands.append(self.command(position))

    def command(self, position: int) -> Command:
        """The command that a step has in flight, as it was or is first sent."""
        step, defined, saga = self.steps[position], self.definition.steps[position], self.before
        undo = step.status is _COMPENSATING
        assert step.due_at_ms is not None, "a command in flight has a time-out"
        return Command(
            defined.compensation or "" if undo else defined.action,
            saga.id,
            saga.saga,
            step.name,
            _COMPENSATION if undo else _ACTION,
            step.compensation_attempts if undo else step.attempts,
            step.due_at_ms,
            saga.input,
            self.outputs(),
            saga.traceparent,
        )

    def outputs(self) -> dict[str, Any]:
        return {step.name: step.output for step in self.steps if step.output is not None}

    def record(
        self,
        event: str,
        step: str | None = None,
        direction: Direction | None = None,
        attempt: int | None = None,
        fault: Fault | None = None,
        sent_from: int = 0,
    ) -> None:
        """Write a line of history; the commands from `sent_from` on were sent because of it."""
        sent = tuple(self.commands[sent_from:])
        self.history.append(
            HistoryEntry(
                self.before.id, self.revision, self.now_ms, event, self.status, step, direction, attempt, fault, sent
            )
        )

    def transition(self, *, timer: bool = False) -> Transition:
        before, status = self.before, self.status
        over = status in ENDED
        ends_now = over and before.status is not status
        state = SagaState(
            before.id,
            before.saga,
            before.version,
            before.key,
            status,
            self.revision,
            before.input,
            tuple([step.sealed() if isinstance(step, StepDraft) else step for step in self.steps]),
            before.created_at_ms,
            self.now_ms if self.history else before.updated_at_ms,
            (self.now_ms if ends_now else before.ended_at_ms) if over else None,
            self._wake_at_ms(timer),
            self.fault,
            before.traceparent,
        )
        ended = self._ended() if ends_now else None
        return Transition(_APPLIED, state, tuple(self.history), tuple(self.commands), ended)

    def _wake_at_ms(self, timer: bool) -> int | None:
        moments = [step.due_at_ms for step in self.steps if step.due_at_ms is not None]
        if not moments:
            return None
        first_ms, known_ms = min(moments), self.before.wake_at_ms
        return first_ms if timer or known_ms is None or known_ms > first_ms else known_ms

    def _ended(self) -> Ended:
        completed = self.status is SagaStatus.COMPLETED
        return Ended(
            saga_id=self.before.id,
            saga=self.before.saga,
            key=self.before.key,
            status=self.status,
            revision=self.revision,
            at_ms=self.now_ms,
            outputs=self.outputs() if completed else {},
            fault=self.fault,
            traceparent=self.before.traceparent,
        )

    def undoable(self) -> list[int]:
        """Positions of the steps whose effect stands, or may stand, and can be undone; the next one to undo first."""
        standing = [
            position
            for position, step in enumerate(self.steps)
            if step.status in (StepStatus.SUCCEEDED, StepStatus.UNKNOWN)
            and self.definition.steps[position].compensation is not None
        ]
        return sorted(standing, key=lambda position: self.steps[position].finished_order or 0, reverse=True)
