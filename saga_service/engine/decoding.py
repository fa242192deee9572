"""From what a stream delivered to what it means for a saga."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saga_service.core.events import Event
from saga_service.wire.blueprint import Blueprint, Catalog, UnknownHere
from saga_service.wire.codec import Codec, Unopenable
from saga_service.wire.dead_letters import DeadLetter, dead_letter, is_kept, read_dead_letter
from saga_service.wire.entries import Entry, Malformed
from saga_service.wire.events import read_event, read_trigger
from saga_service.wire.keys import REQUESTS, StreamNames
from saga_service.wire.replies import read_reply

NOTHING_LEARNED: Mapping[str, Any] = {}
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
class Unlearned:
    """An entry that names what is not deployed here, though other replicas may know it."""

    entry: Entry
    unknown: UnknownHere


class LearnedCatalog:
    """What is deployed here, and what was found on record beside it. It starts nothing that is not deployed, but for
    the children of sagas that are under way."""

    def __init__(
        self, deployed: Catalog, children: Mapping[str, Blueprint], waiting: Mapping[str, Sequence[str]]
    ) -> None:
        self._deployed = deployed
        self._children = children
        self._waiting = waiting

    def by_event_type(self, event_type: str) -> Blueprint | None:
        return self._deployed.by_event_type(event_type)

    def by_name(self, name: str) -> Blueprint | None:
        return self._deployed.by_name(name) or self._children.get(name)

    def by_stream(self, stream: str) -> Blueprint | None:
        return self._deployed.by_stream(stream)

    def waiting_for(self, signal: str) -> Sequence[str]:
        return self._deployed.waiting_for(signal) or self._waiting.get(signal, ())

    def event_types(self) -> list[str]:
        return self._deployed.event_types()


class Decoder:
    """`data_bytes_max` bounds an entry's names and values together."""

    def __init__(self, catalog: Catalog, names: StreamNames, data_bytes_max: int, codec: Codec | None = None) -> None:
        self._catalog = catalog
        self._names = names
        self._data_bytes_max = data_bytes_max
        self._codec = codec

    def decode(self, entry: Entry, now_ms: int) -> Received | Reported | Announced | DeadLetter | Unlearned:
        """A dead letter where nobody can make sense of the entry."""
        try:
            if entry.stream == self._names.dead_letters:
                return Announced() if is_kept(entry) else Reported(read_dead_letter(entry))
            return Received(self._event(entry, self._catalog), entry)
        except UnknownHere as unknown:
            return Unlearned(entry, unknown)
        except (Malformed, Unopenable) as error:
            return dead_letter(entry, str(error), now_ms)

    def decode_finally(self, entry: Entry, now_ms: int) -> Received | Reported | Announced | DeadLetter:
        """The same where there are no other replicas."""
        decoded = self.decode(entry, now_ms)
        return self.decode_learned(decoded, now_ms) if isinstance(decoded, Unlearned) else decoded

    def decode_learned(
        self,
        unlearned: Unlearned,
        now_ms: int,
        children: Mapping[str, Blueprint] = NOTHING_LEARNED,
        waiting: Mapping[str, Sequence[str]] = NOTHING_LEARNED,
    ) -> Received | DeadLetter:
        """The same with what was learned; what nobody knows is then final."""
        entry = unlearned.entry
        try:
            return Received(self._event(entry, LearnedCatalog(self._catalog, children, waiting)), entry)
        except UnknownHere as unknown:
            if unknown.otherwise is not None:
                return Received(unknown.otherwise, entry)
            return dead_letter(entry, str(unknown), now_ms)
        except (Malformed, Unopenable) as error:
            return dead_letter(entry, str(error), now_ms)

    def _event(self, entry: Entry, catalog: Catalog) -> Event:
        self._check_size(entry)
        if entry.stream == self._names.replies:
            return read_reply(entry, self._codec)
        if entry.stream == self._names.events or entry.stream == REQUESTS:
            return read_event(entry, catalog, self._codec)
        return read_trigger(entry, catalog)

    def _check_size(self, entry: Entry) -> None:
        if entry.size_bytes > self._data_bytes_max:
            raise Malformed(
                f"the entry has {entry.size_bytes:,} bytes, more than the {self._data_bytes_max:,} allowed; "
                "send less, or raise SAGA_DATA_BYTES_MAX"
            )
