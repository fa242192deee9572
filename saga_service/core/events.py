"""All that can happen to a saga. Every door (stream entry, timer, recovery, a person's request) makes one of these of
what it receives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from saga_service.core.ids import CommandName, SagaId
from saga_service.core.state import Fault, JsonObject
from saga_service.core.vocabulary import Operation, Outcome, Resolution


class BusinessKey(NamedTuple):
    """The name by which the outside knows a saga, beside its id."""

    saga: str
    key: str


class Started(NamedTuple):
    """Somebody wants a saga. Its input is already valid."""

    saga_id: SagaId
    saga: str
    version: str
    key: str | None
    input: JsonObject
    traceparent: str | None = None
    parent: CommandName | None = None
    """The command of another saga that this one carries out."""


class Replied(NamedTuple):
    """A worker's answer to one command, or a child saga's."""

    command: CommandName
    outcome: Outcome
    output: JsonObject | None = None
    fault: Fault | None = None
    retry_after_ms: int | None = None
    """The worker's own wish for the wait before the next attempt; the policy's is used without one."""

    @property
    def saga_id(self) -> SagaId:
        return self.command.saga_id


@dataclass(frozen=True, slots=True)
class TimerDue:
    """The saga's `wake_at_ms` has come. Which step it concerns, if any, the state knows."""

    saga_id: SagaId


@dataclass(frozen=True, slots=True)
class TransportLost:
    """Redis lost a stream: whatever this saga has in flight must be sent again, under the same command ids."""

    saga_id: SagaId


@dataclass(frozen=True, slots=True)
class Signalled:
    """Somebody outside tells the saga something. The same `signal_id` twice is the same signal."""

    saga_id: SagaId
    name: str
    signal_id: str
    data: JsonObject
    by_key: BusinessKey | None = None
    """What names the saga, where no id does. `saga_id` is then the one that follows from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRequested:
    """A person, or another saga, asks something of the saga."""

    saga_id: SagaId
    operation: Operation
    actor: str
    reason: str | None = None
    step: str | None = None
    """None: every step that is parked."""
    resolution: Resolution | None = None
    output: JsonObject | None = None
    """What a step that was resolved as succeeded is said to have returned."""
    answers: CommandName | None = None
    """The parent's command that this carries out, where a parent asks it of its child."""
    by_key: BusinessKey | None = None
    """What names the saga, where no id does. `saga_id` is then the one that follows from it."""
    child: str = ""
    """The child's name, where a parent asks: it may not have been started yet."""
    is_known_done: bool = False
    """Whether the parent has heard that the child is done."""


Event = Started | Replied | TimerDue | TransportLost | Signalled | OperationRequested
