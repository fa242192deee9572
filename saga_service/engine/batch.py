"""A batch after decoding: its events in order, and what becomes of all other items.

An item is an entry of a stream, a row of the requests read as one, or a timer that is due. Decoding has two steps, for
most batches need only the first: each entry by what is deployed here, then the few entries that name what is not, by
what other replicas have put on record. Events keep the order of their items through both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from saga_service.core.definition import Definition
from saga_service.core.events import Event, TimerDue
from saga_service.core.ids import SagaId
from saga_service.core.vocabulary import Verdict
from saga_service.engine.decode import Announced, Decoder, Received, Reported, Unresolved
from saga_service.engine.deferral import DeferralPolicy, asked_of, deferred, put_back
from saga_service.engine.ports import Asked, Deferred, DefinitionRegistry, RequestResult
from saga_service.wire.dead_letters import DeadLetter, NamedSaga, dead_letter
from saga_service.wire.entries import Entry
from saga_service.wire.events import write_timer
from saga_service.wire.saga_spec import NotDeployedHere, SagaSpec

Item = Entry | TimerDue
"""One item of a batch. A timer has no entry: its lease brings it back."""


class RefusedRequest(NamedTuple):
    """An entry that waited in Postgres and became a dead letter, with its result."""

    entry: Entry
    letter: DeadLetter
    result: RequestResult


@dataclass(slots=True)
class Decoded:
    """A batch after decoding: its events, and what becomes of all other items."""

    in_order: list[Received | Unresolved] = field(default_factory=list)
    """In the order of the items. Unresolved ones are gone once the batch is resolved."""
    is_resolved: bool = True
    reported: list[DeadLetter] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    handled: dict[str, list[str]] = field(default_factory=dict)
    """Ids of the entries to acknowledge, by stream."""
    refused_requests: list[RefusedRequest] = field(default_factory=list)
    reported_requests: list[RequestResult] = field(default_factory=list)
    """Results of workers' dead letters that waited in Postgres."""
    deferred: list[Deferred] = field(default_factory=list)
    parked: list[SagaId] = field(default_factory=list)
    """Sagas whose timer is a dead letter of this batch."""

    @property
    def received(self) -> list[Received]:
        return [each for each in self.in_order if isinstance(each, Received)]

    def acknowledge(self, entry: Entry) -> None:
        """Have the entry acknowledged, unless it waited in Postgres: it was acknowledged then."""
        if entry.request is None:
            self.handled.setdefault(entry.stream, []).append(entry.id)

    def add_dead_letter(self, entry: Entry, letter: DeadLetter) -> None:
        if entry.request is None:
            self.dead_letters.append(letter)
        else:
            result = RequestResult(entry.request.number, Verdict.REFUSED.value, letter.reason, None)
            self.refused_requests.append(RefusedRequest(entry, letter, result))

    def add_reported(self, entry: Entry, letter: DeadLetter) -> None:
        self.reported.append(letter)
        if entry.request is not None:
            self.reported_requests.append(RequestResult(entry.request.number, Verdict.APPLIED.value, "", None))

    def without_requests(self) -> Decoded:
        """The batch without what waited in Postgres: its rows stay as they are."""
        return Decoded(
            in_order=[each for each in self.in_order if each.entry is None or each.entry.request is None],
            is_resolved=self.is_resolved,
            reported=self.reported,
            dead_letters=self.dead_letters,
            handled=self.handled,
            deferred=[each for each in self.deferred if each.entry.request is None],
            parked=self.parked,
        )

    def put_back(self, now_ms: int) -> Decoded:
        """The batch with all that keeps the order of requests put back, to be claimed once its turn has come."""
        stays: list[Received | Unresolved] = []
        put: list[Deferred] = [put_back(each.entry, now_ms) for each in self.refused_requests]
        for each in self.in_order:
            asked = asked_of(each.event) if isinstance(each, Received) else None
            if each.entry is not None and (each.entry.request is not None or asked is not None):
                put.append(put_back(each.entry, now_ms, asked))
            else:
                stays.append(each)
        return replace(self, in_order=stays, refused_requests=[], deferred=[*self.deferred, *put])


class BatchDecoder:
    """Decodes a batch. `registry` knows what other replicas have deployed; without one, nobody does."""

    def __init__(
        self, decoder: Decoder, registry: DefinitionRegistry | None, deferral: DeferralPolicy, now_ms: Callable[[], int]
    ) -> None:
        self._decoder = decoder
        self._registry = registry
        self._deferral = deferral
        self._now_ms = now_ms

    def decode(self, items: Iterable[Item]) -> Decoded:
        """Each item by what is deployed here. Resolve the batch where it is not resolved then."""
        decoded, now_ms = Decoded(), self._now_ms()
        for item in _each_request_once(items):
            if not isinstance(item, Entry):
                decoded.in_order.append(Received(item, None))
                continue
            decoded.acknowledge(item)
            result = self._decoder.decode(item, now_ms)
            match result:
                case Received():
                    decoded.in_order.append(result)
                case Unresolved():
                    decoded.in_order.append(result)
                    decoded.is_resolved = False
                case Reported():
                    decoded.add_reported(item, result.letter)
                case Announced():
                    pass
                case DeadLetter():
                    decoded.add_dead_letter(item, result)
        return decoded

    async def resolve(self, decoded: Decoded) -> list[Definition]:
        """Decode the rest by what is on record, and return the definitions found there. Raises StoreUnavailable.

        A saga that began with what is not deployed here ends with it. An entry that would begin with it waits for a
        replica that has it.
        """
        unknown = [each.unknown for each in decoded.in_order if isinstance(each, Unresolved)]
        found = await self._on_record(unknown)
        now_ms, in_order, decoded.in_order = self._now_ms(), decoded.in_order, []
        for each in in_order:
            if isinstance(each, Unresolved):
                self._resolve_one(each, found, decoded, now_ms)
            else:
                decoded.in_order.append(each)
        decoded.is_resolved = True
        return [spec.definition for spec in found.readable.values()]

    async def _on_record(self, unknown: Collection[NotDeployedHere]) -> _OnRecord:
        if self._registry is None:
            return _OnRecord({}, {})
        types = {each.event_type for each in unknown if each.event_type}
        names = types | {each.child for each in unknown if each.child}
        deployed = await self._registry.deployed(names)
        return _OnRecord(deployed, await self._registry.waiting_for(types) if types else {})

    def _resolve_one(self, unresolved: Unresolved, found: _OnRecord, decoded: Decoded, now_ms: int) -> None:
        entry, unknown = unresolved.entry, unresolved.unknown
        result = self._decoder.decode_resolved(unresolved, now_ms, found.readable, found.waiting)
        only_others_can = isinstance(result, DeadLetter) or unknown.child not in {"", *found.readable}
        if only_others_can and found.knows(unknown) and self._deferral.may_wait(entry, now_ms):
            named = None if entry.request else self._decoder.named_on_record(entry, found.readable)
            decoded.deferred.append(deferred(entry, now_ms, named=named))
        elif isinstance(result, Received):
            decoded.in_order.append(result)
        else:
            decoded.add_dead_letter(entry, result)

    def saga_of(self, item: Item) -> SagaId | None:
        """The saga that the item speaks of, as far as it can be told without asking anybody."""
        event = self._event_of(item)
        return None if event is None else event.saga_id

    def _asked_of(self, item: Item) -> Asked | None:
        event = self._event_of(item)
        return None if event is None else asked_of(event)

    def _event_of(self, item: Item) -> Event | None:
        if not isinstance(item, Entry):
            return item
        try:
            decoded = self._decoder.decode(item, self._now_ms())
        except Exception:  # noqa: BLE001 - a bug that this item meets is found, and told, when the item is tried
            return None
        return decoded.event if isinstance(decoded, Received) else None

    def defer(self, entry: Entry, due_at_ms: int) -> Decoded:
        """A batch that defers this one entry, and does nothing else."""
        decoded = Decoded(deferred=[Deferred(entry, due_at_ms, self._asked_of(entry))])
        decoded.acknowledge(entry)
        return decoded

    def quarantine(self, item: Item, reason: str, *, with_fields: bool) -> Decoded:
        """A batch that makes a dead letter of this one item, and does nothing else."""
        decoded, now_ms = Decoded(), self._now_ms()
        if isinstance(item, Entry):
            entry, saga = item, self._decoder.named_saga(item)
            decoded.acknowledge(item)
        else:
            entry, saga = write_timer(item, f"{item.saga_id}:{now_ms}"), NamedSaga(item.saga_id)
            decoded.parked = [item.saga_id]
        letter = dead_letter(entry if with_fields else _bare(entry), reason, now_ms, saga)
        decoded.add_dead_letter(entry, letter)
        return decoded


@dataclass(frozen=True, slots=True)
class _OnRecord:
    """What is on record of all that a batch names and that is not deployed here."""

    deployed: Mapping[str, SagaSpec | None]
    """By name; None where this release cannot read it."""
    waiting: Mapping[str, Sequence[str]]
    """Names of sagas, by the signal that they wait for."""

    @property
    def readable(self) -> dict[str, SagaSpec]:
        return {name: spec for name, spec in self.deployed.items() if spec is not None}

    def knows(self, unknown: NotDeployedHere) -> bool:
        return unknown.event_type in self.deployed or unknown.child in self.deployed


def _bare(entry: Entry) -> Entry:
    return Entry(entry.stream, entry.id, {})


def _each_request_once(items: Iterable[Item]) -> Iterable[Item]:
    """A request that waited here for longer than its lease is claimed again, and may meet itself in a batch."""
    met: set[int] = set()
    for item in items:
        if isinstance(item, Entry) and item.request is not None:
            if item.request.number in met:
                continue
            met.add(item.request.number)
        yield item
