"""The two halves of the machine: `react` to a stimulus by the table, and `evaluate` the saga after anything changed.

`react` is event-triggered: the status of the step and the stimulus choose the rule. `evaluate` is state-triggered: it
depends on how the saga is, and not on what has just happened. `transitions` has the tables of both.
"""

from __future__ import annotations

from saga_service.core.compensation import give_up_undo, undo_next
from saga_service.core.definition import ExpressionFailed
from saga_service.core.draft import Draft, Reaction
from saga_service.core.effects import Transition, refused, repeated
from saga_service.core.fault_codes import EXPRESSION_FAILED
from saga_service.core.forward import begin_next, give_up
from saga_service.core.guards import GUARDS
from saga_service.core.rules import RULES
from saga_service.core.state import Fault, StepState
from saga_service.core.transitions import (
    ALL_DONE,
    DIRECTION_OF,
    OPERATOR_STIMULI,
    STATUS_OF,
    STEP_RULES,
    UNDER_WAY,
    Rule,
    Stimulus,
)
from saga_service.core.vocabulary import COMPENSATING, FORWARD, SAGA_PAUSED


def react(reaction: Reaction) -> Transition | None:
    """Apply the table's rule and evaluate the saga. None when that was done; else a transition that says why not."""
    draft, stimulus = reaction.draft, reaction.stimulus
    step = draft.steps[reaction.position]
    rule = STEP_RULES[step.status, stimulus]
    apply = RULES.get(rule)
    if apply is None:
        return _unchanged(rule, draft, step, stimulus)
    guard = GUARDS.get(rule)
    reason = None if guard is None else guard(reaction, step)
    if reason is not None:
        return refused(draft.before, reason) if stimulus in OPERATOR_STIMULI else repeated(draft.before, reason)
    draft.revision += 1
    already_sent = len(draft.commands)
    try:
        apply(reaction)
    except ExpressionFailed as error:
        _cannot_be_sent(reaction, error)
    evaluate(draft)
    draft.record(
        stimulus._value_,
        step.name,
        DIRECTION_OF[stimulus],
        reaction.attempt,
        reaction.fault,
        already_sent,
        reaction.actor,
        reaction.reason,
    )
    return None


def evaluate(draft: Draft) -> None:
    """Send what comes next, and set the saga's status by the condition that it is in. A paused saga stays paused."""
    if draft.status is SAGA_PAUSED:
        return
    condition = begin_next(draft) if draft.course is FORWARD else undo_next(draft)
    draft.status = STATUS_OF[condition]
    if condition is UNDER_WAY or condition is ALL_DONE:
        draft.fault = None


def _unchanged(rule: Rule, draft: Draft, step: StepState, stimulus: Stimulus) -> Transition:
    if rule is Rule.REFUSE:
        happened = stimulus.replace("_", " ")
        return refused(draft.before, f"{happened} cannot happen to step '{step.name}', which is {step.status}")
    return repeated(draft.before, f"step '{step.name}' is {step.status} already")


def _cannot_be_sent(reaction: Reaction, error: ExpressionFailed) -> None:
    fault, step = Fault(EXPRESSION_FAILED, str(error)), reaction.step
    reaction.draft.note(EXPRESSION_FAILED, step.name, fault)
    if step.status is COMPENSATING:
        give_up_undo(reaction.draft, reaction.position, fault)
    else:
        give_up(reaction.draft, reaction.position, fault)
