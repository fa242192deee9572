"""What the time does: a command that was not answered, a wait that is over, the saga's own deadline."""

from __future__ import annotations

from saga_service.core.definition import Definition
from saga_service.core.draft import Draft
from saga_service.core.effects import Transition, repeated
from saga_service.core.look import proceed, start_compensating
from saga_service.core.reaction import SILENT, TIMED_OUT, Reaction
from saga_service.core.rules import react
from saga_service.core.state import Fault, SagaState, StepState
from saga_service.core.step_draft import StepDraft
from saga_service.core.transitions import Stimulus
from saga_service.core.vocabulary import Due, StepStatus

_STIMULI: dict[tuple[bool, Due], Stimulus] = {
    (False, Due.TIMEOUT): Stimulus.ACTION_TIMED_OUT,
    (False, Due.RETRY): Stimulus.ACTION_RETRY_DUE,
    (False, Due.PROBE_TIMEOUT): Stimulus.PROBE_TIMED_OUT,
    (False, Due.PROBE_RETRY): Stimulus.PROBE_RETRY_DUE,
    (False, Due.SLEEP): Stimulus.WAIT_OVER,
    (False, Due.SIGNAL): Stimulus.WAIT_OVER,
    (True, Due.TIMEOUT): Stimulus.COMPENSATION_TIMED_OUT,
    (True, Due.RETRY): Stimulus.COMPENSATION_RETRY_DUE,
}
"""By whether the step is being undone, and what was due."""

PAST_DEADLINE = Fault("deadline", "the saga was not done by its deadline")


def timer(definition: Definition, state: SagaState, now_ms: int) -> Transition:
    draft = Draft(definition, state, now_ms)
    # What is due at the very deadline is done. But a timer may be late, and nothing begins after the deadline.
    if _is_due(draft, now_ms - 1):
        _turn_at_deadline(draft)
    for position in range(len(state.steps)):
        # Looked at one by one: what one of them does may change the others.
        step = draft.steps[position]
        if step.due is None or step.due_at_ms is None or step.due_at_ms > now_ms or not draft.heeds(step.due):
            continue
        refusal = react(_reaction(draft, position, step, step.due))
        if refusal is not None:
            return refusal
    if _is_due(draft, now_ms):
        _turn_at_deadline(draft)
    moved = draft.transition(timer=True)
    if not moved.history and moved.state == state:
        return repeated(state, "nothing is due")
    return moved


def _reaction(draft: Draft, position: int, step: StepState | StepDraft, due: Due) -> Reaction:
    undo = step.status is StepStatus.COMPENSATING
    attempt: int | None = step.compensation_attempts if undo else step.attempts
    fault = None
    if due is Due.TIMEOUT or due is Due.PROBE_TIMEOUT:
        silent = step.deadline_ms is not None and step.deadline_ms > draft.now_ms
        fault = SILENT if silent else TIMED_OUT
    if due in (Due.SLEEP, Due.SIGNAL):
        attempt = None
    elif due in (Due.PROBE_TIMEOUT, Due.PROBE_RETRY):
        attempt = step.probes or None
    return Reaction(draft, position, _STIMULI[undo, due], attempt=attempt, fault=fault)


def _is_due(draft: Draft, by_ms: int) -> bool:
    """The saga's own deadline."""
    return draft.deadline_ms is not None and draft.deadline_ms <= by_ms and draft.has_deadline()


def _turn_at_deadline(draft: Draft) -> None:
    draft.deadline_ms = None
    draft.revision += 1
    already_sent = len(draft.commands)
    draft.fault = PAST_DEADLINE
    start_compensating(draft)
    proceed(draft)
    draft.record("deadline_passed", fault=PAST_DEADLINE, sent_from=already_sent)
