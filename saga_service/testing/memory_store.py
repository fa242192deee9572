"""A store in memory. It keeps the promises that the store on Postgres keeps; one suite of tests holds both to them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from saga_service.base.clock import now_ms
from saga_service.core.definition import TOMBSTONE, Definition, tombstone
from saga_service.core.effects import HistoryEntry
from saga_service.core.events import BusinessKey
from saga_service.core.ids import SagaId
from saga_service.core.state import SagaState
from saga_service.core.vocabulary import ENDED
from saga_service.engine.failures import RequestsAnswered, RequestsOutOfOrder, RevisionConflict
from saga_service.engine.ports import Asked, Batch, Deferred, KeyedSaga, RequestResult
from saga_service.wire.dead_letters import DeadLetter
from saga_service.wire.entries import Entry, Message, RequestRow
from saga_service.wire.fields import MOMENT_MS_MAX
from saga_service.wire.transport import REQUESTS, WANTS_RESULT

KEYED_SAGAS_MAX = 2
"""Of one key, those that go on and those that have ended each. More than one is as many as too many."""


@dataclass(slots=True)
class Request:
    """A request by SQL, or an entry of a stream that is deferred."""

    entry: Entry
    due_at_ms: int = 0
    first_attempt_at_ms: int | None = None
    attempts: int = 0
    asked: Asked | None = None
    """The saga with whose other requests this one keeps its order."""

    def is_of_the_saga_of(self, asked: Asked) -> bool:
        """True where both ask something of one saga, whether they name it by its id or by its key."""
        if self.asked is None:
            return False
        return self.asked.saga_id == asked.saga_id or (asked.key is not None and self.asked.key == asked.key)

    def claimed(self, request_id: int, now_ms: int) -> Entry:
        """The entry as the next claim returns it."""
        first_at_ms = now_ms if self.first_attempt_at_ms is None else self.first_attempt_at_ms
        return replace(self.entry, request=RequestRow(request_id, first_at_ms, self.attempts + 1))


@dataclass(slots=True)
class OutboxRow:
    messages: list[Message]
    claimed_at_ms: int


class MemoryStore:
    """Fulfils `engine.ports.Store` and the protocols of the loops: DueSagas, Requests, Outbox."""

    def __init__(self, clock_ms: Callable[[], int] = now_ms) -> None:
        self.sagas: dict[SagaId, SagaState] = {}
        self.history: list[HistoryEntry] = []
        self.dead_letters: dict[tuple[str, str], DeadLetter] = {}
        self.outbox: dict[int, OutboxRow] = {}
        self.requests: dict[int, Request] = {}
        """Open requests, by their ids."""
        self.results: dict[int, RequestResult] = {}
        """Results of requests, by the requests' ids."""
        self.definitions: dict[tuple[str, str], Definition] = {}
        self._clock_ms = clock_ms
        self._outbox_ids = itertools.count(1)
        self._request_ids = itertools.count(1)

    async def load(self, saga_ids: Sequence[SagaId]) -> list[SagaState]:
        """The sagas that exist, in no order."""
        return [self.sagas[saga_id] for saga_id in saga_ids if saga_id in self.sagas]

    async def commit(self, batch: Batch) -> int | None:
        """Write all of it or nothing; the id of the outbox row, if there is one.

        Raises RevisionConflict, RequestsAnswered and RequestsOutOfOrder.
        """
        self._refuse_answered(batch.results)
        self._refuse_out_of_order(batch)
        self._refuse_lost_races(batch)
        for result in batch.results:
            del self.requests[result.request_id]
            self.results[result.request_id] = result
        for deferred in batch.deferred:
            self._defer(deferred)
        self.sagas.update({write.state.id: write.state for write in batch.writes})
        for saga_id in batch.parked:
            if saga_id in self.sagas and self.sagas[saga_id].wake_at_ms is not None:
                self._wake(saga_id, MOMENT_MS_MAX)
        self.history.extend(batch.history)
        for letter in batch.dead_letters:
            self.dead_letters.setdefault((letter.stream, letter.entry_id), letter)
        await self.forget_published(batch.published)
        if not batch.messages:
            return None
        outbox_id = next(self._outbox_ids)
        self.outbox[outbox_id] = OutboxRow(list(batch.messages), self._clock_ms())
        return outbox_id

    def _refuse_answered(self, results: Sequence[RequestResult]) -> None:
        times = Counter(result.request_id for result in results)
        if not_open := [number for number, count in times.items() if count > 1 or number not in self.requests]:
            raise RequestsAnswered(f"{len(not_open)} of {len(results)} requests are not open any more")

    def _refuse_out_of_order(self, batch: Batch) -> None:
        answered = {result.request_id for result in batch.results}
        of_requests = [(self.requests[number].asked, number) for number in answered]
        of_streams = [(self._with_key_of(asked), None) for asked in batch.asked]
        for asked, number in (*of_requests, *of_streams):
            if asked is not None and self._earlier(asked, number) - answered:
                raise RequestsOutOfOrder("an earlier request of the same saga is open")

    def _earlier(self, asked: Asked, before: int | None) -> set[int]:
        """The open requests of the saga, of ids below `before` where that is given."""
        return {
            number
            for number, request in self.requests.items()
            if (before is None or number < before) and request.is_of_the_saga_of(asked)
        }

    def _with_key_of(self, asked: Asked | None) -> Asked | None:
        state = None if asked is None else self.sagas.get(asked.saga_id)
        return asked if asked is None or state is None or asked.key is not None else asked._replace(key=state.key)

    def _refuse_lost_races(self, batch: Batch) -> None:
        for write in batch.writes:
            stored = self.sagas.get(write.state.id)
            if (stored.revision if stored else 0) != write.expected_revision:
                raise RevisionConflict(f"saga {write.state.id} is not at the expected revision")

    def _defer(self, deferred: Deferred) -> None:
        entry, due_at_ms, asked, _ = deferred
        if entry.request is not None:
            if waiting := self.requests.get(entry.request.number):
                waiting.due_at_ms = due_at_ms
        elif not any((each.entry.stream, each.entry.id) == (entry.stream, entry.id) for each in self.requests.values()):
            self.requests[next(self._request_ids)] = Request(
                entry, due_at_ms, self._clock_ms(), 1, self._with_key_of(asked)
            )

    def _wake(self, saga_id: SagaId, at_ms: int) -> None:
        if saga_id in self.sagas:
            self.sagas[saga_id] = self.sagas[saga_id]._replace(wake_at_ms=at_ms)

    async def probe(self) -> None:
        """Commits nothing."""

    async def definition(self, saga: str, version: str) -> Definition | None:
        """A version that was put into `definitions`, and the tombstone of any saga."""
        return tombstone(saga) if version == TOMBSTONE else self.definitions.get((saga, version))

    async def ids_with_key(self, keys: Sequence[BusinessKey]) -> list[KeyedSaga]:
        """The sagas with these keys, of each kind two at most for each key."""
        return [keyed for key in keys for keyed in self._with_key(key)]

    def _with_key(self, key: BusinessKey) -> Iterator[KeyedSaga]:
        for ended in (False, True):
            found = (
                KeyedSaga(key, state.id, ended)
                for state in self.sagas.values()
                if (state.saga, state.key) == key and (state.status in ENDED) is ended
            )
            yield from itertools.islice(found, KEYED_SAGAS_MAX)

    async def claim_due(self, now_ms: int, limit: int, lease_ms: int) -> tuple[list[SagaId], int | None]:
        """Sagas that are due, the longest overdue first, not again before the lease is over; and the next moment."""
        waking = sorted((state.wake_at_ms, state.id) for state in self.sagas.values() if state.wake_at_ms is not None)
        due = [saga_id for at_ms, saga_id in waking if at_ms <= now_ms][:limit]
        for saga_id in due:
            self._wake(saga_id, now_ms + lease_ms)
        return due, min((at_ms for at_ms, _ in waking if at_ms > now_ms), default=None)

    def request(self, fields: Mapping[str, str], *, wants_result: bool = False, asked: Asked | None = None) -> int:
        """Make a request as the contract's SQL functions do; its id. `asked` is the saga that it is addressed to."""
        request_id = next(self._request_ids)
        encoded = {name.encode(): value.encode() for name, value in fields.items()}
        awaited = {WANTS_RESULT: b"true"} if wants_result else {}
        self.requests[request_id] = Request(
            Entry(REQUESTS, str(request_id), encoded | awaited), asked=self._with_key_of(asked)
        )
        return request_id

    async def claim_requests(self, now_ms: int, limit: int, lease_ms: int) -> list[Entry]:
        """Requests that are due, by their ids, not again before the lease is over, and of one saga in their order."""
        due = sorted((each.due_at_ms, number) for number, each in self.requests.items() if each.due_at_ms <= now_ms)
        claimed: set[int] = set()
        for number in sorted(number for _, number in due):
            asked = self.requests[number].asked
            if len(claimed) < limit and (asked is None or self._earlier(asked, number) <= claimed):
                claimed.add(number)
        return [self._claim(number, now_ms, lease_ms) for number in sorted(claimed)]

    def _claim(self, request_id: int, now_ms: int, lease_ms: int) -> Entry:
        request = self.requests[request_id]
        entry = request.claimed(request_id, now_ms)
        assert entry.request is not None
        self.requests[request_id] = Request(
            request.entry, now_ms + lease_ms, entry.request.since_ms, entry.request.attempts, request.asked
        )
        return entry

    async def claim_unpublished(self, now_ms: int, older_than_ms: int, limit: int) -> list[tuple[int, list[Message]]]:
        """Outbox rows unpublished for so long, oldest first; not again before they have waited so long once more."""
        waiting = sorted((row.claimed_at_ms, number) for number, row in self.outbox.items())
        claimed = [number for at_ms, number in waiting if at_ms <= now_ms - older_than_ms][:limit]
        for number in claimed:
            self.outbox[number].claimed_at_ms = now_ms
        return [(number, list(self.outbox[number].messages)) for number in sorted(claimed)]

    async def forget_published(self, outbox_ids: Sequence[int]) -> None:
        """Delete outbox rows."""
        for outbox_id in outbox_ids:
            self.outbox.pop(outbox_id, None)

    async def keep_unpublished(self, outbox_id: int, messages: Sequence[Message]) -> None:
        """Let an outbox row hold these messages alone."""
        if outbox_id in self.outbox:
            self.outbox[outbox_id].messages = list(messages)
