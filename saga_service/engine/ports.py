"""What the engine needs of the outside, as narrow protocols. `store` and `streams` fulfil them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from saga_service.core.definition import Definition
from saga_service.core.effects import HistoryEntry
from saga_service.core.ids import SagaId
from saga_service.core.state import SagaState
from saga_service.wire.dead_letters import DeadLetter
from saga_service.wire.entries import Message


@dataclass(frozen=True, slots=True)
class Write:
    """A saga's new state, and the revision of the stored one that it grew out of; 0 where there must be none."""

    state: SagaState
    grown_from: int


@dataclass(slots=True)
class Batch:
    """All that one batch writes, in one commit.

    `messages` become one outbox row. `published` are the outbox rows of earlier batches that Redis has taken: they are
    deleted on the way.
    """

    writes: list[Write] = field(default_factory=list)
    history: list[HistoryEntry] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    published: list[int] = field(default_factory=list)

    def is_empty(self) -> bool:
        return not (self.writes or self.dead_letters or self.messages)


class RevisionConflict(Exception):
    """Some saga of the batch is not at the revision that it grew from: nothing of the batch was written."""


class StoreUnavailable(Exception):
    """Postgres could not be reached, or asked for a retry: nothing is known to have been written. Try again."""


class StoreRefused(Exception):
    """Postgres will never take this batch as it is; the text has its reason. Nothing was written."""


class Store(Protocol):
    async def load(self, saga_ids: Sequence[SagaId]) -> list[SagaState]:
        """Those of the sagas that exist. One round trip. Raises StoreUnavailable."""
        ...

    async def commit(self, batch: Batch) -> int | None:
        """Write all of it or nothing, in one round trip; the id of the outbox row, if there is one.

        Raises RevisionConflict, StoreUnavailable, StoreRefused.
        """
        ...

    async def definition(self, saga: str, version: str) -> Definition | None:
        """A version that some replica has driven. Raises StoreUnavailable."""
        ...


class Publisher(Protocol):
    async def publish(self, messages: Sequence[Message], handled: Iterable[tuple[str, Sequence[str]]]) -> None:
        """Add every message, then acknowledge every handled entry (stream and entry ids), in one pipeline.

        Returns when Redis has taken all of it; keeps trying while Redis is away. A message may be added twice.
        """
        ...
