"""The rules of the table, one function each, in the order of `Rule`.

A rule changes its own step, and leaves to the evaluation what follows for the rest of the saga. Only giving up reaches
further: with it the saga may start compensating.
"""

from __future__ import annotations

from collections.abc import Callable

from saga_service.core.child_repeats import CALLED_OFF
from saga_service.core.children import call_off, resend_child_request
from saga_service.core.compensation import dispatch_undo, give_up_undo
from saga_service.core.draft import Reaction
from saga_service.core.fault_codes import FAILED as FAILED_CODE
from saga_service.core.fault_codes import OUTCOME_UNKNOWN, SIGNAL_TIMED_OUT
from saga_service.core.forward import dispatch, dispatch_probe, finish, give_up, give_up_done, hold, take_signal
from saga_service.core.ids import command_id
from saga_service.core.retry import RetryPolicy
from saga_service.core.state import Fault
from saga_service.core.transitions import Rule
from saga_service.core.vocabulary import (
    ACTION,
    BACKWARD,
    CHILD,
    COMPENSATED,
    COMPENSATING,
    COMPENSATION,
    COMPENSATION_FAILED,
    DISPATCHED,
    DUE_PROBE_RETRY,
    DUE_RETRY,
    FAILED,
    PENDING,
    PROBE,
    SAGA_PAUSED,
    SKIPPED,
    SLEEP,
    SUCCEEDED,
    UNKNOWN,
    OnUnknown,
)

_NO_SIGNAL = Fault(SIGNAL_TIMED_OUT, "the signal did not come in time")
_NOBODY_KNOWS = Fault(OUTCOME_UNKNOWN, "it is not known whether it happened")
_NO_REASON = Fault(FAILED_CODE, "the worker gave no reason")
_EFFECT_IS_KNOWN = frozenset({SUCCEEDED, COMPENSATING, COMPENSATED, COMPENSATION_FAILED})


def _succeed(reaction: Reaction) -> None:
    finish(reaction.draft, reaction.position, reaction.output)


def _succeed_again(reaction: Reaction) -> None:
    reaction.put(reaction.step._replace(effect_revision=None))
    _succeed(reaction)


def _note_success(reaction: Reaction) -> None:
    """An undo that was sent before this success was known may have come before the effect. It does not count: another
    one is sent once its worker has answered."""
    step = reaction.step
    reaction.put(
        step._replace(
            output=reaction.output,
            unanswered=(),
            series_after=step.compensation_attempts,
            series_since_ms=reaction.draft.now_ms,
        )
    )


def _retry_failed(reaction: Reaction) -> None:
    delay_ms = _delay_ms(reaction, reaction.defined().retry)
    if delay_ms is None:
        give_up(reaction.draft, reaction.position, reaction.fault or _NO_REASON)
        return
    step = reaction.step
    waiting = step.waiting(DUE_RETRY, reaction.draft.now_ms + delay_ms)
    reaction.put(waiting._replace(status=UNKNOWN if step.unanswered else PENDING, fault=reaction.fault))


def _time_out(reaction: Reaction) -> None:
    step, defined = reaction.step, reaction.defined()
    reaction.put(step._replace(unanswered=(*step.unanswered, step.attempts)))
    if reaction.draft.course is BACKWARD:
        _give_up(reaction)
    elif defined.task is CHILD and defined.on_unknown in CALLED_OFF:
        _call_off(reaction)
    else:
        _ON_UNKNOWN[defined.on_unknown](reaction)


def _call_off(reaction: Reaction) -> None:
    """A child saga is there until it ends, and its end says what happened. A second one beside it would be another
    effect, which one undo could not take back."""
    call_off(reaction.draft, reaction.position)
    _hold(reaction)


def _note_failure(reaction: Reaction) -> None:
    unanswered = reaction.step.unanswered
    _keep_unanswered(reaction, tuple([attempt for attempt in unanswered if attempt != reaction.attempt]))


def _keep_unanswered(reaction: Reaction, attempts: tuple[int, ...]) -> None:
    """Forget all other unanswered attempts. A step without any, and without a known effect, has no place in the order
    of undoing."""
    step = reaction.step
    has_effect = bool(attempts) or step.status in _EFFECT_IS_KNOWN
    reaction.put(step._replace(unanswered=attempts, effect_revision=step.effect_revision if has_effect else None))


def _settle(reaction: Reaction) -> None:
    _note_failure(reaction)
    if not reaction.step.unanswered:
        _it_did_not_happen(reaction)


def _it_did_not_happen(reaction: Reaction) -> None:
    """Every attempt so far is known to have had no effect."""
    step = reaction.step
    if step.due is DUE_RETRY:
        reaction.put(step._replace(status=PENDING))
    elif reaction.draft.course is BACKWARD:
        reaction.put(step._replace(status=FAILED))
    elif step.due is None and step.ended_at_ms is not None:
        # It was given up on, and only the doubt kept the saga from compensating.
        give_up(reaction.draft, reaction.position, step.fault or _NO_REASON)
    else:
        _retry_failed(reaction)


def _give_up(reaction: Reaction) -> None:
    give_up(reaction.draft, reaction.position, reaction.fault or _NO_REASON)


def _give_up_rejected(reaction: Reaction) -> None:
    _note_failure(reaction)
    _give_up(reaction)


def _give_up_done(reaction: Reaction) -> None:
    assert reaction.attempt is not None, "a reply names its attempt"
    assert reaction.fault is not None, "a reply whose output cannot be used says why"
    give_up_done(reaction.draft, reaction.position, reaction.attempt, reaction.fault)


def _resolve_failed(reaction: Reaction) -> None:
    """Somebody looked: whatever was in flight did not happen. A child that may still be there is called off."""
    step = reaction.step
    if reaction.defined().task is CHILD and (step.status is DISPATCHED or step.unanswered):
        call_off(reaction.draft, reaction.position)
    _keep_unanswered(reaction, ())
    _give_up(reaction)


def _dispatch(reaction: Reaction) -> None:
    if _is_too_late(reaction, reaction.defined().retry):
        give_up(reaction.draft, reaction.position, reaction.step.fault or _NO_REASON)
    else:
        dispatch(reaction.draft, reaction.position)


def _extend(reaction: Reaction) -> None:
    step, silence_ms = reaction.step, reaction.defined().heartbeat_ms
    assert silence_ms is not None, "the step expects signs of life"
    assert step.deadline_ms is not None, "a command in flight has a deadline"
    reaction.put(step._replace(due_at_ms=min(reaction.draft.now_ms + silence_ms, step.deadline_ms)))


def _deny(reaction: Reaction) -> None:
    _keep_unanswered(reaction, ())
    _it_did_not_happen(reaction)


def _probe_again(reaction: Reaction) -> None:
    """Probes have the same waits as attempts, and for each attempt as many."""
    step, policy = reaction.step, reaction.defined().retry
    if step.probes >= policy.attempts_max * step.attempts:
        _hold(reaction)
        return
    delay_ms = reaction.retry_after_ms
    if delay_ms is None:
        probe = command_id(reaction.draft.before.id, step.name, PROBE, step.probes)
        delay_ms = policy.delay_after_ms(step.probes, probe)
    reaction.put(step.waiting(DUE_PROBE_RETRY, reaction.draft.now_ms + delay_ms)._replace(fault=reaction.fault))


def _hold(reaction: Reaction) -> None:
    hold(reaction.draft, reaction.position, reaction.fault or _NOBODY_KNOWS)


def _probe(reaction: Reaction) -> None:
    step = reaction.step
    # The deadline of the attempt is not that of the probe.
    waiting = step.waiting(DUE_PROBE_RETRY, reaction.draft.now_ms)
    reaction.put(waiting._replace(status=UNKNOWN, fault=reaction.fault or step.fault))
    if reaction.draft.status is not SAGA_PAUSED:
        dispatch_probe(reaction.draft, reaction.position)


_ON_UNKNOWN: dict[OnUnknown, Callable[[Reaction], None]] = {
    OnUnknown.RETRY: _retry_failed,
    OnUnknown.PROBE: _probe,
    OnUnknown.COMPENSATE: _give_up,
    OnUnknown.HOLD: _hold,
}


def _undone(reaction: Reaction) -> None:
    reaction.put(reaction.step.ended(COMPENSATED, reaction.draft.now_ms))


def _undone_or_repeat(reaction: Reaction) -> None:
    step = reaction.step
    if reaction.attempt is not None and reaction.attempt <= step.series_after:
        # It was sent before the success was known.
        reaction.put(step.waiting(DUE_RETRY, reaction.draft.now_ms))
    else:
        _undone(reaction)


def _retry_undo(reaction: Reaction) -> None:
    delay_ms = _delay_ms(reaction, reaction.defined().compensation_retry)
    if delay_ms is None:
        _give_up_undo(reaction)
        return
    waiting = reaction.step.waiting(DUE_RETRY, reaction.draft.now_ms + delay_ms)
    reaction.put(waiting._replace(fault=reaction.fault))


def _give_up_undo(reaction: Reaction) -> None:
    give_up_undo(reaction.draft, reaction.position, reaction.fault or _NO_REASON)


def _dispatch_undo(reaction: Reaction) -> None:
    if _is_too_late(reaction, reaction.defined().compensation_retry):
        give_up_undo(reaction.draft, reaction.position, reaction.step.fault or _NO_REASON)
    else:
        dispatch_undo(reaction.draft, reaction.position)


def _take_signal(reaction: Reaction) -> None:
    take_signal(reaction.draft, reaction.position)


def _end_wait(reaction: Reaction) -> None:
    defined = reaction.defined()
    if defined.task is SLEEP:
        finish(reaction.draft, reaction.position, None)
    elif defined.default is not None:
        # When the definition was read, the default was found to fit.
        finish(reaction.draft, reaction.position, defined.read_output(defined.default))
    else:
        reaction.fault = _NO_SIGNAL
        give_up(reaction.draft, reaction.position, _NO_SIGNAL)


def _try_again(reaction: Reaction) -> None:
    step = reaction.step
    if step.unanswered and reaction.defined().task is CHILD:
        # Its end says what happened, and the request to it, or its reply, may be lost.
        reaction.draft.commands += resend_child_request(reaction.draft, reaction.position)
        return
    reaction.put(step._replace(series_after=step.attempts, series_since_ms=reaction.draft.now_ms))
    dispatch(reaction.draft, reaction.position)


def _try_undo_again(reaction: Reaction) -> None:
    step = reaction.step
    reaction.put(
        step._replace(
            status=COMPENSATING, series_after=step.compensation_attempts, series_since_ms=reaction.draft.now_ms
        )
    )
    dispatch_undo(reaction.draft, reaction.position)


def _skip(reaction: Reaction) -> None:
    step, draft = reaction.step, reaction.draft
    unanswered = (*step.unanswered, step.attempts) if step.status is DISPATCHED else step.unanswered
    revision = (step.effect_revision or draft.revision) if unanswered else step.effect_revision
    skipped = step.ended(SKIPPED, draft.now_ms)
    reaction.put(skipped._replace(unanswered=unanswered, effect_revision=revision))


def _let_effect_stay(reaction: Reaction) -> None:
    # A person decided that it may stay, so whether it really happened matters no more.
    reaction.put(reaction.step.ended(SKIPPED, reaction.draft.now_ms)._replace(unanswered=()))


RULES: dict[Rule, Callable[[Reaction], None]] = {
    Rule.SUCCEED: _succeed,
    Rule.SUCCEED_LATE: _succeed,
    Rule.SUCCEED_AGAIN: _succeed_again,
    Rule.NOTE_SUCCESS: _note_success,
    Rule.RETRY_FAILED: _retry_failed,
    Rule.TIME_OUT: _time_out,
    Rule.NOTE_FAILURE: _note_failure,
    Rule.SETTLE: _settle,
    Rule.GIVE_UP: _give_up_rejected,
    Rule.GIVE_UP_DONE: _give_up_done,
    Rule.RESOLVE_FAILED: _resolve_failed,
    Rule.DISPATCH: _dispatch,
    Rule.EXTEND: _extend,
    Rule.DENY: _deny,
    Rule.PROBE_AGAIN: _probe_again,
    Rule.PROBE: _probe,
    Rule.UNDONE: _undone,
    Rule.UNDONE_OR_REPEAT: _undone_or_repeat,
    Rule.RETRY_UNDO: _retry_undo,
    Rule.GIVE_UP_UNDO: _give_up_undo,
    Rule.DISPATCH_UNDO: _dispatch_undo,
    Rule.TAKE_SIGNAL: _take_signal,
    Rule.END_WAIT: _end_wait,
    Rule.TRY_AGAIN: _try_again,
    Rule.TRY_UNDO_AGAIN: _try_undo_again,
    Rule.SKIP: _skip,
    Rule.LET_EFFECT_STAY: _let_effect_stay,
}
"""The function of each rule; `IGNORE` and `REFUSE` have none. Each may raise ExpressionFailed."""


def _delay_ms(reaction: Reaction, policy: RetryPolicy) -> int | None:
    """The wait before the next attempt; None where there is none."""
    step, draft = reaction.step, reaction.draft
    undo = step.status is COMPENSATING
    if draft.course is BACKWARD and not undo:
        return None
    attempt = step.compensation_attempts if undo else step.attempts
    tried = attempt - step.series_after
    pointless = reaction.fault is not None and reaction.fault.code in policy.never_retry
    if pointless or tried >= policy.attempts_max:
        return None
    delay_ms = reaction.retry_after_ms
    if delay_ms is None:
        failed = command_id(draft.before.id, step.name, COMPENSATION if undo else ACTION, attempt)
        delay_ms = policy.delay_after_ms(max(tried, 1), failed)
    return None if _is_too_late(reaction, policy, delay_ms) else delay_ms


def _is_too_late(reaction: Reaction, policy: RetryPolicy, delay_ms: int = 0) -> bool:
    """Whether an attempt that begins after this wait would be beyond the policy's budget."""
    step = reaction.step
    since_ms = step.series_since_ms or step.started_at_ms
    if policy.budget_ms is None or since_ms is None:
        return False
    return reaction.draft.now_ms + delay_ms > since_ms + policy.budget_ms
