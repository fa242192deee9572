"""From one entry to the event that it means.

An entry that names what is not deployed here is unresolved: other replicas may know it, and it is decoded once more by
what they have put on record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saga_service.core.events import Event
from saga_service.wire.addresses import named_saga
from saga_service.wire.dead_letters import (
    PREVIEW_BYTES_MAX,
    DeadLetter,
    NamedSaga,
    dead_letter,
    is_announcement,
    read_dead_letter,
)
from saga_service.wire.encryption import Cipher, DecryptionFailed
from saga_service.wire.entries import Entry, Malformed
from saga_service.wire.events import read_event, read_own_event, read_trigger
from saga_service.wire.replies import read_reply
from saga_service.wire.saga_spec import Catalog, NotDeployedHere, SagaSpec
from saga_service.wire.transport import REQUESTS, StreamNames

NOTHING_ON_RECORD: Mapping[str, Any] = {}
"""Any: of whatever kind."""


@dataclass(frozen=True, slots=True)
class Received:
    """An event, and the entry that it came in, if it came in one."""

    event: Event
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class Reported:
    """A worker's dead letter, which is on its stream and not yet in the table."""

    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class Announced:
    """A dead letter of the service, met on the stream that announces it. Nothing is left to do."""


@dataclass(frozen=True, slots=True)
class Unresolved:
    """An entry that names what is not deployed here, though other replicas may have it."""

    entry: Entry
    unknown: NotDeployedHere


class ResolvedCatalog:
    """A catalog of what is deployed here and of what was found on record beside it.

    A saga found on record can be started as a child of a saga under way, and by nothing else.
    """

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


class CatalogOnRecord(ResolvedCatalog):
    """A catalog by which an entry is told whose saga it would start, were its definition deployed here."""

    def by_event_type(self, event_type: str) -> SagaSpec | None:
        return super().by_event_type(event_type) or self._children.get(event_type)


class Decoder:
    """Decodes one entry. `data_bytes_max` bounds an entry's names and values together."""

    def __init__(self, catalog: Catalog, names: StreamNames, data_bytes_max: int, cipher: Cipher | None = None) -> None:
        self._catalog = catalog
        self._names = names
        self._data_bytes_max = data_bytes_max
        self._cipher = cipher

    def decode(self, entry: Entry, now_ms: int) -> Received | Reported | Announced | DeadLetter | Unresolved:
        """The entry by what is deployed here; a dead letter where it makes no sense anywhere."""
        try:
            if entry.stream == self._names.dead_letters:
                return Announced() if is_announcement(entry) else Reported(read_dead_letter(entry))
            return Received(self._event(entry, self._catalog), entry)
        except NotDeployedHere as unknown:
            return Unresolved(entry, unknown)
        except (Malformed, DecryptionFailed) as error:
            return dead_letter(entry, str(error), now_ms, self.named_saga(entry))

    def decode_finally(self, entry: Entry, now_ms: int) -> Received | Reported | Announced | DeadLetter:
        """The entry where there are no other replicas: what is not deployed is unknown."""
        decoded = self.decode(entry, now_ms)
        return self.decode_resolved(decoded, now_ms) if isinstance(decoded, Unresolved) else decoded

    def decode_resolved(
        self,
        unresolved: Unresolved,
        now_ms: int,
        children: Mapping[str, SagaSpec] = NOTHING_ON_RECORD,
        waiting: Mapping[str, Sequence[str]] = NOTHING_ON_RECORD,
    ) -> Received | DeadLetter:
        """The entry by what is deployed here and what was found on record."""
        entry, catalog = unresolved.entry, ResolvedCatalog(self._catalog, children, waiting)
        try:
            return Received(self._event(entry, catalog), entry)
        except NotDeployedHere as unknown:
            if unknown.fallback is not None:
                return Received(unknown.fallback, entry)
            return dead_letter(entry, str(unknown), now_ms, self.named_on_record(entry, children, waiting))
        except (Malformed, DecryptionFailed) as error:
            return dead_letter(entry, str(error), now_ms, self.named_saga(entry, catalog))

    def named_saga(self, entry: Entry, catalog: Catalog | None = None) -> NamedSaga:
        """The saga that an unusable entry names or would start. Long fields of one that is too large are not read."""
        if entry.size_bytes > self._data_bytes_max:
            short = {name: value for name, value in entry.fields.items() if len(value) <= PREVIEW_BYTES_MAX}
            entry = Entry(entry.stream, entry.id, short)
        return named_saga(entry, catalog or self._catalog, self._cipher)

    def named_on_record(
        self,
        entry: Entry,
        found: Mapping[str, SagaSpec],
        waiting: Mapping[str, Sequence[str]] = NOTHING_ON_RECORD,
    ) -> NamedSaga:
        """The saga that the entry names or would start, by what is deployed here and by definitions found on record."""
        return self.named_saga(entry, CatalogOnRecord(self._catalog, found, waiting))

    def _event(self, entry: Entry, catalog: Catalog) -> Event:
        too_large = self._too_large(entry)
        if entry.stream == self._names.replies:
            return read_reply(entry, self._cipher, too_large)
        if too_large is not None:
            raise Malformed(too_large)
        if entry.stream == self._names.events:
            return read_event(entry, catalog, self._cipher)
        own = read_own_event(entry)
        if own is not None:
            return own
        return read_event(entry, catalog, self._cipher) if entry.stream == REQUESTS else read_trigger(entry, catalog)

    def _too_large(self, entry: Entry) -> str | None:
        """The reason why the entry is too large; None where it is not."""
        if entry.size_bytes <= self._data_bytes_max:
            return None
        return (
            f"the entry has {entry.size_bytes:,} bytes, more than the {self._data_bytes_max:,} allowed; "
            "send less, or raise SAGA_ENTRY_BYTES_MAX"
        )
