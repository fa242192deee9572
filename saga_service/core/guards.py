"""Guards of the table's rules: where a rule depends on more than the step's status, the reason why nothing is done."""

from __future__ import annotations

from collections.abc import Callable

from saga_service.core.draft import Reaction
from saga_service.core.pivot import can_only_go_forward
from saga_service.core.refusals import refusal_to_go_forward
from saga_service.core.state import StepState
from saga_service.core.transitions import Rule, Stimulus
from saga_service.core.vocabulary import (
    BACKWARD,
    DUE_PROBE_TIMEOUT,
    DUE_RETRY,
    DUE_TIMEOUT,
    FAILED,
    FORWARD,
    PENDING,
    SAGA_PAUSED,
)


def _against_rejection(reaction: Reaction, step: StepState) -> str | None:
    is_news = step.due is not None or reaction.attempt in step.unanswered
    return None if is_news else f"step '{step.name}' was given up on already"


def _against_resolving_as_failed(reaction: Reaction, step: StepState) -> str | None:
    draft = reaction.draft
    if draft.course is BACKWARD:
        if step.status is PENDING or step.status is FAILED:
            return f"step '{step.name}' is {step.status}, and the saga is compensating already"
        return None
    if can_only_go_forward(draft.definition, draft.steps, reaction.position, FAILED):
        return (
            f"step '{step.name}' cannot be given up on, for the saga can only go forward; "
            "retry it, skip it, or resolve it as succeeded"
        )
    return None


def _against_late_success(reaction: Reaction, step: StepState) -> str | None:
    by_probe = reaction.stimulus is Stimulus.PROBE_CONFIRMED
    in_doubt = bool(step.unanswered) if by_probe else reaction.attempt in step.unanswered
    # A step without a known effect has no place in the order of undoing.
    return None if in_doubt or step.effect_revision is None else f"step '{step.name}' is {step.status} already"


def _against_denial(reaction: Reaction, step: StepState) -> str | None:
    """A denial counts while a probe is under way, or after the last one. Another denial may be of an earlier doubt."""
    held = step.due is None and reaction.draft.course is FORWARD
    return None if held or step.due is DUE_PROBE_TIMEOUT else f"step '{step.name}' is not being probed now"


def _against_retrying_undo(_: Reaction, step: StepState) -> str | None:
    # An undo in flight and one that waits for its retry are both `compensating`; only the first can fail.
    return "the undo has failed already and waits for its next attempt" if step.due is DUE_RETRY else None


def _against_probing_again(_: Reaction, step: StepState) -> str | None:
    return None if step.due is DUE_PROBE_TIMEOUT else "the probe was answered already"


def _against_another_success(reaction: Reaction, step: StepState) -> str | None:
    # A first success is news even of an attempt that failed: delivered twice, it may have been carried out twice.
    is_news = reaction.attempt in step.unanswered or step.output is None
    return None if is_news else f"step '{step.name}' is {step.status} already"


def _against_extension(reaction: Reaction, step: StepState) -> str | None:
    """A sign of life is stored when a third of the allowed silence has passed, and not each time."""
    silence_ms, due_at_ms = reaction.defined().heartbeat_ms, step.due_at_ms
    if silence_ms is None or due_at_ms is None or step.deadline_ms is None:
        return "the step expects no signs of life"
    silent_from_ms = reaction.draft.now_ms + silence_ms
    if due_at_ms == step.deadline_ms:
        # The first sign; or a later one, so near to the deadline that it changes nothing.
        is_worth_a_write = silent_from_ms < step.deadline_ms
    else:
        # The deadline may cut the gain short: the step must not end as silent shortly before it.
        is_worth_a_write = (silent_from_ms - due_at_ms) * 3 >= silence_ms
    return None if is_worth_a_write else "the last sign of life came just now"


def _against_going_forward(reaction: Reaction, step: StepState) -> str | None:
    if reaction.draft.course is BACKWARD:
        return refusal_to_go_forward(reaction.draft.before, step.name)
    return None


def _against_trying_again(reaction: Reaction, step: StepState) -> str | None:
    if not step.attempts:
        return f"no attempt of step '{step.name}' was made that could be repeated; skip it, or resolve it"
    return _against_going_forward(reaction, step) or _against_sending(reaction, step)


def _against_trying_undo_again(reaction: Reaction, step: StepState) -> str | None:
    if step.due is DUE_TIMEOUT:
        return f"the undo of step '{step.name}' is under way"
    return _against_sending(reaction, step)


def _against_sending(reaction: Reaction, _: StepState) -> str | None:
    return "the saga is paused; resume it first" if reaction.draft.status is SAGA_PAUSED else None


def _against_undone(reaction: Reaction, step: StepState) -> str | None:
    by_hand = reaction.stimulus is Stimulus.RESOLVED_COMPENSATED
    if reaction.attempt is not None and reaction.attempt <= step.series_after:
        # It may be of an undo before a late success, whose effect it would leave.
        is_awaited = reaction.attempt == step.compensation_attempts and step.due is DUE_TIMEOUT
        return None if is_awaited else f"step '{step.name}' is being undone again, which decides"
    if by_hand and reaction.draft.course is not BACKWARD:
        return f"the saga is not compensating, and step '{step.name}' is not to be undone; cancel the saga first"
    return None


GUARDS: dict[Rule, Callable[[Reaction, StepState], str | None]] = {
    Rule.GIVE_UP: _against_rejection,
    Rule.RESOLVE_FAILED: _against_resolving_as_failed,
    Rule.RETRY_UNDO: _against_retrying_undo,
    Rule.PROBE_AGAIN: _against_probing_again,
    Rule.DENY: _against_denial,
    Rule.SUCCEED_LATE: _against_late_success,
    Rule.SUCCEED_AGAIN: _against_another_success,
    Rule.NOTE_SUCCESS: _against_another_success,
    Rule.EXTEND: _against_extension,
    Rule.TRY_AGAIN: _against_trying_again,
    Rule.TRY_UNDO_AGAIN: _against_trying_undo_again,
    Rule.SKIP: _against_going_forward,
    Rule.UNDONE: _against_undone,
    Rule.UNDONE_OR_REPEAT: _against_undone,
}
"""The rules that depend on more than the step's status, each with its guard: a function that gives the reason why the
rule does not apply, and None where it does."""
