"""The data that the engine hands over and the protocols that it needs. `store` and `streams` fulfil them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from saga_service.core.definition import Definition
from saga_service.core.effects import HistoryEntry
from saga_service.core.events import BusinessKey
from saga_service.core.ids import SagaId
from saga_service.core.state import SagaState
from saga_service.wire.dead_letters import DeadLetter, NamedSaga
from saga_service.wire.entries import Entry, Message
from saga_service.wire.saga_spec import SagaSpec
from saga_service.wire.transport import SeenStream


@dataclass(frozen=True, slots=True)
class Write:
    """A saga's new state, and the revision that the stored one must have; 0 where there must be none."""

    state: SagaState
    expected_revision: int


class RequestResult(NamedTuple):
    """The result of a request that came by SQL, or of an entry that waited in Postgres."""

    request_id: int
    verdict: str
    reason: str
    saga_id: SagaId | None


class KeyedSaga(NamedTuple):
    """A saga that has a business key."""

    key: BusinessKey
    saga_id: SagaId
    has_ended: bool


class Asked(NamedTuple):
    """A saga of which a signal or an operation asks something. Such requests keep their order."""

    saga_id: SagaId
    key: str | None
    """The saga's business key, as far as it is known."""


class Deferred(NamedTuple):
    """An entry that cannot be handled yet. It is tried again at `due_at_ms`."""

    entry: Entry
    due_at_ms: int
    asked: Asked | None = None
    """The saga with whose other requests the entry keeps its order."""
    named: NamedSaga | None = None
    """The saga that the entry would start, for a person who asks what became of it."""


@dataclass(slots=True)
class Batch:
    """All that one batch writes, in one commit."""

    writes: list[Write] = field(default_factory=list)
    history: list[HistoryEntry] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    """They become one outbox row."""
    published: list[int] = field(default_factory=list)
    """Outbox rows of earlier batches that Redis has taken. They are deleted on the way."""
    results: list[RequestResult] = field(default_factory=list)
    """Of requests, which are deleted unless somebody waits for the result."""
    deferred: list[Deferred] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    """Sagas of which entries of streams ask something: no earlier request of theirs may be open."""
    parked: list[SagaId] = field(default_factory=list)
    """Sagas whose timer became a dead letter: their wake-up is moved out of the way."""

    def is_empty(self) -> bool:
        return not (self.writes or self.dead_letters or self.messages or self.results or self.deferred)


class Store(Protocol):
    """Where sagas live. Every method may also raise StoreTimedOut and StoreFailed, which are StoreUnavailable."""

    async def load(self, saga_ids: Sequence[SagaId]) -> list[SagaState]:
        """The sagas that exist, in one round trip.

        Raises StoreUnavailable, and DecryptionFailed where the key of a saga is not known here.
        """
        ...

    async def commit(self, batch: Batch) -> int | None:
        """Write all of it or nothing, in one round trip; the id of the outbox row, if there is one.

        Raises RevisionConflict, RequestsAnswered, RequestsOutOfOrder, StoreUnavailable, StoreRefused.
        """
        ...

    async def probe(self) -> None:
        """Commit something that concerns no saga, under the locks on tables that a batch takes.

        Raises StoreUnavailable where no batch could be committed now.
        """
        ...

    async def definition(self, saga: str, version: str) -> Definition | None:
        """A version that some replica has driven.

        Raises StoreUnavailable, and UnreadableDocument where this release cannot read it.
        """
        ...

    async def ids_with_key(self, keys: Sequence[BusinessKey]) -> list[KeyedSaga]:
        """The sagas with these keys, of each kind two at most for each key. Raises StoreUnavailable."""
        ...


class DefinitionRegistry(Protocol):
    """What other replicas have, or had, deployed."""

    async def deployed(self, sagas: Collection[str]) -> dict[str, SagaSpec | None]:
        """The deployed version of each of these sagas, by name. Sagas that are not on record are left out.

        None stands for a version that this release cannot read. Raises StoreUnavailable.
        """
        ...

    async def waiting_for(self, signals: Collection[str]) -> dict[str, list[str]]:
        """Names of the sagas that have a version which waits for the signal, by signal. Raises StoreUnavailable."""
        ...


class StartsBacklog(Protocol):
    """The entries that may start sagas and have not been handled."""

    async def handled_up_to_ms(self) -> int:
        """Every start that was added before this moment has been handled; now, where none waits.

        Raises TransportError.
        """
        ...


class Publisher(Protocol):
    """The way of messages to their streams."""

    @property
    def server_id(self) -> str | None:
        """The id of the server's run that messages were last sent to; None before the first, or where it is untold."""
        ...

    async def publish(
        self,
        messages: Sequence[Message],
        handled: Iterable[tuple[str, Sequence[str]]],
        server_before: str | None = None,
    ) -> list[Message]:
        """Add every message, then acknowledge every handled entry (stream and entry ids), in one pipeline.

        `server_before` is `server_id` as it was before the messages were made. On another run none is an original.

        Keeps trying while Redis is away; a message may then be added twice. Returns the messages that Redis refuses for
        a reason that lasts: they stay in the outbox.
        """
        ...


class DueSagas(Protocol):
    """The timers: sagas whose moment has come."""

    async def claim_due(self, now_ms: int, limit: int, lease_ms: int) -> tuple[list[SagaId], int | None]:
        """Due sagas, which no other replica gets until the lease is over, and the moment at which the next is due.

        Raises StoreUnavailable.
        """
        ...


class Requests(Protocol):
    """Entries that wait in Postgres: requests by SQL, and deferred entries."""

    async def claim_requests(self, now_ms: int, limit: int, lease_ms: int) -> list[Entry]:
        """Entries that are due, which no other replica gets until the lease is over.

        An entry is left out while an earlier one of its saga is open and is not returned with it. A request by SQL has
        `wire.transport.REQUESTS` for its stream. Raises StoreUnavailable.
        """
        ...


class Outbox(Protocol):
    """Messages that were committed and not yet published by the replica that committed them."""

    async def claim_unpublished(self, now_ms: int, older_than_ms: int, limit: int) -> list[tuple[int, list[Message]]]:
        """Rows that are older than this, which no other replica gets until they have waited as long again.

        Raises StoreUnavailable.
        """
        ...

    async def forget_published(self, ids: Sequence[int]) -> None:
        """Delete rows. Raises StoreUnavailable."""
        ...

    async def keep_unpublished(self, outbox_id: int, messages: Sequence[Message]) -> None:
        """Take all other messages out of a row: they are published. Raises StoreUnavailable."""
        ...


class RecoveryPage(NamedTuple):
    """What one step of a recovery has done."""

    sagas: int
    """Sagas for which a request was made to send again what was lost."""
    is_owed: bool
    """True where the recovery is not over."""


class Losses(Protocol):
    """What was last seen of each stream, and what is owed after a loss. It outlives every replica."""

    async def see_streams(self, seen: Sequence[SeenStream], now_ms: int, found_by: str) -> list[str]:
        """Record what was seen of streams just now; the names of those that are found lost by it.

        `found_by` is this replica's name. Raises StoreUnavailable.
        """
        ...

    async def continue_recovery(self, now_ms: int, found_before_ms: int, sagas_max: int) -> RecoveryPage:
        """Make requests, for a page of sagas in flight, that send again what was lost.

        Losses found after `found_before_ms` are left for later. Raises StoreUnavailable.
        """
        ...


class LetterOperation(StrEnum):
    """What a job can do to dead letters."""

    REPLAY = "replay"
    DROP = "drop"


class JobTurn(NamedTuple):
    """A job that is taken in hand for a moment, and which of its items may be requested now."""

    job_id: int
    operation: str
    has_ended: bool
    output: str | None
    """What `resolve` gives as the step's output, as it is stored: for the saga with the id `output_saga_id`."""
    output_saga_id: str | None
    reached: int
    """How many items were taken in hand before."""
    saga_ids: Sequence[str]
    """The sagas that come next."""
    positions: Sequence[int]
    """The places in the job of the dead letters that come next."""


class Jobs(Protocol):
    """Operations on many sagas or dead letters, which any replica carries on. They outlive every replica."""

    async def take_turn(self, now_ms: int, pause_ms: int, open_max: int) -> JobTurn | None:
        """The running job that has waited longest, with the answers noted that have come; None where none is due.

        At most `open_max` requests of all jobs are open at once, and a job has a turn every `pause_ms` at most.

        Raises StoreUnavailable.
        """
        ...

    async def request(self, turn: JobTurn, now_ms: int) -> int:
        """Request the operation of the turn's sagas; how many, which is none where another replica was quicker.

        Raises StoreUnavailable, and DecryptionFailed where the key of the output is not known here.
        """
        ...

    async def drop_letters(self, turn: JobTurn, now_ms: int) -> None:
        """Drop the dead letters of the turn. Raises StoreUnavailable."""
        ...

    async def note_problem(self, job_id: int, problem: str) -> bool:
        """Say in the job why it stands still, and put its next turn off; true where the problem is new.

        The note goes once the job moves. Raises StoreUnavailable.
        """
        ...
