"""The way forward: which step begins next, how a step begins, is done, is given up on or is parked."""

from __future__ import annotations

from saga_service.core.compensation import start_compensating, undo_next
from saga_service.core.definition import ExpressionFailed, OutputMisfit
from saga_service.core.draft import Draft
from saga_service.core.fault_codes import EXPRESSION_FAILED
from saga_service.core.outgoing import in_flight, step_input, variables
from saga_service.core.pivot import can_only_go_forward
from saga_service.core.state import Fault, JsonObject, Signal, StepState
from saga_service.core.transitions import ALL_DONE, CONDITION_NOT_MET, UNDER_WAY, SagaCondition
from saga_service.core.vocabulary import (
    BACKWARD,
    DUE_PROBE_TIMEOUT,
    DUE_SIGNAL,
    DUE_SLEEP,
    FAILED,
    FORWARD,
    PENDING,
    SIGNAL,
    SKIPPED,
    SLEEP,
    SUCCEEDED,
    UNKNOWN,
    WAITING,
    Due,
)


def begin_next(draft: Draft) -> SagaCondition:
    """Begin every step whose turn has come; the condition that the saga is in after that."""
    # A parked step left its fault with the saga; a saga that goes well has none, and need not search.
    if draft.fault is not None and _is_a_step_parked(draft):
        return SagaCondition.PARKED
    begins_more = True
    while begins_more:
        begins_more = False
        all_done = True
        for position, step in enumerate(draft.steps):
            status = step.status
            if status is SUCCEEDED or status is SKIPPED:
                continue
            all_done = False
            if status is PENDING and step.due is None and _may_begin(draft, position):
                try:
                    begins_more |= _begin(draft, position)
                except ExpressionFailed as error:
                    fault = Fault(EXPRESSION_FAILED, str(error))
                    draft.note(EXPRESSION_FAILED, step.name, fault)
                    give_up(draft, position, fault)
                    return SagaCondition.PARKED if draft.course is FORWARD else undo_next(draft)
    return ALL_DONE if all_done else UNDER_WAY


def _is_a_step_parked(draft: Draft) -> bool:
    """Whether any step is; the saga's fault then names one that still is."""
    parked = [step for step in draft.steps if is_parked(step)]
    named = None if draft.fault is None else draft.fault.step
    if parked and named not in [step.name for step in parked]:
        first = parked[0]
        assert first.fault is not None, "a parked step has its reason"
        draft.fault = Fault(first.fault.code, first.fault.message, step=first.name)
    return bool(parked)


def is_parked(step: StepState) -> bool:
    """Whether nothing happens to this step of a saga on its way forward until a person, or a late reply, decides."""
    return (step.status is UNKNOWN and step.due is None) or step.status is FAILED


def _may_begin(draft: Draft, position: int) -> bool:
    steps = draft.steps
    for before in draft.definition.predecessors[position]:
        status = steps[before].status
        if status is not SUCCEEDED and status is not SKIPPED:
            return False
    return True


def _begin(draft: Draft, position: int) -> bool:
    """Whether the step was done or skipped at once, so that steps after it may begin. Raises ExpressionFailed."""
    defined = draft.definition.steps[position]
    if defined.when is not None and not defined.when.evaluate(
        variables(draft.definition, draft.before, draft.steps, position)
    ):
        step = draft.steps[position]
        draft.steps[position] = step.ended(SKIPPED, draft.now_ms)
        draft.note(CONDITION_NOT_MET, step.name)
        return True
    if defined.task is SLEEP:
        _wait(draft, position, DUE_SLEEP)
        return False
    if defined.task is SIGNAL:
        _wait(draft, position, DUE_SIGNAL)
        return take_signal(draft, position)
    dispatch(draft, position)
    return False


def _wait(draft: Draft, position: int, due: Due) -> None:
    until_ms = draft.now_ms + draft.definition.steps[position].timeout_ms
    waiting = draft.steps[position].waiting(due, until_ms)
    draft.steps[position] = waiting._replace(status=WAITING, started_at_ms=draft.now_ms)


def take_signal(draft: Draft, position: int) -> bool:
    """Give a waiting step the oldest signal that is for it, fits it, and was taken by no step; whether there is one."""
    defined = draft.definition.steps[position]
    for place, signal in enumerate(draft.signals):
        if signal.name == defined.action and signal.data is not None and signal.step in (None, defined.name):
            try:
                output = defined.read_output(signal.data)
            except OutputMisfit:
                continue
            # Its id stays, so that a repeat is known.
            draft.signals = (*draft.signals[:place], Signal(signal.name, signal.id, None), *draft.signals[place + 1 :])
            finish(draft, position, output)
            return True
    return False


def dispatch(draft: Draft, position: int) -> None:
    """Send the next attempt of a step's action. Raises ExpressionFailed, with nothing changed."""
    definition, saga, steps, now_ms = draft.definition, draft.before, draft.steps, draft.now_ms
    sent_input = step_input(definition, saga, steps, position)
    defined = definition.steps[position]
    due_at_ms = now_ms + defined.timeout_ms
    # From the first sign of life on the step is due earlier. Until then the command may lie in its stream, and nobody
    # is silent.
    deadline_ms = None if defined.heartbeat_ms is None else due_at_ms
    steps[position] = steps[position].dispatched(now_ms, due_at_ms, deadline_ms)
    draft.commands.append(in_flight(definition, saga, steps, position, sent_input))


def dispatch_probe(draft: Draft, position: int) -> None:
    """Ask a worker whether a step's action happened. Raises ExpressionFailed, with nothing changed."""
    definition, saga, steps = draft.definition, draft.before, draft.steps
    sent_input = step_input(definition, saga, steps, position)
    until_ms = draft.now_ms + definition.steps[position].timeout_ms
    step = steps[position].waiting(DUE_PROBE_TIMEOUT, until_ms)
    steps[position] = step._replace(probes=step.probes + 1)
    draft.commands.append(in_flight(definition, saga, steps, position, sent_input))


def finish(draft: Draft, position: int, output: JsonObject | None) -> None:
    """The step is done."""
    draft.steps[position] = draft.steps[position].succeeded(draft.now_ms, draft.revision, output)


def give_up(draft: Draft, position: int, fault: Fault) -> None:
    """End the attempts of a step. The saga starts compensating, unless it can only go forward: then the step is
    parked."""
    step = draft.steps[position]
    status = UNKNOWN if step.unanswered else FAILED
    revision = (step.effect_revision or draft.revision) if step.unanswered else step.effect_revision
    draft.steps[position] = step.ended(status, draft.now_ms)._replace(fault=fault, effect_revision=revision)
    if draft.course is BACKWARD:
        return
    draft.fault = Fault(fault.code, fault.message, step=step.name)
    if not can_only_go_forward(draft.definition, draft.steps, position, status):
        start_compensating(draft)


def give_up_done(draft: Draft, position: int, attempt: int, fault: Fault) -> None:
    """End the attempts of a step that happened, and whose output cannot be used. Its effect is to be undone."""
    step = draft.steps[position]
    if attempt not in step.unanswered:
        draft.steps[position] = step._replace(unanswered=(*step.unanswered, attempt))
    give_up(draft, position, fault)


def hold(draft: Draft, position: int, fault: Fault) -> None:
    """Park a step that may have happened, until a late reply or a person decides."""
    step = draft.steps[position]
    draft.steps[position] = step._replace(
        status=UNKNOWN,
        effect_revision=step.effect_revision or draft.revision,
        fault=fault,
        due=None,
        due_at_ms=None,
        deadline_ms=None,
    )
    draft.fault = Fault(fault.code, fault.message, step=step.name)
