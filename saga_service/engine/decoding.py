"""From what a stream delivered to what it means for a saga."""

from __future__ import annotations

from dataclasses import dataclass

from saga_service.core.events import Event
from saga_service.wire.blueprint import Catalog
from saga_service.wire.codec import Codec, Unopenable
from saga_service.wire.dead_letters import DeadLetter, dead_letter, is_kept, read_dead_letter
from saga_service.wire.entries import Entry, Malformed
from saga_service.wire.events import read_event, read_trigger
from saga_service.wire.keys import REQUESTS, StreamNames
from saga_service.wire.replies import read_reply


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


class Decoder:
    """`data_bytes_max` bounds an entry's names and values together."""

    def __init__(self, catalog: Catalog, names: StreamNames, data_bytes_max: int, codec: Codec | None = None) -> None:
        self._catalog = catalog
        self._names = names
        self._data_bytes_max = data_bytes_max
        self._codec = codec

    def decode(self, entry: Entry, now_ms: int) -> Received | Reported | Announced | DeadLetter:
        """A dead letter where nobody can make sense of the entry."""
        try:
            if entry.stream == self._names.dead_letters:
                return Announced() if is_kept(entry) else Reported(read_dead_letter(entry))
            return Received(self._event(entry), entry)
        except (Malformed, Unopenable) as error:
            return dead_letter(entry, str(error), now_ms)

    def _event(self, entry: Entry) -> Event:
        self._check_size(entry)
        if entry.stream == self._names.replies:
            return read_reply(entry, self._codec)
        if entry.stream == self._names.events or entry.stream == REQUESTS:
            return read_event(entry, self._catalog, self._codec)
        return read_trigger(entry, self._catalog)

    def _check_size(self, entry: Entry) -> None:
        if entry.size_bytes > self._data_bytes_max:
            raise Malformed(
                f"the entry has {entry.size_bytes:,} bytes, more than the {self._data_bytes_max:,} allowed; "
                "send less, or raise SAGA_DATA_BYTES_MAX"
            )
