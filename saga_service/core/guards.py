"""What stands against a rule of the table: where it depends on more than the step's status, why nothing is done."""

from __future__ import annotations

from collections.abc import Callable

from saga_service.core.pivot import must_not_turn
from saga_service.core.reaction import Reaction
from saga_service.core.step_draft import AnyStep
from saga_service.core.transitions import Rule, Stimulus
from saga_service.core.vocabulary import Course, Due, SagaStatus, StepStatus


def _when_given_up(reaction: Reaction, step: AnyStep) -> str | None:
    draft = reaction.draft
    if reaction.stimulus is Stimulus.ACTION_REJECTED:
        is_news = step.due is not None or reaction.attempt in step.unanswered
        return None if is_news else f"step '{step.name}' was given up on already"
    if draft.course is Course.BACKWARD:
        nothing_to_give_up = step.status in (StepStatus.PENDING, StepStatus.FAILED)
        return f"step '{step.name}' is {step.status}, and the saga is undoing already" if nothing_to_give_up else None
    if must_not_turn(draft.definition, draft.steps, reaction.position, StepStatus.FAILED):
        return (
            f"step '{step.name}' cannot be given up on, for the saga can only go forward; "
            "retry it, skip it, or resolve it as succeeded"
        )
    return None


def _when_let_stand(reaction: Reaction, step: AnyStep) -> str | None:
    by_probe = reaction.stimulus is Stimulus.PROBE_SUCCEEDED
    in_doubt = bool(step.unanswered) if by_probe else reaction.attempt in step.unanswered
    # What never took effect, as far as anybody knew, has no place in the order of undoing.
    return None if in_doubt or step.effect_revision is None else f"step '{step.name}' is {step.status} already"


def _when_not_asked(reaction: Reaction, step: AnyStep) -> str | None:
    """A denial counts while it is waited for, or where all asking is over. Another one may be of an earlier doubt."""
    held = step.due is None and reaction.draft.course is Course.FORWARD
    return None if held or step.due is Due.PROBE_TIMEOUT else f"step '{step.name}' is not being asked about now"


def _when_undo_waits(_: Reaction, step: AnyStep) -> str | None:
    # An undo in flight and one that waits for its retry are both `compensating`; only the first can fail.
    return "the undo has failed already and waits for its next attempt" if step.due is Due.RETRY else None


def _when_nobody_asks(_: Reaction, step: AnyStep) -> str | None:
    return None if step.due is Due.PROBE_TIMEOUT else "the question was answered already"


def _when_answered(reaction: Reaction, step: AnyStep) -> str | None:
    # A first success is news even of an attempt that failed: delivered twice, it may have been carried out twice.
    is_news = reaction.attempt in step.unanswered or step.output is None
    return None if is_news else f"step '{step.name}' is {step.status} already"


def _when_nobody_waits(reaction: Reaction, step: AnyStep) -> str | None:
    """A sign of life is written down when a third of the allowed silence has passed, and not each time."""
    silence_ms, due_at_ms = reaction.defined().heartbeat_ms, step.due_at_ms
    if silence_ms is None or due_at_ms is None or step.deadline_ms is None:
        return "nobody waits for signs of life"
    silent_from_ms = reaction.draft.now_ms + silence_ms
    if due_at_ms == step.deadline_ms:
        # The first sign; or a later one, so near to the deadline that it changes nothing.
        is_worth_a_write = silent_from_ms < step.deadline_ms
    else:
        # What the deadline takes of the gain is no less of a sign: it must not end as silence shortly before it.
        is_worth_a_write = (silent_from_ms - due_at_ms) * 3 >= silence_ms
    return None if is_worth_a_write else "the last sign of life was heard just now"


def _when_undoing(reaction: Reaction, step: AnyStep) -> str | None:
    if reaction.draft.course is Course.BACKWARD:
        return f"the saga is undoing; step '{step.name}' will not be done any more"
    return None


def _when_no_attempt_may_begin(reaction: Reaction, step: AnyStep) -> str | None:
    if not step.attempts:
        return f"no attempt of step '{step.name}' was made that could be repeated; skip it, or resolve it"
    return _when_undoing(reaction, step) or _when_paused(reaction, step)


def _when_no_undo_may_begin(reaction: Reaction, step: AnyStep) -> str | None:
    if step.due is Due.TIMEOUT:
        return f"the undo of step '{step.name}' is under way"
    return _when_paused(reaction, step)


def _when_paused(reaction: Reaction, _: AnyStep) -> str | None:
    return "the saga is paused; resume it first" if reaction.draft.status is SagaStatus.PAUSED else None


def _when_not_undoing(reaction: Reaction, step: AnyStep) -> str | None:
    by_hand = reaction.stimulus is Stimulus.RESOLVED_COMPENSATED
    if reaction.attempt is not None and reaction.attempt <= step.series_after:
        # Of an undo before a late success, perhaps: it would leave that one standing.
        is_awaited = reaction.attempt == step.compensation_attempts and step.due is Due.TIMEOUT
        return None if is_awaited else f"step '{step.name}' is being undone anew, which decides"
    if by_hand and reaction.draft.course is not Course.BACKWARD:
        return f"the saga is not undoing, and step '{step.name}' is not to be undone; cancel the saga first"
    return None


GUARDS: dict[Rule, Callable[[Reaction, AnyStep], str | None]] = {
    Rule.GIVE_UP: _when_given_up,
    Rule.RETRY_UNDO: _when_undo_waits,
    Rule.ASK_AGAIN: _when_nobody_asks,
    Rule.DENY: _when_not_asked,
    Rule.SUCCEED_LATE: _when_let_stand,
    Rule.SUCCEED_AGAIN: _when_answered,
    Rule.NOTE_SUCCESS: _when_answered,
    Rule.EXTEND: _when_nobody_waits,
    Rule.TRY_AGAIN: _when_no_attempt_may_begin,
    Rule.TRY_UNDO_AGAIN: _when_no_undo_may_begin,
    Rule.LEAVE_OUT: _when_undoing,
    Rule.UNDONE: _when_not_undoing,
}
"""Rules that look at more than the step's status; the reason why nothing is done, if there is one."""
