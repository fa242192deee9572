"""The one function that decides. Everything that happens to any saga goes through `advance`.

It is pure and total: the same definition, state, event and moment always give the same transition, and every event
gets an answer, if only a refusal with its reason.
"""

from __future__ import annotations

from typing import assert_never

from saga_service.core.children import resend_child_request, was_called_off
from saga_service.core.definition import Definition, tombstone
from saga_service.core.draft import Draft, reply_to_parent
from saga_service.core.effects import ParentReply, Transition, refused, repeated
from saga_service.core.events import Event, OperationRequested, Replied, Signalled, Started, TimerDue, TransportLost
from saga_service.core.ids import CommandName
from saga_service.core.look import proceed
from saga_service.core.operations import operate
from saga_service.core.replies import reply
from saga_service.core.signals import signal
from saga_service.core.state import Fault, SagaState, StepState
from saga_service.core.timers import timer
from saga_service.core.vocabulary import Operation, Outcome, SagaStatus, Task


def advance(definition: Definition, state: SagaState | None, event: Event, now_ms: int) -> Transition:
    """What `event` does to a saga.

    `state` is None for a saga that nobody has seen yet; `definition` is the one that the saga began with.
    """
    if isinstance(event, Started):
        return _start(definition, event, now_ms) if state is None else _started_already(state, event)
    if state is None:
        return advance_nobody(event, now_ms)
    match event:
        case Replied():
            return reply(definition, state, event, now_ms)
        case TimerDue():
            return timer(definition, state, now_ms)
        case TransportLost():
            return _resend(definition, state, now_ms)
        case Signalled():
            return signal(definition, state, event, now_ms)
        case OperationRequested():
            return operate(definition, state, event, now_ms)
        case _:
            assert_never(event)


def _start(definition: Definition, event: Started, now_ms: int) -> Transition:
    draft = Draft(definition, _nothing_yet(definition, event, now_ms), now_ms)
    draft.revision = 1
    proceed(draft)
    draft.record("started")
    return draft.transition()


def _nothing_yet(definition: Definition, event: Started, now_ms: int) -> SagaState:
    return SagaState(
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
        deadline_ms=None if definition.deadline_ms is None else now_ms + definition.deadline_ms,
        parent=event.parent,
    )


def _started_already(state: SagaState, event: Started) -> Transition:
    if state.saga != event.saga:
        return refused(state, f"the saga {state.id} is there already; its name is '{state.saga}', not '{event.saga}'")
    # A parent that asks again has not heard the answer.
    answer = reply_to_parent(state._replace(parent=event.parent)) if event.parent else None
    return repeated(state, "the saga was started already", answer)


def advance_nobody(event: Event, now_ms: int) -> Transition:
    """What an event does that speaks of a saga that nobody has seen, and starts none."""
    if (
        isinstance(event, OperationRequested)
        and event.answers is not None
        and event.operation in (Operation.CANCEL, Operation.COMPENSATE)
    ):
        if event.is_known_done:
            return _is_gone(event, event.answers)
        if event.child:
            return _end_before_the_start(event, event.answers, now_ms)
        if event.operation is Operation.COMPENSATE:
            # A parent of the version before did not name its child.
            undone = ParentReply(event.answers, Outcome.SUCCEEDED, {}, None)
            return repeated(None, "the child saga was never started; there is nothing to undo", undone)
    by_key = event.by_key if isinstance(event, OperationRequested | Signalled) else None
    if by_key is not None:
        return refused(None, f"no saga '{by_key.saga}' with the key '{by_key.key}' is known")
    return refused(None, f"no saga with the id {event.saga_id} is known")


def _is_gone(event: OperationRequested, parent: CommandName) -> Transition:
    """To say that it is undone would be untrue: what the child did stands, and nothing is known of it any more."""
    reason = f"the child saga '{event.child}' {event.saga_id} was done, and was removed since; undo by hand what it did"
    return refused(None, reason, ParentReply(parent, Outcome.REJECTED, {}, Fault("child_removed", reason)))


def _end_before_the_start(event: OperationRequested, parent: CommandName, now_ms: int) -> Transition:
    """A parent's word has overtaken the start of its child, or the start was lost. A saga that has ended takes the
    child's place: should the start come after all, it finds that one, and begins nothing."""
    definition = tombstone(event.child)
    start = Started(event.saga_id, definition.name, definition.version, None, {}, parent=parent)
    return operate(definition, _nothing_yet(definition, start, now_ms), event, now_ms)


def _resend(definition: Definition, state: SagaState, now_ms: int) -> Transition:
    draft, paused = Draft(definition, state, now_ms), state.status is SagaStatus.PAUSED
    for position, step in enumerate(state.steps):
        if definition.steps[position].task is Task.CHILD:
            if not paused or was_called_off(draft, position):
                draft.commands += resend_child_request(draft, position)
        elif step.is_in_flight and not paused:
            draft.commands += draft.once_more(position)
    return draft.transition() if draft.commands else repeated(state, "nothing is to be sent again")
