"""The events of a saga. Stream entries, timers, recoveries and operators' requests all become one of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from saga_service.core.ids import CommandName, SagaId
from saga_service.core.state import Fault, JsonObject
from saga_service.core.vocabulary import Operation, Outcome, Resolution

TO_CHILDREN = "saga.child"
"""Stands for a service's name where requests to child sagas are meant. No service has a name with a dot."""


class BusinessKey(NamedTuple):
    """A saga's name in the world outside, beside its id."""

    saga: str
    key: str


class Started(NamedTuple):
    """A saga is to begin. Its input is valid."""

    saga_id: SagaId
    saga: str
    version: str
    key: str | None
    input: JsonObject
    traceparent: str | None = None
    parent: CommandName | None = None
    """The parent's command that this saga carries out."""
    actor: str | None = None
    """The person or program that started it; None where the producer does not say."""


class Replied(NamedTuple):
    """A worker's reply to one command, or a child saga's."""

    command: CommandName
    outcome: Outcome
    output: JsonObject | None = None
    fault: Fault | None = None
    """Why it did not succeed; of a success, why its output cannot be used."""
    retry_after_ms: int | None = None
    """The wait before the next attempt that the worker wishes for; the policy's without one."""

    @property
    def saga_id(self) -> SagaId:
        return self.command.saga_id


@dataclass(frozen=True, slots=True)
class TimerDue:
    """The saga's `wake_at_ms` has come. The state shows which steps are due, if any."""

    saga_id: SagaId


@dataclass(frozen=True, slots=True)
class TransportLost:
    """Redis lost a stream: what this saga has in flight on it is to be sent again, under the same command ids."""

    saga_id: SagaId
    lost: frozenset[str] | None = None
    """The services whose commands were lost, and TO_CHILDREN where requests to child sagas were; None for all that is
    in flight."""


@dataclass(frozen=True, slots=True)
class Signalled:
    """A signal from outside. Two with one `signal_id` are one signal."""

    saga_id: SagaId
    name: str
    signal_id: str
    data: JsonObject
    by_key: BusinessKey | None = None
    """The saga's name and key, where the request gave no id. `saga_id` is then the one that follows from them."""
    step: str | None = None
    """The step that is meant; None for any that waits for a signal of this name."""
    data_bytes: int = 0
    """The size of the data as it came."""
    actor: str | None = None
    """The person or program that sent it; None where the producer does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRequested:
    """An operator, or the parent saga, requests an operation."""

    saga_id: SagaId
    operation: Operation
    actor: str
    reason: str | None = None
    step: str | None = None
    """The step that is meant; None for every step that is parked."""
    resolution: Resolution | None = None
    output: JsonObject | None = None
    """The output of a step that is resolved as succeeded."""
    answers: CommandName | None = None
    """The parent's command that this request carries out; None for an operator's request."""
    by_key: BusinessKey | None = None
    """The saga's name and key, where the request gave no id. `saga_id` is then the one that follows from them."""
    child: str = ""
    """The child's name in a parent's request, for the child may not have been started yet."""
    is_known_done: bool = False
    """Whether the parent knows that the child was done."""


Event = Started | Replied | TimerDue | TransportLost | Signalled | OperationRequested
