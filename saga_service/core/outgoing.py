"""Messages that a saga sends: commands to workers, requests to child sagas, a reply to its parent, news of its end.

Every function here is pure: what is sent follows from the definition, the saga, and its steps at that moment. So a
command that was lost is made a second time exactly as it was first sent. `saga` is the state before the transition;
only what never changes is read of it. `steps` are those of the transition in the making.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from saga_service.core.definition import Definition, ExpressionFailed
from saga_service.core.effects import ChildRequest, Command, Ended, ParentReply, Sent
from saga_service.core.fault_codes import COMPENSATED as COMPENSATED_CODE
from saga_service.core.ids import CommandName, saga_id_of_child
from saga_service.core.state import Fault, JsonObject, SagaState, StepState
from saga_service.core.vocabulary import (
    ACTION,
    CHILD,
    COMPENSATING,
    COMPENSATION,
    DISPATCHED,
    ENDED,
    PROBE,
    SAGA_COMPLETED,
    ChildOperation,
    Direction,
    OnError,
    Outcome,
)


def in_flight(
    definition: Definition, saga: SagaState, steps: Sequence[StepState], position: int, sent_input: JsonObject
) -> Sent:
    """The message that the step's state says is under way: its action, its undo, or the probe of an unknown action."""
    step, defined = steps[position], definition.steps[position]
    status, is_child = step.status, defined.task is CHILD
    if status is DISPATCHED:
        if is_child:
            return child_request(saga, step, defined.action, ChildOperation.START, sent_input)
        return _command(definition, saga, steps, position, defined.action, ACTION, step.attempts, sent_input)
    if status is COMPENSATING:
        if is_child:
            return child_request(saga, step, defined.action, ChildOperation.COMPENSATE)
        undo = defined.compensation or ""
        return _command(definition, saga, steps, position, undo, COMPENSATION, step.compensation_attempts, sent_input)
    return _command(definition, saga, steps, position, defined.probe or "", PROBE, step.probes, sent_input)


def in_flight_again(definition: Definition, saga: SagaState, steps: Sequence[StepState], position: int) -> list[Sent]:
    """A copy of what the step has in flight. Nothing where its input has no value any more: the step then times out."""
    try:
        sent_input = step_input(definition, saga, steps, position)
    except ExpressionFailed:
        return []
    sent = in_flight(definition, saga, steps, position, sent_input)
    return [sent._replace(is_copy=True)]


def child_request(
    saga: SagaState, step: StepState, child: str, operation: ChildOperation, sent_input: JsonObject | None = None
) -> ChildRequest:
    """A step's request to the child saga that its latest attempt started."""
    started_by = CommandName(saga.id, step.name, ACTION, step.attempts)
    undo = operation is ChildOperation.COMPENSATE
    return ChildRequest(
        operation,
        saga_id_of_child(child, started_by),
        child,
        CommandName(saga.id, step.name, COMPENSATION, step.compensation_attempts) if undo else started_by,
        sent_input or {},
        saga.traceparent,
        undo and step.output is not None,
    )


def _command(
    definition: Definition,
    saga: SagaState,
    steps: Sequence[StepState],
    position: int,
    command_type: str,
    direction: Direction,
    attempt: int,
    sent_input: JsonObject,
) -> Command:
    step = steps[position]
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
        _sent_outputs(definition, steps, position, direction),
        saga.traceparent,
        definition.steps[position].heartbeat_ms if direction is ACTION else None,
        direction is ACTION and definition.steps[position].on_error is OnError.UNKNOWN,
    )


def step_input(definition: Definition, saga: SagaState, steps: Sequence[StepState], position: int) -> JsonObject:
    """The input of a step's commands: the saga's own without a mapping. Raises ExpressionFailed."""
    mapping = definition.steps[position].input
    if mapping is None:
        return saga.input
    mapped: JsonObject = mapping.evaluate(variables(definition, saga, steps, position))
    return mapped


def variables(definition: Definition, saga: SagaState, steps: Sequence[StepState], position: int) -> dict[str, Any]:
    """The variables of a step's expressions: the saga's input, and the outputs of the steps before it in the graph.

    Steps that go side by side with it are left out, so that every attempt, and the undo, is sent the same, whatever
    else has been done meanwhile.
    """
    return {"input": saga.input, "outputs": _outputs_before(definition, steps, position)}


def _sent_outputs(
    definition: Definition, steps: Sequence[StepState], position: int, direction: Direction
) -> dict[str, Any]:
    """The outputs that a command carries beside its input.

    Those of all steps before it; for an undo all there are. A step with a mapping gets no more than the mapping says,
    and its undo its own output.
    """
    if definition.steps[position].input is None:
        return outputs_of(steps) if direction is COMPENSATION else _outputs_before(definition, steps, position)
    step = steps[position]
    return {step.name: step.output} if direction is COMPENSATION and step.output is not None else {}


def _outputs_before(definition: Definition, steps: Sequence[StepState], position: int) -> dict[str, Any]:
    before = definition.ancestors[position]
    return {step.name: step.output for place in before if (step := steps[place]).output is not None}


def outputs_of(steps: Iterable[StepState]) -> dict[str, Any]:
    """The outputs of these steps by their names."""
    return {step.name: step.output for step in steps if step.output is not None}


def reply_to_parent(state: SagaState) -> ParentReply | None:
    """An ended child saga's reply to its parent's command; None where it has no parent, or has not ended.

    To the command that started it, success means that it is completed; to the command that undoes it, that it is
    compensated.
    """
    command = state.parent
    if command is None or state.status not in ENDED:
        return None
    completed = state.status is SAGA_COMPLETED
    if completed is (command.direction is ACTION):
        return ParentReply(command, Outcome.SUCCEEDED, outputs_of(state.steps) if completed else {}, None)
    fault = state.fault or Fault(COMPENSATED_CODE, "the child saga was undone")
    return ParentReply(command, Outcome.FAILED, {}, Fault(fault.code, fault.message))


def news_of_end(state: SagaState) -> Ended:
    """The announcement of a saga that has just ended."""
    return Ended(
        saga_id=state.id,
        saga=state.saga,
        key=state.key,
        status=state.status,
        revision=state.revision,
        at_ms=state.updated_at_ms,
        outputs=outputs_of(state.steps) if state.status is SAGA_COMPLETED else {},
        fault=state.fault,
        traceparent=state.traceparent,
    )
