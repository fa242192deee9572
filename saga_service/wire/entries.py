"""Stream entries as they come, and messages as they go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

ORIGINAL = "original"
"""A field of a command: no other entry with it was ever added for the same command. Its value is the id of the server's
run that the entry was added on, and on which the command was made."""

SERVER_ID_CHARACTERS = 16

WIRE_VERSION = "1"
"""The field `v` of every message that the service and its workers send."""


class RequestRow(NamedTuple):
    """The row in Postgres that an entry was claimed from: it came by SQL, or it was deferred."""

    number: int
    since_ms: int
    """The moment at which the entry was first examined."""
    attempts: int
    """The number of times that it was examined, this time included."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a stream, untouched."""

    stream: str
    id: str
    fields: Mapping[bytes, bytes]
    """Names and values. Of a name that comes more than once, the last value."""
    repeated: tuple[tuple[bytes, bytes], ...] = ()
    """All names and values in their order where a name comes more than once; empty elsewhere."""
    request: RequestRow | None = None
    """The row that the entry was claimed from; None for one that was read from its stream."""
    was_delivered_before: bool = field(default=False, compare=False)
    """True where another consumer was given the entry already and may have begun on it."""
    size_bytes: int = field(init=False, compare=False)
    """The size of all names and values together."""

    def __post_init__(self) -> None:
        # Once for each entry that is read, so without a loop in Python.
        size_bytes = sum(map(len, self.fields)) + sum(map(len, self.fields.values()))
        if self.repeated:
            size_bytes = sum(len(name) + len(value) for name, value in self.repeated)
        object.__setattr__(self, "size_bytes", size_bytes)

    def pairs(self) -> Iterable[tuple[bytes, bytes]]:
        """Every name with its value, in the order in which they came."""
        return self.repeated or self.fields.items()


def entry_of(
    stream: str,
    entry_id: str,
    flat: Sequence[bytes],
    request: RequestRow | None = None,
    was_delivered_before: bool = False,
) -> Entry:
    """An entry from the form that Redis gives: names and values alternate in `flat`."""
    names, values = flat[::2], flat[1::2]
    fields = dict(zip(names, values, strict=True))
    repeated = () if len(fields) == len(names) else tuple(zip(names, values, strict=True))
    return Entry(stream, entry_id, fields, repeated, request, was_delivered_before)


@dataclass(frozen=True, slots=True)
class Message:
    """One entry to add to a stream: names and values alternate in `fields`."""

    stream: str
    fields: tuple[str, ...]
    is_original: bool = field(default=False, compare=False)
    """True for a command until a try of adding it may have reached Redis. Copies, and what was stored, are none."""

    def fields_on(self, server_id: str | None) -> tuple[str, ...]:
        """The fields as they are added on a run of a server. An original says that it is one, if the run is known."""
        return (*self.fields, ORIGINAL, server_id) if self.is_original and server_id else self.fields


def message_of(stream: str, /, **fields: str | None) -> Message:
    """A message with the wire's version and these fields, in their order. A field of None is left out."""
    given = {name: value for name, value in fields.items() if value is not None}
    return Message(stream, ("v", WIRE_VERSION, *chain.from_iterable(given.items())))


class Malformed(Exception):
    """An entry cannot be read, which is its sender's fault.

    The text says what is wrong, and becomes the reason of the dead letter.
    """
