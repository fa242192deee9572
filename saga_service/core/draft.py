"""One transition in the making: the next state, and what it asks of the outside, put together by the rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from saga_service.core.definition import Definition, ExpressionFailed
from saga_service.core.effects import ChildRequest, Command, Ended, HistoryEntry, ParentReply, Sent, Transition
from saga_service.core.ids import CommandName, saga_id_of_child
from saga_service.core.pivot import has_passed_pivot
from saga_service.core.state import Fault, JsonObject, SagaState, StepState
from saga_service.core.step_draft import AnyStep, StepDraft
from saga_service.core.vocabulary import (
    ENDED,
    ChildOperation,
    Course,
    Direction,
    Due,
    Outcome,
    SagaStatus,
    StepStatus,
    Task,
    Verdict,
)

# Looked up once, for an enum's own look-up runs Python code each time (until Python 3.12).
_DISPATCHED, _COMPENSATING, _PAUSED = StepStatus.DISPATCHED, StepStatus.COMPENSATING, SagaStatus.PAUSED
_ACTION, _COMPENSATION, _PROBE = Direction.ACTION, Direction.COMPENSATION, Direction.PROBE
_TIMEOUT, _RETRY, _PROBE_TIMEOUT, _PROBE_RETRY = Due.TIMEOUT, Due.RETRY, Due.PROBE_TIMEOUT, Due.PROBE_RETRY
_APPLIED, _FORWARD, _CHILD = Verdict.APPLIED, Course.FORWARD, Task.CHILD


class Note(NamedTuple):
    event: str
    step: str
    direction: None
    attempt: None
    fault: Fault | None


class Draft:
    """Starts from a state and is changed by the rules; `transition` seals it. It lives for one call of `advance`."""

    __slots__ = (
        "before",
        "commands",
        "course",
        "deadline_ms",
        "definition",
        "fault",
        "history",
        "notes",
        "now_ms",
        "parent",
        "revision",
        "signals",
        "status",
        "steps",
    )

    def __init__(self, definition: Definition, state: SagaState, now_ms: int) -> None:
        self.definition = definition
        self.before = state
        self.now_ms = now_ms
        self.revision = state.revision
        self.status = state.status
        self.course = state.course
        self.fault = state.fault
        self.deadline_ms = state.deadline_ms
        self.signals = state.signals
        self.parent = state.parent
        self.steps: list[AnyStep] = list(state.steps)
        self.commands: list[Sent] = []
        self.history: list[HistoryEntry] = []
        self.notes: list[Note] = []

    def open(self, position: int) -> StepDraft:
        """The step at this position, to be changed."""
        step = self.steps[position]
        if isinstance(step, StepState):
            step = self.steps[position] = StepDraft(step)
        return step

    # ---------------------------------------------------------------------------------------------- what is sent

    def dispatch(self, position: int) -> None:
        """Send the next attempt of a step's action. Raises ExpressionFailed, with nothing changed."""
        sent_input = self._input(position)
        step, defined, now_ms = self.open(position), self.definition.steps[position], self.now_ms
        step.attempts += 1
        step.status = _DISPATCHED
        # Of the attempts so far at the latest now: what this one does comes after all that is done.
        step.effect_revision = step.ended_at_ms = None
        step.wait(_TIMEOUT, now_ms + defined.timeout_ms)
        if defined.heartbeat_ms is not None:
            # From the first sign of life on the step is due earlier. Until then the command may lie in its stream, and
            # nobody is silent.
            step.deadline_ms = step.due_at_ms
        step.started_at_ms = step.started_at_ms or now_ms
        self.commands.append(self._sent(position, sent_input))

    def dispatch_probe(self, position: int) -> None:
        """Ask a worker whether a step's action happened. Raises ExpressionFailed, with nothing changed."""
        sent_input = self._input(position)
        step, defined = self.open(position), self.definition.steps[position]
        step.probes += 1
        step.wait(_PROBE_TIMEOUT, self.now_ms + defined.timeout_ms)
        self.commands.append(self._sent(position, sent_input))

    def dispatch_undo(self, position: int) -> None:
        """Send the next attempt of a step's compensation. Raises ExpressionFailed, with nothing changed."""
        sent_input = self._input(position)
        step, defined = self.open(position), self.definition.steps[position]
        if step.status is not _COMPENSATING:
            # An undo has its own attempts, and its own time where that is limited.
            step.series_after = step.compensation_attempts
            step.series_since_ms = None if defined.compensation_retry.budget_ms is None else self.now_ms
        step.status = _COMPENSATING
        step.compensation_attempts += 1
        step.wait(_TIMEOUT, self.now_ms + defined.compensation_timeout_ms)
        self.commands.append(self._sent(position, sent_input))

    def once_more(self, position: int) -> list[Sent]:
        """What a step has in flight, as it was first sent. What cannot be made any more is left to time out."""
        try:
            return [self._sent(position, self._input(position))]
        except ExpressionFailed:
            return []

    def _sent(self, position: int, sent_input: JsonObject) -> Sent:
        step, defined = self.steps[position], self.definition.steps[position]
        if step.status is _COMPENSATING:
            if defined.task is _CHILD:
                return self.child_request(position, ChildOperation.COMPENSATE)
            undo = defined.compensation or ""
            return self._command(position, undo, _COMPENSATION, step.compensation_attempts, sent_input)
        if step.status is not _DISPATCHED:
            return self._command(position, defined.probe or "", _PROBE, step.probes, sent_input)
        if defined.task is _CHILD:
            return self.child_request(position, ChildOperation.START, sent_input)
        return self._command(position, defined.action, _ACTION, step.attempts, sent_input)

    def start_of_child(self, position: int) -> ChildRequest:
        """What started the child saga of a step, once more. Raises ExpressionFailed."""
        return self.child_request(position, ChildOperation.START, self._input(position))

    def child_request(
        self, position: int, operation: ChildOperation, sent_input: JsonObject | None = None
    ) -> ChildRequest:
        """What a step asks of the child saga that its latest attempt started."""
        step, defined, saga = self.steps[position], self.definition.steps[position], self.before
        started_by = CommandName(saga.id, step.name, _ACTION, step.attempts)
        undo = operation is ChildOperation.COMPENSATE
        return ChildRequest(
            operation,
            saga_id_of_child(defined.action, started_by),
            defined.action,
            CommandName(saga.id, step.name, _COMPENSATION, step.compensation_attempts) if undo else started_by,
            sent_input or {},
            saga.traceparent,
            undo and step.output is not None,
        )

    def _command(
        self, position: int, command_type: str, direction: Direction, attempt: int, sent_input: JsonObject
    ) -> Command:
        step, saga = self.steps[position], self.before
        deadline_ms = step.deadline_ms or step.due_at_ms
        assert deadline_ms is not None, "a command in flight has a deadline"
        return Command(
            command_type,
            saga.id,
            saga.saga,
            step.name,
            direction,
            attempt,
            deadline_ms,
            sent_input,
            self._sent_outputs(position, direction),
            saga.traceparent,
            self.definition.steps[position].heartbeat_ms if direction is _ACTION else None,
        )

    def _input(self, position: int) -> JsonObject:
        mapping = self.definition.steps[position].input
        if mapping is None:
            return self.before.input
        mapped: JsonObject = mapping.evaluate(self.variables(position))
        return mapped

    def _sent_outputs(self, position: int, direction: Direction) -> dict[str, Any]:
        """Those of all steps before it, and for an undo all there are. A step that says what it is to be sent gets no
        more than that, and its undo its own output."""
        if self.definition.steps[position].input is None:
            return self.outputs() if direction is _COMPENSATION else self._outputs_before(position)
        step = self.steps[position]
        return {step.name: step.output} if direction is _COMPENSATION and step.output is not None else {}

    def variables(self, position: int) -> dict[str, Any]:
        """What a step's expressions may speak of. Not of what goes on beside it: every attempt, and the undo, is to be
        sent the same, whatever else has been done meanwhile."""
        return {"input": self.before.input, "outputs": self._outputs_before(position)}

    def _outputs_before(self, position: int) -> dict[str, Any]:
        steps, ancestors = self.steps, self.definition.ancestors[position]
        return outputs_of([steps[place] for place in ancestors])

    def outputs(self) -> dict[str, Any]:
        return outputs_of(self.steps)

    # --------------------------------------------------------------------------------------------- what is recorded

    def record(
        self,
        event: str,
        step: str | None = None,
        direction: Direction | None = None,
        attempt: int | None = None,
        fault: Fault | None = None,
        sent_from: int = 0,
        actor: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Write a line of history; the commands from `sent_from` on were sent because of it. What was noted of other
        steps meanwhile has its own lines after it."""
        sent = tuple(self.commands[sent_from:])
        self._write(event, step, direction, attempt, fault, sent, actor, reason)
        if self.notes:
            for note in self.notes:
                self.revision += 1
                self._write(*note)
            self.notes.clear()

    def note(self, event: str, step: str, fault: Fault | None = None) -> None:
        """What befell a step while the saga looked at itself, for the line after the one that is being made."""
        self.notes.append(Note(event, step, None, None, fault))

    def _write(
        self,
        event: str,
        step: str | None,
        direction: Direction | None,
        attempt: int | None,
        fault: Fault | None,
        sent: tuple[Sent, ...] = (),
        actor: str | None = None,
        reason: str | None = None,
    ) -> None:
        self.history.append(
            HistoryEntry(
                self.before.id,
                self.revision,
                self.now_ms,
                event,
                self.status,
                step,
                direction,
                attempt,
                fault,
                sent,
                actor,
                reason,
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
            tuple([step.frozen() if isinstance(step, StepDraft) else step for step in self.steps]),
            before.created_at_ms,
            self.now_ms if self.history else before.updated_at_ms,
            (self.now_ms if ends_now else before.ended_at_ms) if over else None,
            None if over else self._wake_at_ms(timer),
            self.fault,
            before.traceparent,
            self.course,
            self.deadline_ms,
            self.signals,
            self.parent,
        )
        ended, reply = (self._ended(), reply_to_parent(state)) if ends_now else (None, None)
        return Transition(_APPLIED, state, tuple(self.history), tuple(self.commands), ended, "", reply)

    def _wake_at_ms(self, timer: bool) -> int | None:
        steps = self.steps if self.status is not _PAUSED else [step for step in self.steps if self.heeds(step.due)]
        moments = [step.due_at_ms for step in steps if step.due_at_ms is not None]
        if self.deadline_ms is not None and self.has_deadline():
            moments.append(self.deadline_ms)
        if not moments:
            return None
        first_ms, known_ms = min(moments), self.before.wake_at_ms
        return first_ms if timer or known_ms is None or known_ms > first_ms else known_ms

    def has_deadline(self) -> bool:
        """Whether the saga's own deadline matters now. Not while its pivot is in flight; should that fail, it does."""
        is_set = self.deadline_ms is not None and self.course is _FORWARD and self.status not in ENDED
        return is_set and not has_passed_pivot(self.definition, self.steps)

    def heeds(self, due: Due | None) -> bool:
        """Whether the moment matters now: a paused saga tries nothing again."""
        return self.status is not _PAUSED or not (due is _RETRY or due is _PROBE_RETRY)

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


def outputs_of(steps: Iterable[AnyStep]) -> dict[str, Any]:
    """What these steps returned, by their names."""
    return {step.name: step.output for step in steps if step.output is not None}


def reply_to_parent(state: SagaState) -> ParentReply | None:
    """What an ended child saga answers: to the command that started it whether it is done, to the one that undoes it
    that it is undone."""
    command = state.parent
    if command is None or state.status not in ENDED:
        return None
    completed = state.status is SagaStatus.COMPLETED
    if completed is (command.direction is _ACTION):
        return ParentReply(command, Outcome.SUCCEEDED, outputs_of(state.steps) if completed else {}, None)
    fault = state.fault or Fault("compensated", "the child saga was undone")
    return ParentReply(command, Outcome.FAILED, {}, Fault(fault.code, fault.message))
