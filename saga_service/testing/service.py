"""The service in memory: the real decoding, the real fold and the real core, with an agenda in the place of streams,
timers and the clock.

    what comes next on the agenda -> (worker | child saga | decode -> fold) -> what that sends goes onto the agenda
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from saga_service.core.definition import Definition
from saga_service.core.effects import Command, HistoryEntry, Sent
from saga_service.core.events import TimerDue
from saga_service.core.ids import SagaId
from saga_service.core.state import SagaState
from saga_service.definitions.catalog import Catalog
from saga_service.engine.decode import Decoder, Received
from saga_service.engine.fold import Folded, fold
from saga_service.testing.environment import Coming, Outside, sender
from saga_service.testing.errors import NeverEnds, Refused
from saga_service.wire.children import write_child_request, write_parent_reply
from saga_service.wire.commands import write_command
from saga_service.wire.dead_letters import DeadLetter
from saga_service.wire.entries import Entry, Message, entry_of
from saga_service.wire.stream_names import StreamNames

DATA_BYTES_MAX = 1_048_576
_LATELY = 200
"""So many events are looked at when something goes on and on."""


class SentAt(NamedTuple):
    at_ms: int
    sent: Sent


@dataclass(slots=True)
class Record:
    """One saga, and all that was ever told of it."""

    state: SagaState
    sent: list[SentAt] = field(default_factory=list)
    history: list[HistoryEntry] = field(default_factory=list)


class _Delivery(NamedTuple):
    """`order` keeps what comes at one moment in the order in which it was sent."""

    at_ms: int
    order: int
    entry: Entry
    sent: Sent | None
    """What the entry was made of, where the service sent it."""


class ServiceInMemory:
    def __init__(self, catalog: Catalog, outside: Outside, names: StreamNames, now_ms: int, events_max: int) -> None:
        self.now_ms = now_ms
        self.records: dict[SagaId, Record] = {}
        self.dead_letters: list[DeadLetter] = []
        self._catalog = catalog
        self._outside = outside
        self._names = names
        self._decoder = Decoder(catalog, names, DATA_BYTES_MAX)
        self._agenda: list[_Delivery] = []
        self._order = count(1)
        self._events_max = events_max
        self._events = 0
        self._lately: deque[str] = deque(maxlen=_LATELY)

    def definition(self, state: SagaState) -> Definition:
        definition = self._catalog.definition(state.saga, state.version)
        assert definition is not None, "a saga of this simulation began with one of its definitions"
        return definition

    def add(self, message: Message) -> SagaId:
        """Take in an entry now, as if a producer had added it. The saga that it concerns; raises Refused."""
        entry = self._entry(message)
        decoded = self._decoder.decode_finally(entry, self.now_ms)
        if isinstance(decoded, DeadLetter):
            raise Refused(decoded.reason)
        if not isinstance(decoded, Received):
            raise Refused(f"nobody takes in what is on the stream '{entry.stream}'")
        folded = self._fold(decoded)
        reasons = [letter.reason for letter in folded.dead_letters] + [reason for _, reason in folded.refusals]
        if reasons:
            raise Refused("; ".join(reasons))
        return decoded.event.saga_id

    def next_ms(self) -> int | None:
        """When the next thing happens by itself; None where nothing is left."""
        moments = [record.state.wake_at_ms for record in self.records.values() if record.state.wake_at_ms is not None]
        if self._agenda:
            moments.append(self._agenda[0].at_ms)
        return max(self.now_ms, min(moments)) if moments else None

    def happen(self, at_ms: int) -> None:
        """Let the next thing happen, at its moment. What comes at the very moment of a time-out comes first.

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
            self._expect(self._outside.answers(sent, entry, self.now_ms))
            return
        instead = None if sent is None else self._outside.stands_in_for(sent)
        if instead is not None:
            self._expect(instead)
            return
        decoded = self._decoder.decode_finally(entry, self.now_ms)
        if isinstance(decoded, Received):
            self._fold(decoded)
        elif isinstance(decoded, DeadLetter):
            self.dead_letters.append(decoded)

    def _fold(self, received: Received) -> Folded:
        states = {saga_id: record.state for saga_id, record in self.records.items()}
        folded = fold([received], states, self._catalog.definition, self.now_ms)
        for saga_id, state in folded.states.items():
            self.records.setdefault(saga_id, Record(state)).state = state
        for entry in folded.history:
            record = self.records[entry.saga_id]
            record.history.append(entry)
            self._lately.append(f"{record.state.saga}: {' '.join([entry.step or '', entry.event]).strip()}")
        for sent in folded.commands:
            self._send(sent)
        for reply in folded.replies:
            self._put(self.now_ms, write_parent_reply(reply, self._names), None)
        self.dead_letters.extend(folded.dead_letters)
        return folded

    def _send(self, sent: Sent) -> None:
        self.records[sender(sent)].sent.append(SentAt(self.now_ms, sent))
        write = (
            write_command(sent, self._names) if isinstance(sent, Command) else write_child_request(sent, self._names)
        )
        self._put(self.now_ms, write, sent)

    def _expect(self, coming: Iterable[Coming]) -> None:
        for after_ms, message in coming:
            self._put(self.now_ms + after_ms, message, None)

    def _put(self, at_ms: int, message: Message, sent: Sent | None) -> None:
        entry = self._entry(message)
        heappush(self._agenda, _Delivery(at_ms, next(self._order), entry, sent))

    def _entry(self, message: Message) -> Entry:
        entry_id = f"{self.now_ms}-{next(self._order)}"
        return entry_of(message.stream, entry_id, [each.encode() for each in message.fields])

    def _count(self) -> None:
        self._events += 1
        if self._events < self._events_max:
            return
        repeated = ", ".join(f"{what} ({times} times)" for what, times in Counter(self._lately).most_common(5))
        raise NeverEnds(f"{self._events:,} things happened and it goes on; of the last {len(self._lately)}: {repeated}")
