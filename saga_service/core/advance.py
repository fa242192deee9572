"""The one function that decides. Everything that happens to any saga goes through `advance`.

It is pure and total: the same definition, state, event and moment always give the same transition, and every event
gets an answer, if only a refusal with its reason.
"""

from __future__ import annotations

from typing import assert_never

from saga_service.core.child_repeats import was_called_off
from saga_service.core.children import resend_child_request
from saga_service.core.definition import Definition, tombstone
from saga_service.core.draft import Draft
from saga_service.core.effects import Command, ParentReply, Sent, Transition, refused, repeated
from saga_service.core.events import (
    TO_CHILDREN,
    Event,
    OperationRequested,
    Replied,
    Signalled,
    Started,
    TimerDue,
    TransportLost,
)
from saga_service.core.fault_codes import CHILD_REMOVED
from saga_service.core.ids import CommandName
from saga_service.core.machine import evaluate
from saga_service.core.operations import operate
from saga_service.core.outgoing import in_flight_again, reply_to_parent
from saga_service.core.replies import reply
from saga_service.core.signals import signal
from saga_service.core.state import Fault, SagaState, StepState
from saga_service.core.timers import timer
from saga_service.core.transitions import STARTED
from saga_service.core.vocabulary import CHILD, SAGA_PAUSED, SAGA_RUNNING, Operation, Outcome


def advance(definition: Definition, state: SagaState | None, event: Event, now_ms: int) -> Transition:
    """The transition of a saga by one event.

    `state` is None for a saga that is not known yet; `definition` is the one that the saga began with.
    """
    if isinstance(event, Started):
        return _start(definition, event, now_ms) if state is None else _started_already(state, event)
    if state is None:
        return advance_unknown(event, now_ms)
    match event:
        case Replied():
            return reply(definition, state, event, now_ms)
        case TimerDue():
            return timer(definition, state, now_ms)
        case TransportLost():
            return _resend(definition, state, event, now_ms)
        case Signalled():
            return signal(definition, state, event, now_ms)
        case OperationRequested():
            return operate(definition, state, event, now_ms)
        case _:
            assert_never(event)


def _start(definition: Definition, event: Started, now_ms: int) -> Transition:
    draft = Draft(definition, _unbegun(definition, event, now_ms), now_ms)
    draft.revision = 1
    evaluate(draft)
    draft.record(STARTED, actor=event.actor)
    return draft.transition()


def _unbegun(definition: Definition, event: Started, now_ms: int) -> SagaState:
    return SagaState(
        id=event.saga_id,
        saga=definition.name,
        version=definition.version,
        key=event.key,
        status=SAGA_RUNNING,
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
    # A parent that sends its start again may not have received the reply.
    answer = reply_to_parent(state._replace(parent=event.parent)) if event.parent else None
    return repeated(state, "the saga was started already", answer)


def advance_unknown(event: Event, now_ms: int) -> Transition:
    """The transition by an event of a saga that is not known, and that the event does not start.

    A parent's request to a child that was never started leaves a tombstone. All else is refused.
    """
    if (
        isinstance(event, OperationRequested)
        and event.answers is not None
        and event.operation in (Operation.CANCEL, Operation.COMPENSATE)
    ):
        if event.is_known_done:
            return _was_removed(event, event.answers)
        if event.child:
            return _bury_before_start(event, event.answers, now_ms)
    by_key = event.by_key if isinstance(event, OperationRequested | Signalled) else None
    if by_key is not None:
        return refused(None, f"no saga '{by_key.saga}' with the key '{by_key.key}' is known")
    return refused(None, f"no saga with the id {event.saga_id} is known")


def _was_removed(event: OperationRequested, parent: CommandName) -> Transition:
    """The parent may not hear that its child is undone: the child's effects are there, and nobody knows which."""
    reason = f"the child saga '{event.child}' {event.saga_id} was done, and was removed since; undo by hand what it did"
    return refused(None, reason, ParentReply(parent, Outcome.REJECTED, {}, Fault(CHILD_REMOVED, reason)))


def _bury_before_start(event: OperationRequested, parent: CommandName, now_ms: int) -> Transition:
    """Put a tombstone in the place of a child whose start was lost, or overtaken by its parent's request to stop.

    A tombstone is a saga that has ended. Should the start come after all, it finds that one, and begins nothing.
    """
    definition = tombstone(event.child)
    start = Started(event.saga_id, definition.name, definition.version, None, {}, parent=parent)
    return operate(definition, _unbegun(definition, start, now_ms), event, now_ms)


def _resend(definition: Definition, state: SagaState, event: TransportLost, now_ms: int) -> Transition:
    draft, paused = Draft(definition, state, now_ms), state.status is SAGA_PAUSED
    for position, step in enumerate(state.steps):
        defined = definition.steps[position]
        if defined.task is CHILD:
            if not paused or was_called_off(step, defined, state.course):
                draft.commands += resend_child_request(draft, position)
        elif step.is_in_flight and not paused:
            draft.commands += in_flight_again(definition, state, draft.steps, position)
    if event.lost is not None:
        draft.commands = [sent for sent in draft.commands if _destination(sent) in event.lost]
    return draft.transition() if draft.commands else repeated(state, "nothing is to be sent again")


def _destination(sent: Sent) -> str:
    return sent.service if isinstance(sent, Command) else TO_CHILDREN
