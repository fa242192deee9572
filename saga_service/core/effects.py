"""What a transition asks the outside to do, and what it leaves on record."""

from __future__ import annotations

from typing import NamedTuple

from saga_service.core.ids import CommandId, CommandName, IdempotencyKey, SagaId, command_id, idempotency_key
from saga_service.core.state import Fault, JsonObject, SagaState
from saga_service.core.vocabulary import ChildOperation, Direction, Outcome, SagaStatus, Verdict


class Command(NamedTuple):
    """One message to a worker: do this step, take it back, or say whether it was done."""

    type: str
    saga_id: SagaId
    saga: str
    step: str
    direction: Direction
    attempt: int
    deadline_ms: int
    input: JsonObject
    outputs: JsonObject
    """What earlier steps returned, by step name; for a compensation, its own action's output as well."""
    traceparent: str | None
    heartbeat_ms: int | None = None
    """How long its worker may be silent after a sign of life."""

    @property
    def id(self) -> CommandId:
        return command_id(self.saga_id, self.step, self.direction, self.attempt)

    @property
    def idempotency_key(self) -> IdempotencyKey:
        return idempotency_key(self.saga_id, self.step, self.direction)

    @property
    def word(self) -> str:
        """What a line of history calls it."""
        return self.direction._value_


class ChildRequest(NamedTuple):
    """One message to a child saga, in a worker's place: its end is the reply to `command`."""

    operation: ChildOperation
    child_id: SagaId
    saga: str
    command: CommandName
    input: JsonObject
    traceparent: str | None
    is_known_done: bool = False
    """Whether the parent has heard that the child is done: one that is not there then was removed, and never undone."""

    @property
    def step(self) -> str:
        return self.command.step

    @property
    def direction(self) -> Direction:
        return self.command.direction

    @property
    def attempt(self) -> int:
        return self.command.attempt

    @property
    def word(self) -> str:
        """What a line of history calls it. To be told to stop is not to be started once more."""
        return self.operation._value_ if self.operation is ChildOperation.CANCEL else self.direction._value_


Sent = Command | ChildRequest


class ParentReply(NamedTuple):
    """A child saga's answer to its parent's command."""

    command: CommandName
    outcome: Outcome
    output: JsonObject
    fault: Fault | None


class Ended(NamedTuple):
    """The saga came to its end; others may want to know."""

    saga_id: SagaId
    saga: str
    key: str | None
    status: SagaStatus
    revision: int
    at_ms: int
    outputs: JsonObject
    fault: Fault | None
    traceparent: str | None


class HistoryEntry(NamedTuple):
    """One line of a saga's history: what happened, and what the saga was after it."""

    saga_id: SagaId
    revision: int
    at_ms: int
    event: str
    status: SagaStatus
    step: str | None = None
    direction: Direction | None = None
    attempt: int | None = None
    fault: Fault | None = None
    sent: tuple[Sent, ...] = ()
    actor: str | None = None
    reason: str | None = None


class Transition(NamedTuple):
    """The whole answer of the core to one event. Unless applied, `state` is the one that was given."""

    verdict: Verdict
    state: SagaState | None
    history: tuple[HistoryEntry, ...] = ()
    commands: tuple[Sent, ...] = ()
    ended: Ended | None = None
    reason: str = ""
    reply: ParentReply | None = None
    """What a parent is told. Also beside a repeat: the answer to the first time may have been lost."""


def refused(state: SagaState | None, reason: str, reply: ParentReply | None = None) -> Transition:
    return Transition(Verdict.REFUSED, state, reason=reason, reply=reply)


def repeated(state: SagaState | None, reason: str, reply: ParentReply | None = None) -> Transition:
    return Transition(Verdict.REPEATED, state, reason=reason, reply=reply)
