"""The service in memory: the real decoding, the real fold and the real core, with an agenda in the place of streams,
timers, tables and the clock.

    next delivery on the agenda -> (worker | child saga | decode -> fold) -> the messages that it sends join the agenda
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from saga_service.core.definition import Definition
from saga_service.core.effects import ChildRequest, Command, HistoryEntry, Sent
from saga_service.core.events import BusinessKey, TimerDue
from saga_service.core.ids import SagaId
from saga_service.core.state import SagaState
from saga_service.core.vocabulary import ENDED
from saga_service.definitions.catalog import Catalog
from saga_service.engine.decode import Decoder, Received
from saga_service.engine.deferral import DeferralPolicy
from saga_service.engine.fold import Folded, fold
from saga_service.engine.outbox import OutboxRows, Outgoing
from saga_service.engine.ports import Deferred, KeyedSaga
from saga_service.engine.saga_loader import addressed_by_key
from saga_service.testing.environment import DelayedMessage, Environment
from saga_service.testing.virtual_loop import NeverEnds
from saga_service.wire.dead_letters import DeadLetter
from saga_service.wire.entries import Entry, Message, RequestRow, entry_of
from saga_service.wire.transport import StreamNames

DATA_BYTES_MAX = 1_048_576
"""The size of the largest entry. The service has it as SAGA_ENTRY_BYTES_MAX, and this is its default."""
DEFERRAL_MAX_MS = 60_000
"""The time for which an entry waits for its saga. The service has it as SAGA_DEFERRAL_MAX_MS."""
_RECENT_EVENTS = 200
"""The number of events that are counted when a simulation does not end."""


class Refused(Exception):
    """The service refuses an entry. The text is the reason that its dead letter would have."""


class SentAt(NamedTuple):
    at_ms: int
    sent: Sent


@dataclass(slots=True)
class Record:
    """One saga, with every message that was sent for it and its whole history."""

    state: SagaState
    sent: list[SentAt] = field(default_factory=list)
    history: list[HistoryEntry] = field(default_factory=list)


class _Delivery(NamedTuple):
    """An entry on the agenda. `order` keeps entries of one moment in the order in which they were sent."""

    at_ms: int
    order: int
    entry: Entry
    sent: Sent | None
    """The service's own message that became the entry; None for any other entry."""


class SimulatedService:
    """Fulfils the service's promises in memory. `now_ms` is its clock, and only `happen` moves it by itself."""

    def __init__(
        self, catalog: Catalog, environment: Environment, names: StreamNames, now_ms: int, events_max: int
    ) -> None:
        self.now_ms = now_ms
        self.records: dict[SagaId, Record] = {}
        self.dead_letters: list[DeadLetter] = []
        self._catalog = catalog
        self._environment = environment
        self._names = names
        self._decoder = Decoder(catalog, names, DATA_BYTES_MAX)
        self._outgoing = Outgoing(names, OutboxRows(), entry_bytes_max=DATA_BYTES_MAX)
        self._deferral = DeferralPolicy(DEFERRAL_MAX_MS)
        self._agenda: list[_Delivery] = []
        self._order = count(1)
        self._events_max = events_max
        self._events = 0
        self._recent: deque[str] = deque(maxlen=_RECENT_EVENTS)

    def definition(self, state: SagaState) -> Definition:
        definition = self._catalog.definition(state.saga, state.version)
        assert definition is not None, "a saga of this simulation began with one of its definitions"
        return definition

    def add(self, message: Message) -> SagaId:
        """Process an entry now, as if a producer had added it; the id of the saga that it is addressed to.

        An entry whose saga is not started yet is deferred. Raises Refused.
        """
        decoded = self._decoder.decode_finally(self._entry(message), self.now_ms)
        if isinstance(decoded, DeadLetter):
            raise Refused(decoded.reason)
        if not isinstance(decoded, Received):
            raise Refused(f"the service reads no entries of the stream '{message.stream}'")
        received = self._addressed(decoded)
        folded = self._fold(received)
        reasons = [letter.reason for letter in folded.dead_letters] + [reason for _, reason in folded.refusals]
        if reasons:
            raise Refused("; ".join(reasons))
        return received.event.saga_id

    def next_ms(self) -> int | None:
        """The moment of the next event; None where nothing is left to happen."""
        moments = [record.state.wake_at_ms for record in self.records.values() if record.state.wake_at_ms is not None]
        if self._agenda:
            moments.append(self._agenda[0].at_ms)
        return max(self.now_ms, min(moments)) if moments else None

    def happen(self, at_ms: int) -> None:
        """Let the next event happen, at its moment. A delivery at the very moment of a time-out comes first.

        Raises NeverEnds.
        """
        self.now_ms = at_ms
        if self._agenda and self._agenda[0].at_ms <= at_ms:
            self._deliver(heappop(self._agenda))
        else:
            self._fold(Received(TimerDue(self._first_to_wake()), None))
        self._count()

    def begin_counting(self) -> None:
        self._events = 0

    def _first_to_wake(self) -> SagaId:
        waking = [record.state for record in self.records.values() if record.state.wake_at_ms is not None]
        return min(waking, key=lambda state: state.wake_at_ms or 0).id

    def _deliver(self, delivery: _Delivery) -> None:
        entry, sent = delivery.entry, delivery.sent
        if isinstance(sent, Command):
            self._expect(self._environment.replies(entry, self.now_ms))
            return
        replies = None if sent is None else self._child_replies(sent)
        if replies is not None:
            self._expect(replies)
            return
        decoded = self._decoder.decode_finally(entry, self.now_ms)
        if isinstance(decoded, Received):
            self.dead_letters.extend(self._fold(self._addressed(decoded)).dead_letters)
        elif isinstance(decoded, DeadLetter):
            self.dead_letters.append(decoded)

    def _child_replies(self, request: ChildRequest) -> list[DelayedMessage] | None:
        parent = self.records[request.command.saga_id].state.saga
        return self._environment.child_replies(request, parent)

    def _addressed(self, received: Received) -> Received:
        """The event with the id of the saga that it names by its key, which may be a child's."""
        event, entry = received.event, received.entry
        if event.saga_id in self.records:
            return received
        states = [record.state for record in self.records.values()]
        with_keys = [
            KeyedSaga(BusinessKey(state.saga, state.key), state.id, state.status in ENDED)
            for state in states
            if state.key is not None
        ]
        may_wait = entry is not None and self._deferral.may_wait(entry, self.now_ms)
        return addressed_by_key(received, with_keys, may_wait=may_wait)

    def _fold(self, received: Received) -> Folded:
        states = {saga_id: record.state for saga_id, record in self.records.items()}
        folded = fold([received], states, self._catalog.definition, self.now_ms, self._deferral)
        for saga_id, state in folded.states.items():
            self.records.setdefault(saga_id, Record(state)).state = state
        for entry in folded.history:
            record = self.records[entry.saga_id]
            record.history.append(entry)
            self._recent.append(f"{record.state.saga}: {' '.join([entry.step or '', entry.event]).strip()}")
        for sent in _without_repeats(folded):
            self._send(sent)
        for reply in folded.replies:
            self._put(self.now_ms, self._outgoing.replied(reply))
        for deferred in folded.deferred:
            self._defer(deferred)
        return folded

    def _send(self, sent: Sent) -> None:
        saga_id = sent.saga_id if isinstance(sent, Command) else sent.command.saga_id
        message = self._outgoing.sent(sent)
        is_refused = message.stream == self._names.replies
        self.records[saga_id].sent.append(SentAt(self.now_ms, sent))
        self._put(self.now_ms, message, None if is_refused else sent)

    def _expect(self, messages: Iterable[DelayedMessage]) -> None:
        for after_ms, message in messages:
            self._put(self.now_ms + after_ms, message)

    def _put(self, at_ms: int, message: Message, sent: Sent | None = None) -> None:
        heappush(self._agenda, _Delivery(at_ms, next(self._order), self._entry(message), sent))

    def _defer(self, deferred: Deferred) -> None:
        order = next(self._order)
        row = deferred.entry.request or RequestRow(order, self.now_ms, 1)
        entry = replace(deferred.entry, request=row._replace(attempts=row.attempts + 1))
        heappush(self._agenda, _Delivery(deferred.due_at_ms, order, entry, None))

    def _entry(self, message: Message) -> Entry:
        entry_id = f"{self.now_ms}-{next(self._order)}"
        return entry_of(message.stream, entry_id, [each.encode() for each in message.fields])

    def _count(self) -> None:
        self._events += 1
        if self._events < self._events_max:
            return
        repeated = ", ".join(f"{what} ({times} times)" for what, times in Counter(self._recent).most_common(5))
        raise NeverEnds(f"{self._events:,} events happened and it goes on; of the last {len(self._recent)}: {repeated}")


def _without_repeats(folded: Folded) -> list[Sent]:
    """What is sent, without requests to child sagas that a timer only repeats: here no message is lost."""
    recorded = {id(sent) for entry in folded.history for sent in entry.sent}
    return [sent for sent in folded.commands if isinstance(sent, Command) or id(sent) in recorded]
