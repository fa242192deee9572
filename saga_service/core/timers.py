"""Timers: a command that was not answered in time, a wait that is over, the saga's own deadline; a request to a child
saga that is repeated."""

from __future__ import annotations

from saga_service.core.children import repeat_requests
from saga_service.core.compensation import start_compensating
from saga_service.core.definition import Definition
from saga_service.core.draft import Draft, Reaction
from saga_service.core.effects import Transition, repeated
from saga_service.core.fault_codes import DEADLINE, HEARTBEAT_TIMEOUT, TIMEOUT
from saga_service.core.machine import evaluate, react
from saga_service.core.state import Fault, SagaState, StepState
from saga_service.core.transitions import DEADLINE_PASSED, Stimulus
from saga_service.core.vocabulary import (
    COMPENSATING,
    DUE_PROBE_RETRY,
    DUE_PROBE_TIMEOUT,
    DUE_RETRY,
    DUE_SIGNAL,
    DUE_SLEEP,
    DUE_TIMEOUT,
    Due,
)

_STIMULI: dict[tuple[bool, Due], Stimulus] = {
    (False, DUE_TIMEOUT): Stimulus.ACTION_TIMED_OUT,
    (False, DUE_RETRY): Stimulus.ACTION_RETRY_DUE,
    (False, DUE_PROBE_TIMEOUT): Stimulus.PROBE_TIMED_OUT,
    (False, DUE_PROBE_RETRY): Stimulus.PROBE_RETRY_DUE,
    (False, DUE_SLEEP): Stimulus.WAIT_ENDED,
    (False, DUE_SIGNAL): Stimulus.WAIT_ENDED,
    (True, DUE_TIMEOUT): Stimulus.COMPENSATION_TIMED_OUT,
    (True, DUE_RETRY): Stimulus.COMPENSATION_RETRY_DUE,
}
"""By whether the step is being undone, and by what was due."""

TIMED_OUT = Fault(TIMEOUT, "no reply came before the deadline; it may or may not have happened")
SILENT = Fault(HEARTBEAT_TIMEOUT, "no sign of life came in time; it may or may not have happened")
PAST_DEADLINE = Fault(DEADLINE, "the saga was not done by its deadline")


def timer(definition: Definition, state: SagaState, now_ms: int) -> Transition:
    """Do all that is due by now, step by step; the saga's own deadline where that has come."""
    draft = Draft(definition, state, now_ms)
    # What is due at the very deadline is done. But a timer may be late, and nothing begins after the deadline.
    if _is_due(draft, now_ms - 1):
        _compensate_at_deadline(draft)
    for position in range(len(state.steps)):
        # Read anew each time: what one step does may change the others.
        step = draft.steps[position]
        if step.due is None or step.due_at_ms is None or step.due_at_ms > now_ms or not draft.heeds(step.due):
            continue
        refusal = react(_reaction(draft, position, step, step.due))
        # The table has a rule wherever something can be due. To return here would drop what other steps have done.
        assert refusal is None, f"{step.due} of step '{step.name}': {refusal.reason}"
    if _is_due(draft, now_ms):
        _compensate_at_deadline(draft)
    if definition.has_children:
        repeat_requests(draft)
    moved = draft.transition(timer=True)
    if not moved.history and not moved.commands and moved.state == state:
        return repeated(state, "nothing is due")
    return moved


def _reaction(draft: Draft, position: int, step: StepState, due: Due) -> Reaction:
    undo = step.status is COMPENSATING
    attempt: int | None = step.compensation_attempts if undo else step.attempts
    fault = None
    if due is DUE_TIMEOUT or due is DUE_PROBE_TIMEOUT:
        silent = step.deadline_ms is not None and step.deadline_ms > draft.now_ms
        fault = SILENT if silent else TIMED_OUT
    if due in (DUE_SLEEP, DUE_SIGNAL):
        attempt = None
    elif due in (DUE_PROBE_TIMEOUT, DUE_PROBE_RETRY):
        attempt = step.probes or None
    return Reaction(draft, position, _STIMULI[undo, due], attempt=attempt, fault=fault)


def _is_due(draft: Draft, by_ms: int) -> bool:
    """Whether the saga's own deadline is."""
    return draft.deadline_ms is not None and draft.deadline_ms <= by_ms and draft.has_deadline()


def _compensate_at_deadline(draft: Draft) -> None:
    draft.deadline_ms = None
    draft.revision += 1
    already_sent = len(draft.commands)
    draft.fault = PAST_DEADLINE
    start_compensating(draft)
    evaluate(draft)
    draft.record(DEADLINE_PASSED, fault=PAST_DEADLINE, sent_from=already_sent)
