"""The effects of a transition: messages to send, lines of history to store, and the verdict on the event."""

from __future__ import annotations

from typing import NamedTuple

from saga_service.core.ids import (
    CommandId,
    CommandName,
    IdempotencyKey,
    SagaId,
    command_id,
    idempotency_key,
    service_of,
)
from saga_service.core.state import Fault, JsonObject, SagaState
from saga_service.core.vocabulary import ChildOperation, Direction, Outcome, SagaStatus, Verdict


class Command(NamedTuple):
    """One message to a worker: do this step, undo it, or find out whether it was done."""

    type: str
    saga_id: SagaId
    saga: str
    step: str
    direction: Direction
    attempt: int
    deadline_ms: int
    input: JsonObject
    outputs: JsonObject
    """Outputs of earlier steps by name; for a compensation, its own action's output as well."""
    traceparent: str | None
    heartbeat_ms: int | None = None
    """The longest silence of its worker after a sign of life."""
    errors_are_unknown: bool = False
    """Whether an unforeseen exception of its handler leaves the outcome unknown, and is no failure."""
    is_copy: bool = False
    """Whether the command was sent before and may be lost. A worker may have begun on what was sent first."""

    @property
    def id(self) -> CommandId:
        return command_id(self.saga_id, self.step, self.direction, self.attempt)

    @property
    def service(self) -> str:
        """The service whose workers carry it out."""
        return service_of(self.type)

    @property
    def idempotency_key(self) -> IdempotencyKey:
        return idempotency_key(self.saga_id, self.step, self.direction)

    @property
    def label(self) -> str:
        """The name of the command in a line of history."""
        return self.direction._value_


class ChildRequest(NamedTuple):
    """One message to a child saga, whose end is the reply to `command`."""

    operation: ChildOperation
    child_id: SagaId
    saga: str
    command: CommandName
    input: JsonObject
    traceparent: str | None
    is_known_done: bool = False
    """Whether the parent knows that the child was done. If it is not there, it was removed, and never undone."""
    is_copy: bool = False
    """Whether the request was sent before."""

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
    def label(self) -> str:
        """The name of the request in a line of history. A cancel has its own, for it is no second start."""
        return self.operation._value_ if self.operation is ChildOperation.CANCEL else self.direction._value_


Sent = Command | ChildRequest


class ParentReply(NamedTuple):
    """A child saga's reply to its parent's command."""

    command: CommandName
    outcome: Outcome
    output: JsonObject
    fault: Fault | None


class Ended(NamedTuple):
    """The announcement that a saga has ended."""

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
    """One line of a saga's history: the event, and the saga's status after it."""

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
    """The core's whole answer to one event. Unless it was applied, `state` is the one that was given."""

    verdict: Verdict
    state: SagaState | None
    history: tuple[HistoryEntry, ...] = ()
    commands: tuple[Sent, ...] = ()
    ended: Ended | None = None
    reason: str = ""
    """Why nothing was done, or why a part of the event could not be used."""
    reply: ParentReply | None = None
    """The reply to a parent. A repeat has one too, because the first reply may have been lost."""


def refused(state: SagaState | None, reason: str, reply: ParentReply | None = None) -> Transition:
    return Transition(Verdict.REFUSED, state, reason=reason, reply=reply)


def repeated(state: SagaState | None, reason: str, reply: ParentReply | None = None) -> Transition:
    return Transition(Verdict.REPEATED, state, reason=reason, reply=reply)
