"""The one function that decides. Everything that happens to any saga goes through `advance`.

It is pure and total: the same definition, state, event and moment always give the same transition, and every event
gets an answer, if only a refusal with its reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from saga_service.core.definition import Definition, RetryPolicy
from saga_service.core.draft import AnyStep, Draft, StepDraft
from saga_service.core.effects import Transition, refused, repeated
from saga_service.core.events import Event, Outcome, Replied, Started, TimerDue, TransportLost
from saga_service.core.ids import Direction
from saga_service.core.state import Due, Fault, JsonObject, SagaState, SagaStatus, StepState, StepStatus
from saga_service.core.transitions import SAGA_TURNS, STEP_RULES, Rule, Stimulus, Turn

# Looked up once, for an enum's own look-up runs Python code each time (until Python 3.12).
_RUNNING, _PENDING, _SUCCEEDED = SagaStatus.RUNNING, StepStatus.PENDING, StepStatus.SUCCEEDED
_GIVE_UP, _RETRY_UNDO, _ACTION = Rule.GIVE_UP, Rule.RETRY_UNDO, Direction.ACTION

TIMED_OUT = Fault("timeout", "no reply came before the deadline; it may or may not have happened")


def advance(definition: Definition, state: SagaState | None, event: Event, now_ms: int) -> Transition:
    """What `event` does to a saga.

    `state` is None for a saga that nobody has seen yet; `definition` is the one that the saga began with.
    """
    if isinstance(event, Started):
        return _start(definition, event, now_ms) if state is None else _started_already(state, event)
    if state is None:
        return refused(None, "no saga with this id is known")
    match event:
        case Replied():
            return _reply(definition, state, event, now_ms)
        case TimerDue():
            return _timer(definition, state, now_ms)
        case TransportLost():
            return _resend(definition, state, now_ms)
        case _:
            assert_never(event)


def _start(definition: Definition, event: Started, now_ms: int) -> Transition:
    nothing_yet = SagaState(
        id=event.saga_id,
        saga=definition.name,
        version=definition.version,
        key=event.key,
        status=SagaStatus.RUNNING,
        revision=0,
        input=event.input,
        steps=tuple([StepState(step.name) for step in definition.steps]),
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
        traceparent=event.traceparent,
    )
    draft = Draft(definition, nothing_yet, now_ms)
    draft.revision = 1
    _proceed(draft)
    draft.record("started")
    return draft.transition()


def _started_already(state: SagaState, event: Started) -> Transition:
    if state.saga != event.saga:
        return refused(state, f"the saga {state.id} is there already; its name is '{state.saga}', not '{event.saga}'")
    return repeated(state, "the saga was started already")


# ---------------------------------------------------------------------------------------------------- what came in

_REPLIES: dict[tuple[Direction, Outcome], Stimulus] = {
    (Direction.ACTION, Outcome.SUCCEEDED): Stimulus.ACTION_SUCCEEDED,
    (Direction.ACTION, Outcome.FAILED): Stimulus.ACTION_FAILED,
    (Direction.ACTION, Outcome.REJECTED): Stimulus.ACTION_REJECTED,
    (Direction.ACTION, Outcome.PROGRESS): Stimulus.ACTION_PROGRESSED,
    (Direction.COMPENSATION, Outcome.SUCCEEDED): Stimulus.COMPENSATION_SUCCEEDED,
    (Direction.COMPENSATION, Outcome.FAILED): Stimulus.COMPENSATION_FAILED,
    (Direction.COMPENSATION, Outcome.REJECTED): Stimulus.COMPENSATION_REJECTED,
    (Direction.COMPENSATION, Outcome.PROGRESS): Stimulus.COMPENSATION_PROGRESSED,
}

_RECORDED_AS: dict[Stimulus, tuple[str, Direction]] = {
    stimulus: (
        stimulus.name.lower(),
        Direction.ACTION if stimulus.name.startswith("ACTION") else Direction.COMPENSATION,
    )
    for stimulus in Stimulus
}
"""The event that a line of history names, and its direction."""

_TIMERS: dict[tuple[Direction, Due], Stimulus] = {
    (Direction.ACTION, Due.TIMEOUT): Stimulus.ACTION_TIMED_OUT,
    (Direction.ACTION, Due.RETRY): Stimulus.ACTION_RETRY_DUE,
    (Direction.COMPENSATION, Due.TIMEOUT): Stimulus.COMPENSATION_TIMED_OUT,
    (Direction.COMPENSATION, Due.RETRY): Stimulus.COMPENSATION_RETRY_DUE,
}


def _reply(definition: Definition, state: SagaState, event: Replied, now_ms: int) -> Transition:
    name = event.command
    position = definition.positions.get(name.step)
    if position is None:
        return refused(state, f"saga '{state.saga}' has no step '{name.step}'")
    step = state.steps[position]
    sent = step.attempts if name.direction is _ACTION else step.compensation_attempts
    if name.attempt > sent:
        return refused(
            state, f"{name.direction} {name.attempt} of step '{name.step}' was never sent ({sent} attempts were)"
        )
    if name.attempt < sent and event.outcome is not Outcome.SUCCEEDED:
        return repeated(state, "a later attempt is under way, which decides")
    draft = Draft(definition, state, now_ms)
    reaction = _Reaction(draft, position, name.attempt, event.output, event.fault, event.retry_after_ms)
    return _react(reaction, _REPLIES[name.direction, event.outcome]) or draft.transition()


def _timer(definition: Definition, state: SagaState, now_ms: int) -> Transition:
    draft = Draft(definition, state, now_ms)
    for position, step in enumerate(state.steps):
        if step.due is None or step.due_at_ms is None or step.due_at_ms > now_ms:
            continue
        undo = step.status is StepStatus.COMPENSATING
        direction = Direction.COMPENSATION if undo else Direction.ACTION
        attempt = step.compensation_attempts if undo else step.attempts
        fault = TIMED_OUT if step.due is Due.TIMEOUT else None
        refusal = _react(_Reaction(draft, position, attempt, None, fault, None), _TIMERS[direction, step.due])
        if refusal is not None:
            return refusal
    moved = draft.transition(timer=True)
    if not moved.history and moved.state == state:
        return repeated(state, "nothing is due")
    return moved


def _resend(definition: Definition, state: SagaState, now_ms: int) -> Transition:
    draft = Draft(definition, state, now_ms)
    draft.commands = [draft.command(position) for position, step in enumerate(state.steps) if step.due is Due.TIMEOUT]
    return draft.transition() if draft.commands else repeated(state, "nothing is in flight")


# --------------------------------------------------------------------------------------------------------- the rules


class _Reaction:
    """What a rule has to work with: the draft, the step's place, and what was said."""

    __slots__ = ("attempt", "draft", "fault", "output", "position", "retry_after_ms")

    def __init__(
        self,
        draft: Draft,
        position: int,
        attempt: int,
        output: JsonObject | None,
        fault: Fault | None,
        retry_after_ms: int | None,
    ) -> None:
        self.draft = draft
        self.position = position
        self.attempt = attempt
        self.output = output
        self.fault = fault
        self.retry_after_ms = retry_after_ms

    def step(self) -> StepDraft:
        """The step, to be changed."""
        return self.draft.open(self.position)


def _react(reaction: _Reaction, stimulus: Stimulus) -> Transition | None:
    """Apply the table's rule and let the saga look at itself; None when that was done, else why it was not."""
    draft = reaction.draft
    step = draft.steps[reaction.position]
    rule = STEP_RULES[step.status, stimulus]
    apply = _RULES.get(rule)
    if apply is None or _is_overtaken(rule, draft, step):
        return _unchanged(rule, draft, step, stimulus)
    draft.revision += 1
    already_sent = len(draft.commands)
    apply(reaction)
    _proceed(draft)
    event, direction = _RECORDED_AS[stimulus]
    draft.record(event, step.name, direction, reaction.attempt, reaction.fault, already_sent)
    return None


def _is_overtaken(rule: Rule, draft: Draft, step: AnyStep) -> bool:
    """Two rules look at more than the step's status."""
    if rule is _GIVE_UP:
        return draft.status is not _RUNNING
    # An undo in flight and one that waits for its retry are both `compensating`; only the first can fail.
    return rule is _RETRY_UNDO and step.due is Due.RETRY


def _unchanged(rule: Rule, draft: Draft, step: AnyStep, stimulus: Stimulus) -> Transition:
    if rule is Rule.NEVER:
        return refused(draft.before, f"{stimulus} cannot happen to step '{step.name}', which is {step.status}")
    return repeated(draft.before, f"step '{step.name}' is {step.status} already")


def _succeed(reaction: _Reaction) -> None:
    draft, step = reaction.draft, reaction.step()
    step.status = _SUCCEEDED
    step.finished_order = step.finished_order or draft.revision
    step.output = reaction.output
    step.in_doubt = False
    _finish(step, draft.now_ms)


def _retry_failed(reaction: _Reaction) -> None:
    policy = reaction.draft.definition.steps[reaction.position].retry
    if _out_of_attempts(reaction, policy):
        _give_up(reaction)
    else:
        _wait(reaction, policy, StepStatus.UNKNOWN if reaction.step().in_doubt else StepStatus.PENDING)


def _retry_unknown(reaction: _Reaction) -> None:
    reaction.step().in_doubt = True
    _retry_failed(reaction)


def _give_up(reaction: _Reaction) -> None:
    draft, step = reaction.draft, reaction.step()
    step.status = StepStatus.UNKNOWN if step.in_doubt else StepStatus.FAILED
    step.finished_order = draft.revision if step.in_doubt else None
    step.fault = reaction.fault
    _finish(step, draft.now_ms)
    draft.status = SAGA_TURNS[draft.status, Turn.GIVEN_UP]
    draft.fault = _blamed(reaction)


def _dispatch(reaction: _Reaction) -> None:
    reaction.draft.dispatch(reaction.position)


def _undone(reaction: _Reaction) -> None:
    step = reaction.step()
    step.status = StepStatus.COMPENSATED
    _finish(step, reaction.draft.now_ms)


def _retry_undo(reaction: _Reaction) -> None:
    policy = reaction.draft.definition.steps[reaction.position].compensation_retry
    if _out_of_attempts(reaction, policy):
        _get_stuck(reaction)
    else:
        _wait(reaction, policy, StepStatus.COMPENSATING)


def _get_stuck(reaction: _Reaction) -> None:
    step = reaction.step()
    step.status = StepStatus.COMPENSATION_FAILED
    step.fault = reaction.fault
    step.due = step.due_at_ms = None
    reaction.draft.fault = _blamed(reaction)


def _dispatch_undo(reaction: _Reaction) -> None:
    reaction.draft.dispatch_undo(reaction.position)


_RULES: dict[Rule, Callable[[_Reaction], None]] = {
    Rule.SUCCEED: _succeed,
    Rule.RETRY_FAILED: _retry_failed,
    Rule.RETRY_UNKNOWN: _retry_unknown,
    Rule.GIVE_UP: _give_up,
    Rule.DISPATCH: _dispatch,
    Rule.UNDONE: _undone,
    Rule.RETRY_UNDO: _retry_undo,
    Rule.GET_STUCK: _get_stuck,
    Rule.DISPATCH_UNDO: _dispatch_undo,
}


def _out_of_attempts(reaction: _Reaction, policy: RetryPolicy) -> bool:
    pointless = reaction.fault is not None and reaction.fault.code in policy.never_retry
    return pointless or reaction.attempt >= policy.attempts_max


def _finish(step: StepDraft, now_ms: int) -> None:
    step.due = step.due_at_ms = None
    step.ended_at_ms = now_ms


def _wait(reaction: _Reaction, policy: RetryPolicy, status: StepStatus) -> None:
    delay_ms = reaction.retry_after_ms
    if delay_ms is None:
        delay_ms = policy.delay_after_ms(reaction.attempt)
    step = reaction.step()
    step.status = status
    step.fault = reaction.fault
    step.due = Due.RETRY
    step.due_at_ms = reaction.draft.now_ms + delay_ms


def _blamed(reaction: _Reaction) -> Fault:
    said = reaction.fault or Fault("failed", "the worker gave no reason")
    return Fault(said.code, said.message, step=reaction.step().name)


# ------------------------------------------------------------------------------------- the saga's look at itself


def _proceed(draft: Draft) -> None:
    """Send what comes next, turn round, or end."""
    for step in draft.steps:
        if step.due is not None:
            return
    turn, position = _look(draft)
    draft.status = SAGA_TURNS[draft.status, turn]
    send = _SENDS.get(turn)
    if send is not None:
        send(draft, position)


_SENDS: dict[Turn, Callable[[Draft, int], None]] = {
    Turn.STEP_LEFT: Draft.dispatch,
    Turn.UNDO_LEFT: Draft.dispatch_undo,
}


def _look(draft: Draft) -> tuple[Turn, int]:
    """What the saga finds while nothing is under way, and the position of the step that it concerns, if any."""
    statuses = [step.status for step in draft.steps]
    if draft.status is _RUNNING:
        if _PENDING in statuses:
            return Turn.STEP_LEFT, statuses.index(_PENDING)
        return Turn.ALL_DONE, 0
    if StepStatus.COMPENSATION_FAILED in statuses:
        return Turn.UNDO_FAILED, 0
    left = draft.undoable()
    return (Turn.UNDO_LEFT, left[0]) if left else (Turn.ALL_UNDONE, 0)
