"""What must hold of every transition of every saga, whatever happens to it and in whatever order.

Each law is a function that fails with a sentence. `every_law` tries them all on one transition.
"""

from __future__ import annotations

from saga_service.core.child_repeats import repeated_since_ms
from saga_service.core.compensation import outstanding_effects
from saga_service.core.definition import Definition
from saga_service.core.effects import ChildRequest, Command, Sent, Transition
from saga_service.core.events import Event, OperationRequested, Replied, TimerDue, TransportLost
from saga_service.core.pivot import has_passed_pivot
from saga_service.core.state import SagaState, StepState
from saga_service.core.transitions import SAGA_TRANSITIONS, STATUS_OF
from saga_service.core.vocabulary import (
    DONE,
    ENDED,
    ChildOperation,
    Course,
    Direction,
    Due,
    Kind,
    Operation,
    SagaStatus,
    StepStatus,
    UndoOrder,
    Verdict,
)
from tests.support.builders import sent_attempts

_DUES: dict[StepStatus, set[Due | None]] = {
    StepStatus.PENDING: {None, Due.RETRY},
    StepStatus.DISPATCHED: {Due.TIMEOUT},
    StepStatus.WAITING: {Due.SLEEP, Due.SIGNAL},
    StepStatus.SUCCEEDED: {None},
    StepStatus.FAILED: {None},
    StepStatus.UNKNOWN: {None, Due.RETRY, Due.PROBE_TIMEOUT, Due.PROBE_RETRY},
    StepStatus.SKIPPED: {None},
    StepStatus.COMPENSATING: {Due.TIMEOUT, Due.RETRY},
    StepStatus.COMPENSATED: {None},
    StepStatus.COMPENSATION_FAILED: {None},
}
"""What a step at each status may wait for."""
_NEVER_IN_DOUBT = {StepStatus.PENDING, StepStatus.WAITING, StepStatus.SUCCEEDED, StepStatus.FAILED}
_NOT_WHILE_PAUSED = {Due.RETRY, Due.PROBE_RETRY}
_COURSES = {
    SagaStatus.RUNNING: {Course.FORWARD},
    SagaStatus.COMPLETED: {Course.FORWARD},
    SagaStatus.COMPENSATING: {Course.BACKWARD},
    SagaStatus.COMPENSATED: {Course.BACKWARD},
    SagaStatus.PAUSED: set(Course),
    SagaStatus.STUCK: set(Course),
}


def every_law(definition: Definition, before: SagaState | None, event: Event, transition: Transition) -> None:
    """`transition` is what `event` did to `before`."""
    if transition.verdict is not Verdict.APPLIED:
        what_is_not_applied_changes_nothing(before, transition)
        return
    after = transition.state
    assert after is not None, "an applied event leaves a saga"
    what_names_the_saga_never_changes(before, after)
    the_revision_counts_the_lines_of_history(before, after, transition)
    every_change_of_status_is_in_the_table(before, transition)
    numbers_only_grow(before, after)
    what_may_have_happened_is_not_called_failed(after)
    waking_moves_later_only_by_a_timer(before, after, event)
    a_line_of_history_names_an_attempt_that_was_sent(before, transition)
    what_is_due_is_consistent(definition, after)
    waking_is_never_later_than_what_is_due(definition, after)
    a_saga_that_waits_for_nothing_is_ended_stuck_or_paused(after)
    the_status_follows_from_the_steps(after)
    a_saga_that_compensates_never_goes_forward_again(before, after)
    no_saga_compensates_behind_its_pivot(definition, before, after)
    an_end_is_announced_once(before, after, transition)
    an_ended_saga_has_nothing_outstanding(definition, after)
    commands_are_of_the_history_that_sent_them(before, after, event, transition)
    a_paused_saga_sends_nothing_but_calls_off_children(before, event, transition)
    what_is_done_is_done_in_order(definition, before, after, transition)
    undo_goes_in_reverse_order(definition, before, after, transition)
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


def every_change_of_status_is_in_the_table(before: SagaState | None, transition: Transition) -> None:
    if before is None:
        return
    was = before.status
    for line in transition.history:
        allowed = {STATUS_OF[finding] for finding in SAGA_TRANSITIONS[was]}
        assert line.status is was or line.status in allowed, f"no turn from {was} to {line.status}"
        was = line.status


def numbers_only_grow(before: SagaState | None, after: SagaState) -> None:
    for old, new in zip(() if before is None else before.steps, after.steps, strict=False):
        assert new.attempts - old.attempts in (0, 1), "one attempt at a time"
        assert new.compensation_attempts - old.compensation_attempts in (0, 1), "one attempt at a time"
        assert new.probes - old.probes in (0, 1), "one question at a time"


def what_may_have_happened_is_not_called_failed(after: SagaState) -> None:
    for step in after.steps:
        assert not (step.unanswered and step.status in _NEVER_IN_DOUBT), f"nothing is in doubt of a {step.status} step"
        assert step.unanswered or step.status is not StepStatus.UNKNOWN, "what is unknown has an attempt in doubt"
        assert list(step.unanswered) == sorted(set(step.unanswered)), "each attempt is in doubt once"
        in_flight = step.status is StepStatus.DISPATCHED
        assert set(step.unanswered) <= set(range(1, step.attempts + (not in_flight))), "and was sent, and is over"
        given_up_in_doubt = step.status is StepStatus.UNKNOWN and step.due is None
        assert not given_up_in_doubt or step.effect_revision, "a doubt has a place in the order of undoing"


def waking_moves_later_only_by_a_timer(before: SagaState | None, after: SagaState, event: Event) -> None:
    if before is None or before.wake_at_ms is None or after.wake_at_ms is None or isinstance(event, TimerDue):
        return
    assert after.wake_at_ms <= before.wake_at_ms, "a step that goes well costs no write for its time-out"


def a_line_of_history_names_an_attempt_that_was_sent(before: SagaState | None, transition: Transition) -> None:
    for line in transition.history:
        if before is None or line.step is None or line.direction is None:
            continue
        (step,) = [step for step in before.steps if step.name == line.step]
        if line.attempt is None:
            assert line.event == "probe_retry_due", "a line about a command names its attempt"
            assert step.probes == 0, "unless it was never sent, as the saga was paused"
            continue
        assert 1 <= line.attempt <= sent_attempts(step, line.direction), "and it is one that was sent"


def what_is_due_is_consistent(definition: Definition, after: SagaState) -> None:
    for step, defined in zip(after.steps, definition.steps, strict=True):
        assert (step.due is None) is (step.due_at_ms is None), "a due has its moment and a moment its due"
        assert step.due in _DUES[step.status], f"a {step.status} step does not wait for {step.due}"
        has_two_limits = step.status is StepStatus.DISPATCHED and defined.heartbeat_ms is not None
        assert (step.deadline_ms is not None) is has_two_limits, "a limit beside the due is for signs of life alone"
        if step.deadline_ms is not None and step.due_at_ms is not None:
            assert step.due_at_ms <= step.deadline_ms, "signs of life do not outlive the deadline"


def waking_is_never_later_than_what_is_due(definition: Definition, after: SagaState) -> None:
    moments = [step.due_at_ms for step in after.steps if _is_heeded(after, step) and step.due_at_ms is not None]
    if after.deadline_ms is not None and after.course is Course.FORWARD:
        # What may be decided is not undone, whatever the time; should the pivot fail after all, it matters again.
        moments += [] if has_passed_pivot(definition, after.steps) else [after.deadline_ms]
    if after.status in ENDED or not moments:
        is_woken_to_repeat = after.status not in ENDED and awaits_a_child(definition, after)
        assert after.wake_at_ms is None or is_woken_to_repeat, "nothing is due, so nothing wakes"
    else:
        assert after.wake_at_ms is not None, "something is due, so something wakes"
        assert after.wake_at_ms <= min(moments), "waking is never later than what is due"


def awaits_a_child(definition: Definition, after: SagaState) -> bool:
    """Whether a request to a child saga is repeated."""
    if after.status is SagaStatus.PAUSED:
        return False
    steps = zip(after.steps, definition.steps, strict=True)
    return any(repeated_since_ms(step, defined, after.course, after.updated_at_ms) for step, defined in steps)


def a_saga_that_waits_for_nothing_is_ended_stuck_or_paused(after: SagaState) -> None:
    waits = any(step.due is not None for step in after.steps)
    if after.status in (SagaStatus.RUNNING, SagaStatus.COMPENSATING):
        assert waits, f"a saga that is {after.status} waits for something"
    if after.status in ENDED:
        assert not waits, "an ended saga waits for nothing"


def the_status_follows_from_the_steps(after: SagaState) -> None:
    assert after.course in _COURSES[after.status], f"a saga that is {after.status} does not go {after.course}"
    parked = [step for step in after.steps if _needs_a_person(after, step)]
    if after.status is SagaStatus.STUCK:
        assert parked, "a stuck saga shows where"
        assert after.fault is not None, "and why"
    if after.status in (SagaStatus.RUNNING, SagaStatus.COMPLETED):
        assert not parked, "what needs a person is shown"
        assert after.fault is None, "and what goes well has no fault"
    if after.status is SagaStatus.COMPENSATED:
        assert after.fault is not None, "an undone saga says why"


def a_saga_that_compensates_never_goes_forward_again(before: SagaState | None, after: SagaState) -> None:
    turned = before is not None and before.course is Course.BACKWARD
    assert not turned or after.course is Course.BACKWARD, "there is no way back from the way back"
    if after.course is Course.BACKWARD:
        for step in after.steps:
            assert step.status is not StepStatus.WAITING, "what waited is left out"
            idle = step.status in (StepStatus.PENDING, StepStatus.UNKNOWN)
            assert not idle or step.due is None, "nothing is tried again, and nothing is asked"


def no_saga_compensates_behind_its_pivot(definition: Definition, before: SagaState | None, after: SagaState) -> None:
    if before is None or before.course is after.course:
        return
    assert not has_passed_pivot(definition, after.steps), "what may be decided is not undone"
    assert after.fault is not None, "a saga that compensates says why"
    if after.fault.step is not None and after.status is not SagaStatus.STUCK:
        kind = definition.steps[definition.positions[after.fault.step]].kind
        assert kind is not Kind.RETRIABLE, "a retriable step never turns the saga round"


def an_end_is_announced_once(before: SagaState | None, after: SagaState, transition: Transition) -> None:
    was = None if before is None else before.status
    ends_now = after.status in ENDED and after.status is not was
    assert (transition.ended is not None) is ends_now, "an end is announced when it comes, and only then"
    assert (transition.reply is not None) is (ends_now and after.parent is not None), "and to the parent that waits"
    assert (after.ended_at_ms is not None) is (after.status in ENDED), "only an ended saga has an end"
    if transition.ended is not None:
        assert (transition.ended.status, transition.ended.revision) == (after.status, after.revision)
        assert transition.ended.at_ms == after.ended_at_ms


def an_ended_saga_has_nothing_outstanding(definition: Definition, after: SagaState) -> None:
    statuses = {step.status for step in after.steps}
    if after.status is SagaStatus.COMPLETED:
        assert statuses <= DONE, "completed means that every step is done or left out"
        assert not any(step.compensation_attempts for step in after.steps), "and that nothing was ever undone"
    if after.status is SagaStatus.COMPENSATED:
        assert outstanding_effects(definition, after.steps) == [], (
            "compensated means that no effect stands that could be undone"
        )
        under_way = {StepStatus.DISPATCHED, StepStatus.COMPENSATING, StepStatus.COMPENSATION_FAILED}
        assert statuses.isdisjoint(under_way), "that nothing is under way, and that no undo was given up on"


def commands_are_of_the_history_that_sent_them(
    before: SagaState | None, after: SagaState, event: Event, transition: Transition
) -> None:
    counted = [sent for sent in transition.commands if not is_calling_off(sent)]
    for sent in counted:
        assert sent.attempt == sent_attempts(_step(after, sent), sent.direction), "the latest attempt is sent"
        assert not isinstance(sent, Command) or sent.type, "it says what to do"
    for command in [sent for sent in counted if isinstance(sent, Command)]:
        step = _step(after, command)
        # What else came due at the same moment may have turned the saga round at once.
        is_alone = len(transition.history) == 1
        limit_ms = step.deadline_ms or step.due_at_ms
        assert not is_alone or command.deadline_ms == limit_ms, "its deadline is the step's time-out"
    if isinstance(event, TransportLost):
        return
    recorded = [sent for line in transition.history for sent in line.sent]
    repeats = transition.commands[len(recorded) :] if isinstance(event, TimerDue) else ()
    assert all(isinstance(sent, ChildRequest) for sent in repeats), "nothing but a request to a child is repeated"
    assert [*recorded, *repeats] == list(transition.commands), "a command belongs to the line of history that sent it"
    attempts_before = 0 if before is None else _attempts(before)
    counted = [sent for sent in recorded if not is_calling_off(sent)]
    new = [sent for sent in counted if before is None or not is_said_again(before, event, sent)]
    assert _attempts(after) == attempts_before + len(new), "each command is one attempt"


def is_said_again(before: SagaState, event: Event, sent: Sent) -> bool:
    """A person may have a child saga asked again for the answer to what it was asked. So does the end of a pause."""
    if not isinstance(event, OperationRequested) or not isinstance(sent, ChildRequest):
        return False
    step = _step(before, sent)
    is_held = sent.direction is Direction.ACTION and sent.attempt in step.unanswered
    in_flight = sent.attempt == sent_attempts(step, sent.direction) and step.due is Due.TIMEOUT
    return (
        is_held
        if event.operation is Operation.RETRY
        else event.operation is Operation.RESUME and (is_held or in_flight)
    )


def a_paused_saga_sends_nothing_but_calls_off_children(
    before: SagaState | None, event: Event, transition: Transition
) -> None:
    after = transition.state
    assert after is not None
    if after.status is SagaStatus.PAUSED:
        assert all(is_calling_off(sent) for sent in transition.commands), "a paused saga sends nothing"
    if before is not None and before.status is SagaStatus.PAUSED and not isinstance(event, OperationRequested):
        assert after.status is SagaStatus.PAUSED, "nobody but a person ends a pause"


def what_is_done_is_done_in_order(
    definition: Definition, before: SagaState | None, after: SagaState, transition: Transition
) -> None:
    for sent in transition.commands:
        if sent.direction is Direction.COMPENSATION or is_calling_off(sent) or not transition.history:
            continue
        assert before is None or before.course is Course.FORWARD, "a saga that turned round does no more steps"
        if after.course is Course.BACKWARD:
            continue  # It turned round at this very moment, and may be undoing already.
        waits_for = definition.predecessors[definition.positions[sent.step]]
        assert all(after.steps[place].status in DONE for place in waits_for), "a step begins after those it waits for"


def undo_goes_in_reverse_order(
    definition: Definition, before: SagaState | None, after: SagaState, transition: Transition
) -> None:
    """What is undone next had its effect after all else that still stands. What is only sent once more was chosen
    earlier, when something that has succeeded since was not known to stand."""
    under_way = [place for place, step in enumerate(after.steps) if step.status is StepStatus.COMPENSATING]
    assert definition.undo is UndoOrder.PARALLEL or len(under_way) <= 1, "one undo at a time"
    for sent in transition.commands:
        place = definition.positions[sent.step]
        if sent.direction is not Direction.COMPENSATION or _was_begun(before, place):
            continue
        step = after.steps[place]
        assert step.status is StepStatus.COMPENSATING
        assert not any(each.status is StepStatus.DISPATCHED for each in after.steps), "what is in flight is awaited"
        assert step.effect_revision, "what is undone had its effect, or may have"
        left = outstanding_effects(definition, after.steps)
        if definition.undo is UndoOrder.REVERSE:
            orders = [(after.steps[other].effect_revision or 0, other) for other in left]
            assert all(order < (step.effect_revision, place) for order in orders), "reverse order"
        else:
            assert definition.descendants[place].isdisjoint([*left, *under_way]), "what came after it is undone first"


def only_the_waking_may_change_without_history(before: SagaState | None, after: SagaState, event: Event) -> None:
    assert before is not None, "a saga begins with a line of history"
    assert isinstance(event, TimerDue | TransportLost), "whatever else is applied is recorded"
    assert after._replace(wake_at_ms=before.wake_at_ms) == before, "all but the moment of waking stays"
    if isinstance(event, TransportLost):
        assert after == before, "sending again changes nothing"


def a_repeat_changes_nothing(event: Event, again: Transition) -> None:
    """Of what names itself (a start, an answer, a signal)."""
    allowed = {Verdict.REPEATED, Verdict.REFUSED} if isinstance(event, Replied) else {Verdict.REPEATED}
    assert again.verdict in allowed, "at once again, it changes nothing"


def is_calling_off(sent: Sent) -> bool:
    return isinstance(sent, ChildRequest) and sent.operation is ChildOperation.CANCEL


def _is_heeded(state: SagaState, step: StepState) -> bool:
    return state.status is not SagaStatus.PAUSED or step.due not in _NOT_WHILE_PAUSED


def _needs_a_person(state: SagaState, step: StepState) -> bool:
    if state.course is Course.BACKWARD:
        return step.status is StepStatus.COMPENSATION_FAILED
    return step.status is StepStatus.FAILED or (step.status is StepStatus.UNKNOWN and step.due is None)


def _was_begun(before: SagaState | None, place: int) -> bool:
    """Whether this undo was chosen earlier."""
    return before is not None and before.steps[place].status in (
        StepStatus.COMPENSATING,
        StepStatus.COMPENSATION_FAILED,
    )


def _step(state: SagaState, sent: Sent) -> StepState:
    (step,) = [step for step in state.steps if step.name == sent.step]
    return step


def _attempts(state: SagaState) -> int:
    return sum(step.attempts + step.compensation_attempts + step.probes for step in state.steps)
