"""All that can happen to a saga. Every door (stream entry, timer, recovery) makes one of these of what it receives."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from saga_service.core.ids import CommandName, SagaId
from saga_service.core.state import Fault, JsonObject


class Outcome(StrEnum):
    """What a worker says of one command."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    """It can never succeed: do not retry."""
    PROGRESS = "progress"
    """Still at work."""


class Started(NamedTuple):
    """Somebody wants a saga. Its input is already valid."""

    saga_id: SagaId
    saga: str
    version: str
    key: str | None
    input: JsonObject
    traceparent: str | None = None


class Replied(NamedTuple):
    """A worker's answer to one command."""

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


Event = Started | Replied | TimerDue | TransportLost
