"""The rules of the table, one function each, and the one way to apply them."""

from __future__ import annotations

from collections.abc import Callable

from saga_service.core.children import CALLED_OFF, resend_child_request
from saga_service.core.definition import ExpressionFailed
from saga_service.core.draft import Draft
from saga_service.core.effects import Transition, refused, repeated
from saga_service.core.guards import GUARDS
from saga_service.core.ids import command_id
from saga_service.core.look import EXPRESSION_FAILED, finish, get_stuck, give_up, hold, proceed, take_signal
from saga_service.core.reaction import NO_REASON, NO_SIGNAL, NOBODY_KNOWS, Reaction
from saga_service.core.retry import RetryPolicy
from saga_service.core.state import Fault
from saga_service.core.step_draft import AnyStep
from saga_service.core.transitions import OPERATOR_STIMULI, STEP_RULES, Rule, Stimulus
from saga_service.core.vocabulary import ChildOperation, Course, Direction, Due, OnUnknown, SagaStatus, StepStatus, Task

# Looked up once, for an enum's own look-up runs Python code each time (until Python 3.12).
_PENDING, _DISPATCHED = StepStatus.PENDING, StepStatus.DISPATCHED
_UNKNOWN, _FAILED, _COMPENSATING = StepStatus.UNKNOWN, StepStatus.FAILED, StepStatus.COMPENSATING
_BACKWARD, _ACTION, _COMPENSATION = Course.BACKWARD, Direction.ACTION, Direction.COMPENSATION
_EFFECT_IS_KNOWN = frozenset(
    {StepStatus.SUCCEEDED, _COMPENSATING, StepStatus.COMPENSATED, StepStatus.COMPENSATION_FAILED}
)


def react(reaction: Reaction) -> Transition | None:
    """Apply the table's rule and let the saga look at itself; None when that was done, else why it was not."""
    draft, stimulus = reaction.draft, reaction.stimulus
    step = draft.steps[reaction.position]
    rule = STEP_RULES[step.status, stimulus]
    apply = _RULES.get(rule)
    if apply is None:
        return _unchanged(rule, draft, step, stimulus)
    stands_against = GUARDS.get(rule)
    reason = None if stands_against is None else stands_against(reaction, step)
    if reason is not None:
        return refused(draft.before, reason) if stimulus in OPERATOR_STIMULI else repeated(draft.before, reason)
    draft.revision += 1
    already_sent = len(draft.commands)
    try:
        apply(reaction)
    except ExpressionFailed as error:
        _cannot_be_sent(reaction, error)
    proceed(draft)
    event, direction = RECORDED_AS[stimulus]
    draft.record(
        event, step.name, direction, reaction.attempt, reaction.fault, already_sent, reaction.actor, reaction.reason
    )
    return None


RECORDED_AS: dict[Stimulus, tuple[str, Direction | None]] = {
    stimulus: (
        stimulus.name.lower(),
        next((each for each in Direction if stimulus.name.startswith(each.name)), None),
    )
    for stimulus in Stimulus
}
"""The event that a line of history names, and its direction."""


def _unchanged(rule: Rule, draft: Draft, step: AnyStep, stimulus: Stimulus) -> Transition:
    if rule is Rule.NEVER:
        return refused(draft.before, f"{stimulus} cannot happen to step '{step.name}', which is {step.status}")
    return repeated(draft.before, f"step '{step.name}' is {step.status} already")


def _cannot_be_sent(reaction: Reaction, error: ExpressionFailed) -> None:
    fault = Fault(EXPRESSION_FAILED, str(error))
    reaction.draft.note(EXPRESSION_FAILED, reaction.step().name, fault)
    if reaction.draft.steps[reaction.position].status is StepStatus.COMPENSATING:
        get_stuck(reaction.draft, reaction.position, fault)
    else:
        give_up(reaction.draft, reaction.position, fault)


# ---------------------------------------------------------------------------------------------------------- forward


def _succeed(reaction: Reaction) -> None:
    finish(reaction.draft, reaction.position, reaction.output)


def _succeed_again(reaction: Reaction) -> None:
    reaction.step().effect_revision = None
    _succeed(reaction)


def _note_success(reaction: Reaction) -> None:
    """An undo that was sent before this was known may have come before the effect. It counts no more: another one is
    sent once its worker is through with it."""
    step = reaction.step()
    step.output = reaction.output
    step.unanswered = ()
    step.series_after, step.series_since_ms = step.compensation_attempts, reaction.draft.now_ms


def _retry_failed(reaction: Reaction) -> None:
    delay_ms = _delay_ms(reaction, reaction.defined().retry)
    if delay_ms is None:
        give_up(reaction.draft, reaction.position, reaction.fault or NO_REASON)
    else:
        _wait(reaction, delay_ms)


def _wait(reaction: Reaction, delay_ms: int) -> None:
    step = reaction.step()
    step.status = _UNKNOWN if step.unanswered else _PENDING
    step.fault = reaction.fault
    step.stop_waiting()
    step.wait(Due.RETRY, reaction.draft.now_ms + delay_ms)


def _time_out(reaction: Reaction) -> None:
    step, defined = reaction.step(), reaction.defined()
    step.unanswered = (*step.unanswered, step.attempts)
    if reaction.draft.course is _BACKWARD:
        _give_up(reaction)
    elif defined.task is Task.CHILD and defined.on_unknown in CALLED_OFF:
        _call_off(reaction)
    else:
        _ON_UNKNOWN[defined.on_unknown](reaction)


def _call_off(reaction: Reaction) -> None:
    """A child saga is there until it ends, and its end says what happened. A second one beside it would be another
    effect, which one undo could not take back."""
    reaction.draft.commands.append(reaction.draft.child_request(reaction.position, ChildOperation.CANCEL))
    _hold(reaction)


def _call_off_what_is_there(reaction: Reaction) -> None:
    step = reaction.step()
    may_be_there = step.status is _DISPATCHED or bool(step.unanswered)
    if may_be_there and reaction.defined().task is Task.CHILD:
        reaction.draft.commands.append(reaction.draft.child_request(reaction.position, ChildOperation.CANCEL))


def _give_up(reaction: Reaction) -> None:
    if reaction.stimulus is Stimulus.RESOLVED_FAILED:
        # Somebody looked: whatever was in flight did not happen. A child that is still there must not happen either.
        _call_off_what_is_there(reaction)
        _leave_in_doubt(reaction)
    elif reaction.stimulus is Stimulus.ACTION_REJECTED:
        _note_failure(reaction)
    give_up(reaction.draft, reaction.position, reaction.fault or NO_REASON)


def _hold(reaction: Reaction) -> None:
    hold(reaction.draft, reaction.position, reaction.fault or NOBODY_KNOWS)


def _probe(reaction: Reaction) -> None:
    step = reaction.step()
    step.status = _UNKNOWN
    step.fault = reaction.fault or step.fault
    # The deadline of the attempt is not that of the question.
    step.stop_waiting()
    if reaction.draft.status is SagaStatus.PAUSED:
        step.wait(Due.PROBE_RETRY, reaction.draft.now_ms)
    else:
        reaction.draft.dispatch_probe(reaction.position)


_ON_UNKNOWN: dict[OnUnknown, Callable[[Reaction], None]] = {
    OnUnknown.RETRY: _retry_failed,
    OnUnknown.PROBE: _probe,
    OnUnknown.COMPENSATE: _give_up,
    OnUnknown.HOLD: _hold,
}


def _ask_again(reaction: Reaction) -> None:
    """With the same waits as between attempts, and as often for each attempt."""
    step, policy = reaction.step(), reaction.defined().retry
    if step.probes >= policy.attempts_max * step.attempts:
        hold(reaction.draft, reaction.position, reaction.fault or NOBODY_KNOWS)
        return
    delay_ms = reaction.retry_after_ms
    if delay_ms is None:
        asked = command_id(reaction.draft.before.id, step.name, Direction.PROBE, step.probes)
        delay_ms = policy.delay_after_ms(step.probes, asked)
    step.fault = reaction.fault
    step.stop_waiting()
    step.wait(Due.PROBE_RETRY, reaction.draft.now_ms + delay_ms)


def _deny(reaction: Reaction) -> None:
    _leave_in_doubt(reaction)
    _it_did_not_happen(reaction)


def _note_failure(reaction: Reaction) -> None:
    _leave_in_doubt(reaction, *(attempt for attempt in reaction.step().unanswered if attempt != reaction.attempt))


def _leave_in_doubt(reaction: Reaction, *attempts: int) -> None:
    """Only these. What has no doubt left, and is not known to have happened, has no place in the order of undoing."""
    step = reaction.step()
    step.unanswered = attempts
    if not attempts and step.status not in _EFFECT_IS_KNOWN:
        step.effect_revision = None


def _settle(reaction: Reaction) -> None:
    _note_failure(reaction)
    if not reaction.step().unanswered:
        _it_did_not_happen(reaction)


def _it_did_not_happen(reaction: Reaction) -> None:
    """Of none of the attempts so far is anything in doubt any more."""
    step = reaction.step()
    if step.due is Due.RETRY:
        step.status = _PENDING
    elif reaction.draft.course is _BACKWARD:
        step.status = _FAILED
    elif step.due is None and step.ended_at_ms is not None:
        # It was given up on, and only the doubt kept the saga from turning round.
        give_up(reaction.draft, reaction.position, step.fault or NO_REASON)
    else:
        _retry_failed(reaction)


def _dispatch(reaction: Reaction) -> None:
    if _is_too_late(reaction, reaction.defined().retry):
        give_up(reaction.draft, reaction.position, reaction.step().fault or NO_REASON)
    else:
        reaction.draft.dispatch(reaction.position)


def _extend(reaction: Reaction) -> None:
    step, silence_ms = reaction.step(), reaction.defined().heartbeat_ms
    assert silence_ms is not None, "somebody waits for signs of life"
    assert step.deadline_ms is not None, "of what is in flight"
    step.due_at_ms = min(reaction.draft.now_ms + silence_ms, step.deadline_ms)


def _take_signal(reaction: Reaction) -> None:
    take_signal(reaction.draft, reaction.position)


def _wait_over(reaction: Reaction) -> None:
    defined = reaction.defined()
    if defined.task is Task.SLEEP:
        finish(reaction.draft, reaction.position, None)
    elif defined.default is not None:
        finish(reaction.draft, reaction.position, defined.default)
    else:
        reaction.fault = NO_SIGNAL
        give_up(reaction.draft, reaction.position, NO_SIGNAL)


# --------------------------------------------------------------------------------------------------------- backward


def _undone(reaction: Reaction) -> None:
    step = reaction.step()
    if reaction.attempt is not None and reaction.attempt <= step.series_after:
        # It was sent before the success was known.
        step.stop_waiting()
        step.wait(Due.RETRY, reaction.draft.now_ms)
        return
    step.status = StepStatus.COMPENSATED
    step.stop_waiting()
    step.ended_at_ms = reaction.draft.now_ms


def _retry_undo(reaction: Reaction) -> None:
    delay_ms = _delay_ms(reaction, reaction.defined().compensation_retry)
    if delay_ms is None:
        _get_stuck(reaction)
        return
    step = reaction.step()
    step.fault = reaction.fault
    step.stop_waiting()
    step.wait(Due.RETRY, reaction.draft.now_ms + delay_ms)


def _get_stuck(reaction: Reaction) -> None:
    get_stuck(reaction.draft, reaction.position, reaction.fault or NO_REASON)


def _dispatch_undo(reaction: Reaction) -> None:
    if _is_too_late(reaction, reaction.defined().compensation_retry):
        get_stuck(reaction.draft, reaction.position, reaction.step().fault or NO_REASON)
    else:
        reaction.draft.dispatch_undo(reaction.position)


# ------------------------------------------------------------------------------------------------- a person's word


def _try_again(reaction: Reaction) -> None:
    step = reaction.step()
    if step.unanswered and reaction.defined().task is Task.CHILD:
        # Its end says what happened, and what it was asked, or what it answered, may be lost.
        reaction.draft.commands += resend_child_request(reaction.draft, reaction.position)
        return
    step.series_after, step.series_since_ms = step.attempts, reaction.draft.now_ms
    reaction.draft.dispatch(reaction.position)


def _try_undo_again(reaction: Reaction) -> None:
    step = reaction.step()
    step.series_after, step.series_since_ms = step.compensation_attempts, reaction.draft.now_ms
    step.status = StepStatus.COMPENSATING
    reaction.draft.dispatch_undo(reaction.position)


def _leave_out(reaction: Reaction) -> None:
    step = reaction.step()
    if step.status is _DISPATCHED:
        step.unanswered = (*step.unanswered, step.attempts)
    if step.unanswered:
        step.effect_revision = step.effect_revision or reaction.draft.revision
    _skip(reaction)


def _leave_standing(reaction: Reaction) -> None:
    # Somebody decided that it may stand, so whether it really happened matters no more.
    reaction.step().unanswered = ()
    _skip(reaction)


def _skip(reaction: Reaction) -> None:
    step = reaction.step()
    step.status = StepStatus.SKIPPED
    step.stop_waiting()
    step.ended_at_ms = reaction.draft.now_ms


_RULES: dict[Rule, Callable[[Reaction], None]] = {
    Rule.SUCCEED: _succeed,
    Rule.SUCCEED_LATE: _succeed,
    Rule.SUCCEED_AGAIN: _succeed_again,
    Rule.NOTE_SUCCESS: _note_success,
    Rule.RETRY_FAILED: _retry_failed,
    Rule.TIME_OUT: _time_out,
    Rule.NOTE_FAILURE: _note_failure,
    Rule.SETTLE: _settle,
    Rule.GIVE_UP: _give_up,
    Rule.DISPATCH: _dispatch,
    Rule.EXTEND: _extend,
    Rule.DENY: _deny,
    Rule.ASK_AGAIN: _ask_again,
    Rule.PROBE: _probe,
    Rule.UNDONE: _undone,
    Rule.RETRY_UNDO: _retry_undo,
    Rule.GET_STUCK: _get_stuck,
    Rule.DISPATCH_UNDO: _dispatch_undo,
    Rule.TAKE_SIGNAL: _take_signal,
    Rule.WAIT_OVER: _wait_over,
    Rule.TRY_AGAIN: _try_again,
    Rule.TRY_UNDO_AGAIN: _try_undo_again,
    Rule.LEAVE_OUT: _leave_out,
    Rule.LEAVE_STANDING: _leave_standing,
}


def _delay_ms(reaction: Reaction, policy: RetryPolicy) -> int | None:
    """The wait before the next attempt; None where there is none."""
    step, draft = reaction.step(), reaction.draft
    undo = step.status is _COMPENSATING
    if draft.course is _BACKWARD and not undo:
        return None
    attempt = step.compensation_attempts if undo else step.attempts
    tried = attempt - step.series_after
    pointless = reaction.fault is not None and reaction.fault.code in policy.never_retry
    if pointless or tried >= policy.attempts_max:
        return None
    delay_ms = reaction.retry_after_ms
    if delay_ms is None:
        failed = command_id(draft.before.id, step.name, _COMPENSATION if undo else _ACTION, attempt)
        delay_ms = policy.delay_after_ms(max(tried, 1), failed)
    return None if _is_too_late(reaction, policy, delay_ms) else delay_ms


def _is_too_late(reaction: Reaction, policy: RetryPolicy, delay_ms: int = 0) -> bool:
    """Whether an attempt that begins after this wait would be beyond the policy's budget."""
    step = reaction.step()
    since_ms = step.series_since_ms or step.started_at_ms
    if policy.budget_ms is None or since_ms is None:
        return False
    return reaction.draft.now_ms + delay_ms > since_ms + policy.budget_ms
