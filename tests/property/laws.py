"""What must hold of every transition of every saga, whatever happens to it and in whatever order.

Each law is a function that fails with a sentence. `every_law` tries them all on one transition.
"""

from __future__ import annotations

from saga_service.core.definition import Definition
from saga_service.core.effects import Command, Transition, Verdict
from saga_service.core.events import Event, TimerDue, TransportLost
from saga_service.core.ids import Direction
from saga_service.core.state import ENDED, Due, SagaState, SagaStatus, StepState, StepStatus

_SAGA_PATHS = {
    SagaStatus.RUNNING: {SagaStatus.COMPLETED, SagaStatus.COMPENSATING, SagaStatus.COMPENSATED},
    SagaStatus.COMPENSATING: {SagaStatus.COMPENSATED, SagaStatus.STUCK},
    SagaStatus.COMPENSATED: {SagaStatus.COMPENSATING},
    SagaStatus.STUCK: {SagaStatus.COMPENSATING, SagaStatus.COMPENSATED},
    SagaStatus.COMPLETED: set(),
}
_STEP_PATHS = {
    StepStatus.PENDING: {StepStatus.DISPATCHED, StepStatus.SUCCEEDED, StepStatus.FAILED},
    StepStatus.DISPATCHED: {
        StepStatus.PENDING,
        StepStatus.SUCCEEDED,
        StepStatus.FAILED,
        StepStatus.UNKNOWN,
        StepStatus.COMPENSATING,
    },
    StepStatus.UNKNOWN: {StepStatus.DISPATCHED, StepStatus.SUCCEEDED, StepStatus.COMPENSATING},
    StepStatus.FAILED: {StepStatus.SUCCEEDED, StepStatus.COMPENSATING},
    StepStatus.SUCCEEDED: {StepStatus.COMPENSATING},
    StepStatus.COMPENSATING: {StepStatus.COMPENSATED, StepStatus.COMPENSATION_FAILED},
    StepStatus.COMPENSATION_FAILED: {StepStatus.COMPENSATED},
    StepStatus.COMPENSATED: set(),
}
_IN_FLIGHT = {StepStatus.DISPATCHED, StepStatus.COMPENSATING}


def every_law(definition: Definition, before: SagaState | None, event: Event, transition: Transition) -> None:
    """`transition` is what `event` did to `before`."""
    if transition.verdict is not Verdict.APPLIED:
        what_is_not_applied_changes_nothing(before, transition)
        return
    after = transition.state
    assert after is not None, "an applied event leaves a saga"
    what_names_the_saga_never_changes(before, after)
    the_revision_counts_the_lines_of_history(before, after, transition)
    every_path_is_legal(before, after)
    attempts_stay_within_their_budgets(definition, after)
    what_may_have_happened_is_not_called_failed(after)
    waking_moves_later_only_by_a_timer(before, after, event)
    a_line_of_history_names_an_attempt_that_was_sent(before, transition)
    what_is_due_is_consistent(after)
    a_saga_that_has_not_ended_has_something_to_wait_for(after)
    an_end_is_announced_once(before, after, transition)
    an_end_owes_nothing(definition, after)
    commands_are_of_the_history_that_sent_them(before, after, event, transition)
    undo_goes_in_reverse_order(definition, after, transition)
    if not transition.history:
        only_the_waking_may_change_without_history(before, after, event)


def what_is_not_applied_changes_nothing(before: SagaState | None, transition: Transition) -> None:
    assert transition.state is before, "the state is the very one that was given"
    assert transition.history == (), "nothing is recorded"
    assert transition.commands == (), "nothing is sent"
    assert transition.ended is None, "nothing ends"
    assert transition.reason, "it says why"


def what_names_the_saga_never_changes(before: SagaState | None, after: SagaState) -> None:
    if before is not None:
        for name in ("id", "saga", "version", "key", "input", "created_at_ms", "traceparent"):
            assert getattr(after, name) == getattr(before, name), f"{name} stays"
        assert [step.name for step in after.steps] == [step.name for step in before.steps], "the steps stay"


def the_revision_counts_the_lines_of_history(
    before: SagaState | None, after: SagaState, transition: Transition
) -> None:
    base = 0 if before is None else before.revision
    revisions = [line.revision for line in transition.history]
    assert revisions == list(range(base + 1, after.revision + 1)), "one revision for each line, without a gap"
    if transition.history:
        assert transition.history[-1].status is after.status, "the last line says what the saga is now"
        assert after.updated_at_ms == transition.history[-1].at_ms, "a change is dated"


def every_path_is_legal(before: SagaState | None, after: SagaState) -> None:
    if before is None:
        return
    if before.status is not after.status:
        assert after.status in _SAGA_PATHS[before.status], f"no path from {before.status} to {after.status}"
    for old, new in zip(before.steps, after.steps, strict=True):
        if old.status is not new.status:
            assert new.status in _STEP_PATHS[old.status], f"no path from {old.status} to {new.status}"
        if old.finished_order is not None:
            assert new.finished_order == old.finished_order, "a place in the order of undoing is kept"
        assert new.attempts - old.attempts in (0, 1), "one attempt at a time"
        assert new.compensation_attempts - old.compensation_attempts in (0, 1), "one attempt at a time"


def attempts_stay_within_their_budgets(definition: Definition, after: SagaState) -> None:
    for step, defined in zip(after.steps, definition.steps, strict=True):
        assert step.attempts <= defined.retry.attempts_max, "the action has its budget"
        assert step.compensation_attempts <= defined.compensation_retry.attempts_max, "and the undo its own"


def what_may_have_happened_is_not_called_failed(after: SagaState) -> None:
    for step in after.steps:
        assert not (step.in_doubt and step.status is StepStatus.FAILED), "an attempt in doubt makes it unknown"
        assert not (step.in_doubt and step.status is StepStatus.SUCCEEDED), "a success settles the doubt"
        given_up_in_doubt = step.status is StepStatus.UNKNOWN and step.due is None
        assert not given_up_in_doubt or step.finished_order, "and gives it a place in the order of undoing"


def waking_moves_later_only_by_a_timer(before: SagaState | None, after: SagaState, event: Event) -> None:
    if before is None or before.wake_at_ms is None or after.wake_at_ms is None or isinstance(event, TimerDue):
        return
    assert after.wake_at_ms <= before.wake_at_ms, "a step that goes well costs no write for its time-out"


def a_line_of_history_names_an_attempt_that_was_sent(before: SagaState | None, transition: Transition) -> None:
    for line in transition.history:
        if before is None or line.step is None:
            continue
        (step,) = [step for step in before.steps if step.name == line.step]
        sent = step.attempts if line.direction is Direction.ACTION else step.compensation_attempts
        assert line.attempt is not None, "a line about a command names its attempt"
        latest = "succeeded" not in line.event
        assert line.attempt == sent if latest else 1 <= line.attempt <= sent, "and it is one that was sent"


def what_is_due_is_consistent(after: SagaState) -> None:
    moments = []
    for step in after.steps:
        assert (step.due is None) is (step.due_at_ms is None), "a due has its moment and a moment its due"
        in_flight = step.due is Due.TIMEOUT
        assert not in_flight or step.status in _IN_FLIGHT, "only what is in flight can time out"
        assert step.status is not StepStatus.DISPATCHED or in_flight, "what is in flight can time out"
        if step.due_at_ms is not None:
            moments.append(step.due_at_ms)
    assert len(moments) <= 1, "steps go one after another"
    if not moments:
        assert after.wake_at_ms is None, "nothing is due, so nothing wakes"
    else:
        assert after.wake_at_ms is not None, "something is due, so something wakes"
        assert after.wake_at_ms <= min(moments), "waking is never later than what is due"


def a_saga_that_has_not_ended_has_something_to_wait_for(after: SagaState) -> None:
    waits = any(step.due is not None for step in after.steps)
    goes_on = after.status in (SagaStatus.RUNNING, SagaStatus.COMPENSATING)
    assert waits is goes_on, f"a saga that is {after.status} {'waits' if waits else 'does not wait'} for something"


def an_end_is_announced_once(before: SagaState | None, after: SagaState, transition: Transition) -> None:
    was = None if before is None else before.status
    ends_now = after.status in ENDED and after.status is not was
    assert (transition.ended is not None) is ends_now, "an end is announced when it comes, and only then"
    assert (after.ended_at_ms is not None) is (after.status in ENDED), "only an ended saga has an end"
    if transition.ended is not None:
        assert (transition.ended.status, transition.ended.revision) == (after.status, after.revision)
        assert transition.ended.at_ms == after.ended_at_ms


def an_end_owes_nothing(definition: Definition, after: SagaState) -> None:
    statuses = {step.status for step in after.steps}
    if after.status is SagaStatus.COMPLETED:
        assert statuses <= {StepStatus.SUCCEEDED}, "completed means that every step is done"
        assert not any(step.compensation_attempts for step in after.steps), "and that nothing was ever undone"
    if after.status is SagaStatus.COMPENSATED:
        assert standing(definition, after) == [], "compensated means that no effect stands that could be undone"
        assert StepStatus.COMPENSATION_FAILED not in statuses, "and that no undo was given up on"
    if after.status is SagaStatus.STUCK:
        assert StepStatus.COMPENSATION_FAILED in statuses, "stuck means that an undo was given up on"
    if after.status is not SagaStatus.RUNNING and after.status is not SagaStatus.COMPLETED:
        assert after.fault is not None, "a saga that turned round says why"
        assert after.fault.step in {step.name for step in after.steps}, "and at which step"


def commands_are_of_the_history_that_sent_them(
    before: SagaState | None, after: SagaState, event: Event, transition: Transition
) -> None:
    recorded = [command for line in transition.history for command in line.sent]
    if isinstance(event, TransportLost):
        for command in transition.commands:
            step = _step(after, command)
            sent = step.attempts if command.direction is Direction.ACTION else step.compensation_attempts
            assert command.attempt == sent, "what is sent again is the attempt in flight"
        return
    assert recorded == list(transition.commands), "each command belongs to the line of history that sent it"
    attempts_before = 0 if before is None else _attempts(before)
    assert _attempts(after) == attempts_before + len(transition.commands), "each command is one attempt"
    for command in transition.commands:
        step = _step(after, command)
        assert command.deadline_ms == step.due_at_ms, "the command's deadline is the step's time-out"
        assert command.type, "it says what to do"
        assert command.input == after.input
        assert command.outputs == {past.name: past.output for past in after.steps if past.output is not None}


def undo_goes_in_reverse_order(definition: Definition, after: SagaState, transition: Transition) -> None:
    """What is undone next had its effect after all else that still stands. What is only sent once more was chosen
    earlier, when something that has succeeded since was not known to stand."""
    for command in [command for line in transition.history for command in line.sent]:
        if command.direction is Direction.ACTION:
            assert after.status is SagaStatus.RUNNING, "a saga that turned round does no more steps"
            position = definition.positions[command.step]
            assert all(step.status is StepStatus.SUCCEEDED for step in after.steps[:position]), "in order"
            continue
        assert after.status is SagaStatus.COMPENSATING, "only a saga that turned round undoes"
        assert _step(after, command).status is StepStatus.COMPENSATING
        being_undone = [step for step in after.steps if step.status is StepStatus.COMPENSATING]
        assert len(being_undone) == 1, "one undo at a time"
        if command.attempt == 1:
            order = _step(after, command).finished_order or 0
            assert order > 0, "what is undone had its effect, or may have"
            assert all((step.finished_order or 0) < order for step in standing(definition, after)), "reverse order"


def only_the_waking_may_change_without_history(before: SagaState | None, after: SagaState, event: Event) -> None:
    assert before is not None, "a saga begins with a line of history"
    assert isinstance(event, TimerDue | TransportLost), "a reply or a start that is applied is recorded"
    assert after._replace(wake_at_ms=before.wake_at_ms) == before, "all but the moment of waking stays"
    if isinstance(event, TransportLost):
        assert after == before, "sending again changes nothing"


def standing(definition: Definition, state: SagaState) -> list[StepState]:
    """Steps whose effect stands, or may stand, and could be undone."""
    return [
        step
        for step in state.steps
        if step.status in (StepStatus.SUCCEEDED, StepStatus.UNKNOWN)
        and definition.steps[definition.positions[step.name]].compensation is not None
    ]


def _step(state: SagaState, command: Command) -> StepState:
    (step,) = [step for step in state.steps if step.name == command.step]
    return step


def _attempts(state: SagaState) -> int:
    return sum(step.attempts + step.compensation_attempts for step in state.steps)
