"""From what a stream delivered to what it means for a saga."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from saga_service.core.definition import Definition
from saga_service.core.events import Event
from saga_service.core.vocabulary import Verdict
from saga_service.engine.deferral import DeferralPolicy
from saga_service.engine.ports import Deferred, DefinitionRegistry, RequestResult
from saga_service.wire.dead_letters import DeadLetter, dead_letter, is_announcement, read_dead_letter
from saga_service.wire.encryption import Cipher, DecryptionFailed
from saga_service.wire.entries import Entry, Malformed
from saga_service.wire.events import read_event, read_trigger
from saga_service.wire.replies import read_reply
from saga_service.wire.saga_spec import Catalog, NotDeployedHere, SagaSpec
from saga_service.wire.stream_names import REQUESTS, StreamNames

NOTHING_RESOLVED: Mapping[str, Any] = {}
"""Any: of whatever kind."""


@dataclass(frozen=True, slots=True)
class Received:
    """An event, and the entry that it came in, if it came in one."""

    event: Event
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class Reported:
    """A worker's dead letter: it is on the stream already, and goes into the table."""

    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class Announced:
    """Our own dead letter, met again on its stream: the table has it, and nothing is left to do."""


@dataclass(frozen=True, slots=True)
class Unresolved:
    """An entry that names what is not deployed here, though other replicas may know it."""

    entry: Entry
    unknown: NotDeployedHere


class ResolvedCatalog:
    """What is deployed here, and what was found on record beside it. It starts nothing that is not deployed, but for
    the children of sagas that are under way."""

    def __init__(
        self, deployed: Catalog, children: Mapping[str, SagaSpec], waiting: Mapping[str, Sequence[str]]
    ) -> None:
        self._deployed = deployed
        self._children = children
        self._waiting = waiting

    def by_event_type(self, event_type: str) -> SagaSpec | None:
        return self._deployed.by_event_type(event_type)

    def by_name(self, name: str) -> SagaSpec | None:
        return self._deployed.by_name(name) or self._children.get(name)

    def by_stream(self, stream: str) -> SagaSpec | None:
        return self._deployed.by_stream(stream)

    def waiting_for(self, signal: str) -> Sequence[str]:
        return self._deployed.waiting_for(signal) or self._waiting.get(signal, ())

    def event_types(self) -> list[str]:
        return self._deployed.event_types()


class Decoder:
    """`data_bytes_max` bounds an entry's names and values together."""

    def __init__(self, catalog: Catalog, names: StreamNames, data_bytes_max: int, cipher: Cipher | None = None) -> None:
        self._catalog = catalog
        self._names = names
        self._data_bytes_max = data_bytes_max
        self._cipher = cipher

    def decode(self, entry: Entry, now_ms: int) -> Received | Reported | Announced | DeadLetter | Unresolved:
        """A dead letter where nobody can make sense of the entry."""
        try:
            if entry.stream == self._names.dead_letters:
                return Announced() if is_announcement(entry) else Reported(read_dead_letter(entry))
            return Received(self._event(entry, self._catalog), entry)
        except NotDeployedHere as unknown:
            return Unresolved(entry, unknown)
        except (Malformed, DecryptionFailed) as error:
            return dead_letter(entry, str(error), now_ms)

    def decode_finally(self, entry: Entry, now_ms: int) -> Received | Reported | Announced | DeadLetter:
        """The same where there are no other replicas."""
        decoded = self.decode(entry, now_ms)
        return self.decode_resolved(decoded, now_ms) if isinstance(decoded, Unresolved) else decoded

    def decode_resolved(
        self,
        unresolved: Unresolved,
        now_ms: int,
        children: Mapping[str, SagaSpec] = NOTHING_RESOLVED,
        waiting: Mapping[str, Sequence[str]] = NOTHING_RESOLVED,
    ) -> Received | DeadLetter:
        """The same with what was learned; what nobody knows is then final."""
        entry = unresolved.entry
        try:
            return Received(self._event(entry, ResolvedCatalog(self._catalog, children, waiting)), entry)
        except NotDeployedHere as unknown:
            if unknown.fallback is not None:
                return Received(unknown.fallback, entry)
            return dead_letter(entry, str(unknown), now_ms)
        except (Malformed, DecryptionFailed) as error:
            return dead_letter(entry, str(error), now_ms)

    def _event(self, entry: Entry, catalog: Catalog) -> Event:
        self._check_size(entry)
        if entry.stream == self._names.replies:
            return read_reply(entry, self._cipher)
        if entry.stream == self._names.events or entry.stream == REQUESTS:
            return read_event(entry, catalog, self._cipher)
        return read_trigger(entry, catalog)

    def _check_size(self, entry: Entry) -> None:
        if entry.size_bytes > self._data_bytes_max:
            raise Malformed(
                f"the entry has {entry.size_bytes:,} bytes, more than the {self._data_bytes_max:,} allowed; "
                "send less, or raise SAGA_DATA_BYTES_MAX"
            )


# MERGED from engine.batch_decoding:
# From the items of one batch to what they mean, with all that is no event set aside.

Item = Entry | Event
"""What a batch is made of: an entry off a stream, or an event that came by none (a timer's, a recovery's)."""


@dataclass(slots=True)
class Decoded:
    received: list[Received] = field(default_factory=list)
    unresolved: list[Unresolved] = field(default_factory=list)
    reported: list[DeadLetter] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    handled: dict[str, list[str]] = field(default_factory=dict)
    """Entries that are to be acknowledged, by stream."""
    resolved: list[Definition] = field(default_factory=list)
    """Found on record, for what is not deployed here."""
    refused_requests: list[tuple[DeadLetter, RequestResult]] = field(default_factory=list)
    """Of what waited in Postgres: dead letters, each with the answer."""
    deferred: list[Deferred] = field(default_factory=list)
    """Of types that only other replicas know, to be looked at again: one of them may."""

    def add(self, entry: Entry, letter: DeadLetter) -> None:
        if entry.request is None:
            self.dead_letters.append(letter)
        else:
            answer = RequestResult(entry.request.number, Verdict.REFUSED.value, letter.reason, None)
            self.refused_requests.append((letter, answer))

    def without_requests(self) -> Decoded:
        return Decoded(
            received=[item for item in self.received if item.entry is None or item.entry.request is None],
            reported=self.reported,
            dead_letters=self.dead_letters,
            handled=self.handled,
            deferred=[deferred for deferred in self.deferred if deferred.entry.request is None],
        )


class BatchDecoder:
    """`records` tell what other replicas have deployed; without them that is unknown."""

    def __init__(
        self, decoder: Decoder, registry: DefinitionRegistry | None, deferral: DeferralPolicy, now_ms: Callable[[], int]
    ) -> None:
        self._decoder = decoder
        self._registry = registry
        self._deferral = deferral
        self._now_ms = now_ms

    def decode(self, items: Iterable[Item]) -> Decoded:
        decoded, now_ms = Decoded(), self._now_ms()
        for item in _each_request_once(items):
            if not isinstance(item, Entry):
                decoded.received.append(Received(item, None))
                continue
            if item.request is None:
                decoded.handled.setdefault(item.stream, []).append(item.id)
            result = self._decoder.decode(item, now_ms)
            match result:
                case Received():
                    decoded.received.append(result)
                case Reported():
                    decoded.reported.append(result.letter)
                case Announced():
                    pass
                case Unresolved():
                    decoded.unresolved.append(result)
                case DeadLetter():
                    decoded.add(item, result)
        return decoded

    async def resolve(self, decoded: Decoded) -> None:
        """Decode the rest. What is not deployed here may be so elsewhere, or may have been: sagas that began with it
        end with it, and what begins with it waits for a replica that has it. Raises StoreUnavailable."""
        types = {each.unknown.event_type for each in decoded.unresolved if each.unknown.event_type}
        names = types | {each.unknown.child for each in decoded.unresolved if each.unknown.child}
        on_record = {} if self._registry is None else await self._registry.newest(names)
        waiting = {} if self._registry is None or not types else await self._registry.waiting_for(types)
        sagas = {name: spec for name, spec in on_record.items() if spec is not None}
        decoded.resolved = [spec.definition for spec in sagas.values()]
        now_ms = self._now_ms()
        while decoded.unresolved:
            unresolved = decoded.unresolved.pop()
            entry, unknown = unresolved.entry, unresolved.unknown
            result = self._decoder.decode_resolved(unresolved, now_ms, sagas, waiting)
            only_others_can = isinstance(result, DeadLetter) or unknown.child not in {"", *sagas}
            on_others = unknown.event_type in on_record or unknown.child in on_record
            if only_others_can and on_others and self._deferral.may_wait(entry, now_ms):
                decoded.deferred.append(self._deferral.deferred(entry, now_ms))
            elif isinstance(result, Received):
                decoded.received.append(result)
            else:
                decoded.add(entry, result)


def _each_request_once(items: Iterable[Item]) -> Iterable[Item]:
    """One that waited here for longer than its lease is claimed again, and may meet itself in a batch."""
    met: set[int] = set()
    for item in items:
        if isinstance(item, Entry) and item.request is not None:
            if item.request.number in met:
                continue
            met.add(item.request.number)
        yield item
