"""A saga's look at itself: after anything has changed it sends what comes next, turns round, or ends."""

from __future__ import annotations

from collections.abc import Sequence

from saga_service.core.definition import Definition, ExpressionFailed
from saga_service.core.draft import Draft
from saga_service.core.pivot import must_not_turn
from saga_service.core.state import Fault, JsonObject
from saga_service.core.step_draft import AnyStep
from saga_service.core.transitions import STATUS_OF, Finding
from saga_service.core.vocabulary import ChildOperation, Course, Due, SagaStatus, StepStatus, Task, UndoOrder

# Looked up once, for an enum's own look-up runs Python code each time (until Python 3.12).
_PENDING, _DISPATCHED, _WAITING = StepStatus.PENDING, StepStatus.DISPATCHED, StepStatus.WAITING
_SUCCEEDED, _FAILED, _UNKNOWN, _SKIPPED = (
    StepStatus.SUCCEEDED,
    StepStatus.FAILED,
    StepStatus.UNKNOWN,
    StepStatus.SKIPPED,
)
_COMPENSATING, _COMPENSATION_FAILED = StepStatus.COMPENSATING, StepStatus.COMPENSATION_FAILED
_PAUSED, _FORWARD, _BACKWARD = SagaStatus.PAUSED, Course.FORWARD, Course.BACKWARD
_CHILD, _SLEEP, _SIGNAL = Task.CHILD, Task.SLEEP, Task.SIGNAL
_UNDER_WAY, _ALL_DONE = Finding.UNDER_WAY, Finding.ALL_DONE

LEFT_OUT, EXPRESSION_FAILED = "left_out", "expression_failed"
"""What history calls it where a condition does not hold, or where what a step is to be sent cannot be worked out."""
NOTED = (LEFT_OUT, EXPRESSION_FAILED)


def proceed(draft: Draft) -> None:
    """Look, send what comes next, and be what was found."""
    if draft.status is _PAUSED:
        return
    finding = _forward(draft) if draft.course is _FORWARD else _backward(draft)
    draft.status = STATUS_OF[finding]
    if finding is _UNDER_WAY or finding is _ALL_DONE:
        draft.fault = None


# ----------------------------------------------------------------------------------------------------------- forward


def _forward(draft: Draft) -> Finding:
    # What is parked left its fault; a saga that goes well has none, and need not look for it.
    if draft.fault is not None and _tells_what_is_parked(draft):
        return Finding.PARKED
    looks_again = True
    while looks_again:
        looks_again = False
        all_done = True
        for position, step in enumerate(draft.steps):
            status = step.status
            if status is _SUCCEEDED or status is _SKIPPED:
                continue
            all_done = False
            if status is _PENDING and step.due is None and _may_begin(draft, position):
                try:
                    looks_again |= _begin(draft, position)
                except ExpressionFailed as error:
                    fault = Fault(EXPRESSION_FAILED, str(error))
                    draft.note(EXPRESSION_FAILED, step.name, fault)
                    give_up(draft, position, fault)
                    return Finding.PARKED if draft.course is _FORWARD else _backward(draft)
    return _ALL_DONE if all_done else _UNDER_WAY


def _tells_what_is_parked(draft: Draft) -> bool:
    """Whether something is; the saga's fault then speaks of what still is."""
    parked = [step for step in draft.steps if is_parked(step)]
    told = None if draft.fault is None else draft.fault.step
    if parked and told not in [step.name for step in parked]:
        first = parked[0]
        assert first.fault is not None, "what is parked says why"
        draft.fault = Fault(first.fault.code, first.fault.message, step=first.name)
    return bool(parked)


def is_parked(step: AnyStep) -> bool:
    """Of a saga that goes forward: nothing happens to this step until a person, or a late answer, says something."""
    return (step.status is _UNKNOWN and step.due is None) or step.status is _FAILED


def _may_begin(draft: Draft, position: int) -> bool:
    steps = draft.steps
    for before in draft.definition.predecessors[position]:
        status = steps[before].status
        if status is not _SUCCEEDED and status is not _SKIPPED:
            return False
    return True


def _begin(draft: Draft, position: int) -> bool:
    """Whether it was done or left out at once, so that what waits for it may begin."""
    defined = draft.definition.steps[position]
    if defined.when is not None and not defined.when.evaluate(draft.variables(position)):
        step = draft.open(position)
        step.status = _SKIPPED
        step.ended_at_ms = draft.now_ms
        draft.note(LEFT_OUT, step.name)
        return True
    if defined.task is _SLEEP:
        _wait(draft, position, Due.SLEEP)
        return False
    if defined.task is _SIGNAL:
        _wait(draft, position, Due.SIGNAL)
        return take_signal(draft, position)
    draft.dispatch(position)
    return False


def _wait(draft: Draft, position: int, due: Due) -> None:
    step = draft.open(position)
    step.status = _WAITING
    step.started_at_ms = draft.now_ms
    step.wait(due, draft.now_ms + draft.definition.steps[position].timeout_ms)


def take_signal(draft: Draft, position: int) -> bool:
    """Let a waiting step take the oldest signal of its name that no step has taken; whether there is one."""
    name = draft.definition.steps[position].action
    for place, signal in enumerate(draft.signals):
        if signal.name == name and signal.data is not None:
            # Its id stays, so that a repeat is known.
            draft.signals = (*draft.signals[:place], signal._replace(data=None), *draft.signals[place + 1 :])
            finish(draft, position, signal.data)
            return True
    return False


def finish(draft: Draft, position: int, output: JsonObject | None) -> None:
    """The step is done."""
    step = draft.open(position)
    step.status = _SUCCEEDED
    step.effect_revision = step.effect_revision or draft.revision
    step.output = output
    step.unanswered = ()
    step.fault = None
    step.stop_waiting()
    step.ended_at_ms = draft.now_ms


# --------------------------------------------------------------------------------------------------------- turn round


def give_up(draft: Draft, position: int, fault: Fault) -> None:
    """No more attempts of this step. The saga turns round, unless it must not."""
    step = draft.open(position)
    step.status = _UNKNOWN if step.unanswered else _FAILED
    if step.unanswered:
        step.effect_revision = step.effect_revision or draft.revision
    step.fault = fault
    step.stop_waiting()
    step.ended_at_ms = draft.now_ms
    if draft.course is _BACKWARD:
        return
    draft.fault = Fault(fault.code, fault.message, step=step.name)
    if not must_not_turn(draft.definition, draft.steps, position, step.status):
        start_compensating(draft)


def hold(draft: Draft, position: int, fault: Fault) -> None:
    """It may have happened: wait for a late reply, or for a person."""
    step = draft.open(position)
    step.status = _UNKNOWN
    step.effect_revision = step.effect_revision or draft.revision
    step.fault = fault
    step.stop_waiting()
    draft.fault = Fault(fault.code, fault.message, step=step.name)


def start_compensating(draft: Draft) -> None:
    """From here on the saga undoes. What waits is given up on at once, what is in flight is awaited."""
    draft.course = _BACKWARD
    for position, step in enumerate(draft.steps):
        if step.status is _WAITING:
            waiting = draft.open(position)
            waiting.status = _SKIPPED
            waiting.stop_waiting()
            waiting.ended_at_ms = draft.now_ms
        elif step.status in (_PENDING, _UNKNOWN):
            _give_up_waiting(draft, position)
        elif step.status is _DISPATCHED and draft.definition.steps[position].task is _CHILD:
            draft.commands.append(draft.child_request(position, ChildOperation.CANCEL))


def _give_up_waiting(draft: Draft, position: int) -> None:
    if draft.steps[position].due is None:
        return
    step = draft.open(position)
    if step.unanswered:
        step.status = _UNKNOWN
        step.effect_revision = step.effect_revision or draft.revision
    elif step.attempts:
        step.status = _FAILED
    step.stop_waiting()
    step.ended_at_ms = draft.now_ms


# ---------------------------------------------------------------------------------------------------------- backward


def _backward(draft: Draft) -> Finding:
    statuses = [step.status for step in draft.steps]
    if _DISPATCHED in statuses:
        return Finding.UNDOING
    if _COMPENSATION_FAILED in statuses:
        return Finding.PARKED
    for position in next_undos(draft.definition, draft.steps):
        try:
            draft.dispatch_undo(position)
        except ExpressionFailed as error:
            fault = Fault(EXPRESSION_FAILED, str(error))
            draft.note(EXPRESSION_FAILED, draft.steps[position].name, fault)
            get_stuck(draft, position, fault)
            return Finding.PARKED
    undoing = any(step.status is _COMPENSATING for step in draft.steps)
    return Finding.UNDOING if undoing else Finding.ALL_UNDONE


def get_stuck(draft: Draft, position: int, fault: Fault) -> None:
    """No more attempts of this undo. Why the saga turned round is still why: the step has its own fault."""
    step = draft.open(position)
    step.status = _COMPENSATION_FAILED
    step.fault = fault
    step.stop_waiting()


def next_undos(definition: Definition, steps: Sequence[AnyStep]) -> list[int]:
    """Positions of the steps that are to be undone now."""
    left = standing(definition, steps)
    under_way = [position for position, step in enumerate(steps) if step.status is _COMPENSATING]
    if definition.undo is UndoOrder.REVERSE:
        return [] if under_way else left[:1]
    owed = {*left, *under_way}
    return [position for position in left if owed.isdisjoint(definition.descendants[position])]


def may_have_effect(step: AnyStep) -> bool:
    """Whether the step has had an effect, as far as anybody knows, that nothing has been done about. Going on without a
    step leaves its doubts; letting its effect stand does not."""
    return step.status is _SUCCEEDED or step.status is _UNKNOWN or (step.status is _SKIPPED and bool(step.unanswered))


def standing(definition: Definition, steps: Sequence[AnyStep]) -> list[int]:
    """Positions of the steps whose effect stands, or may stand, and can be undone; the latest effect first."""
    found = [
        position
        for position, step in enumerate(steps)
        if definition.steps[position].is_undoable and may_have_effect(step)
    ]
    # Of two that took effect in one transition the later one in the graph comes first.
    return sorted(found, key=lambda position: (steps[position].effect_revision or 0, position), reverse=True)
