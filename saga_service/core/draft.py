"""One transition in the making: the next state, and what it asks of the outside, put together by the rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from saga_service.core.definition import Definition
from saga_service.core.effects import Command, Ended, HistoryEntry, Transition, Verdict
from saga_service.core.ids import Direction
from saga_service.core.state import ENDED, Due, Fault, SagaState, SagaStatus, StepState, StepStatus


class Draft:
    """Starts from a state and is changed by the rules; `transition` seals it. It lives for one call of `advance`."""

    def __init__(self, definition: Definition, state: SagaState, now_ms: int) -> None:
        self.definition = definition
        self.before = state
        self.now_ms = now_ms
        self.revision = state.revision
        self.status = state.status
        self.fault = state.fault
        self.steps = list(state.steps)
        self.commands: list[Command] = []
        self.history: list[HistoryEntry] = []

    def change(self, position: int, **changes: Any) -> None:
        self.steps[position] = replace(self.steps[position], **changes)

    def dispatch(self, position: int) -> None:
        """Send the next attempt of a step's action."""
        step, defined = self.steps[position], self.definition.steps[position]
        due_at_ms = self.now_ms + defined.timeout_ms
        self.change(
            position,
            status=StepStatus.DISPATCHED,
            attempts=step.attempts + 1,
            due=Due.TIMEOUT,
            due_at_ms=due_at_ms,
            started_at_ms=step.started_at_ms or self.now_ms,
        )
        self.commands.append(self.command(position))

    def dispatch_undo(self, position: int) -> None:
        """Send the next attempt of a step's compensation."""
        step, defined = self.steps[position], self.definition.steps[position]
        due_at_ms = self.now_ms + defined.compensation_timeout_ms
        self.change(
            position,
            status=StepStatus.COMPENSATING,
            compensation_attempts=step.compensation_attempts + 1,
            due=Due.TIMEOUT,
            due_at_ms=due_at_ms,
        )
        self.commands.append(self.command(position))

    def command(self, position: int) -> Command:
        """The command that a step has in flight, as it was or is first sent."""
        step, defined, saga = self.steps[position], self.definition.steps[position], self.before
        undo = step.status is StepStatus.COMPENSATING
        assert step.due_at_ms is not None, "a command in flight has a time-out"
        return Command(
            type=defined.compensation or "" if undo else defined.action,
            saga_id=saga.id,
            saga=saga.saga,
            step=step.name,
            direction=Direction.COMPENSATION if undo else Direction.ACTION,
            attempt=step.compensation_attempts if undo else step.attempts,
            deadline_ms=step.due_at_ms,
            input=saga.input,
            outputs=self.outputs(),
            traceparent=saga.traceparent,
        )

    def outputs(self) -> dict[str, Any]:
        return {step.name: step.output for step in self.steps if step.output is not None}

    def record(
        self,
        event: str,
        *,
        step: str | None = None,
        direction: Direction | None = None,
        attempt: int | None = None,
        fault: Fault | None = None,
        sent_from: int = 0,
    ) -> None:
        """Write a line of history; the commands from `sent_from` on were sent because of it."""
        entry = HistoryEntry(
            saga_id=self.before.id,
            revision=self.revision,
            at_ms=self.now_ms,
            event=event,
            status=self.status,
            step=step,
            direction=direction,
            attempt=attempt,
            fault=fault,
            sent=tuple(self.commands[sent_from:]),
        )
        self.history.append(entry)

    def transition(self, *, timer: bool = False) -> Transition:
        before = self.before
        over = self.status in ENDED
        state = SagaState(
            id=before.id,
            saga=before.saga,
            version=before.version,
            key=before.key,
            status=self.status,
            revision=self.revision,
            input=before.input,
            steps=tuple(self.steps),
            created_at_ms=before.created_at_ms,
            updated_at_ms=self.now_ms if self.history else before.updated_at_ms,
            ended_at_ms=(before.ended_at_ms if before.status is self.status else self.now_ms) if over else None,
            wake_at_ms=self._wake_at_ms(timer),
            fault=self.fault,
            traceparent=before.traceparent,
        )
        ended = self._ended() if over and before.status is not self.status else None
        return Transition(Verdict.APPLIED, state, tuple(self.history), tuple(self.commands), ended)

    def _wake_at_ms(self, timer: bool) -> int | None:
        moments = [step.due_at_ms for step in self.steps if step.due_at_ms is not None]
        if not moments:
            return None
        if not timer and self.before.wake_at_ms is not None:
            moments.append(self.before.wake_at_ms)
        return min(moments)

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


def undoable(steps: list[StepState], definition: Definition) -> list[int]:
    """Positions of the steps whose effect stands, or may stand, and can be undone; the next one to undo first."""
    standing = [
        position
        for position, step in enumerate(steps)
        if step.status in (StepStatus.SUCCEEDED, StepStatus.UNKNOWN)
        and definition.steps[position].compensation is not None
    ]
    return sorted(standing, key=lambda position: steps[position].finished_order or 0, reverse=True)
