"""Stream entries as they come and messages as they go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

WIRE_VERSION = "1"
"""The `v` field of every message that we send."""

MOMENT_MS_MAX = 253_402_300_799_999
"""The last millisecond of the year 9999, the last that a date can name."""


class RequestRow(NamedTuple):
    """A row in which an entry waits in Postgres: it came by SQL, or for a saga that nobody knew yet."""

    number: int
    since_ms: int
    """When it was looked at first."""
    attempts: int
    """How often it was, this time included."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a stream, untouched."""

    stream: str
    id: str
    fields: Mapping[bytes, bytes]
    """Of a name that comes more than once, the last value."""
    repeated: tuple[tuple[bytes, bytes], ...] = ()
    """All names and values in their order where some name comes more than once; elsewhere `fields` has them all."""
    request: RequestRow | None = None
    """Where it comes from now, if not from its stream."""
    was_delivered_before: bool = field(default=False, compare=False)
    """Whether somebody was given it already, who may have begun on it."""
    size_bytes: int = field(init=False, compare=False)
    """All names and values together."""

    def __post_init__(self) -> None:
        # Once for each entry that is read, so without a loop in Python.
        size_bytes = sum(map(len, self.fields)) + sum(map(len, self.fields.values()))
        if self.repeated:
            size_bytes = sum(len(name) + len(value) for name, value in self.repeated)
        object.__setattr__(self, "size_bytes", size_bytes)

    def pairs(self) -> Iterable[tuple[bytes, bytes]]:
        """Every name with its value, as they came."""
        return self.repeated or self.fields.items()


def entry_of(
    stream: str,
    entry_id: str,
    flat: Sequence[bytes],
    request: RequestRow | None = None,
    was_delivered_before: bool = False,
) -> Entry:
    """An entry as Redis tells it: names and values alternate."""
    names, values = flat[::2], flat[1::2]
    fields = dict(zip(names, values, strict=True))
    repeated = () if len(fields) == len(names) else tuple(zip(names, values, strict=True))
    return Entry(stream, entry_id, fields, repeated, request, was_delivered_before)


@dataclass(frozen=True, slots=True)
class Message:
    """One entry to add: field and value alternate in `fields`."""

    stream: str
    fields: tuple[str, ...]


class Malformed(Exception):
    """The entry cannot be read. It is the sender's fault; the text says what is wrong, and with it the entry goes to
    the dead letters."""


def text(fields: Mapping[bytes, bytes], name: str) -> str | None:
    """A field's value as text; None where it is absent or empty.

    Raises Malformed where the value is not UTF-8 or holds a NUL, which Postgres cannot store.
    """
    value = fields.get(name.encode())
    return as_text(value, name) if value else None


def required_text(fields: Mapping[bytes, bytes], name: str) -> str:
    """As `text`, for a field that must be there."""
    value = text(fields, name)
    if value is None:
        raise Malformed(f"field '{name}' is missing or empty")
    return value


def required_moment_ms(fields: Mapping[bytes, bytes], name: str) -> int:
    """As `required_text`, for a moment: milliseconds since 1970. Raises Malformed where it is none."""
    given = required_text(fields, name)
    written_as_one = given.isascii() and given.isdigit() and len(given) <= len(str(MOMENT_MS_MAX))
    if not written_as_one or int(given) > MOMENT_MS_MAX:
        raise Malformed(f"field '{name}' must be whole milliseconds since 1970, but is '{given[:100]}'")
    return int(given)


def as_text(value: bytes, name: str) -> str:
    try:
        decoded = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"field '{name}' is not valid UTF-8: {error.reason} at byte {error.start}") from None
    if "\x00" in decoded:
        raise Malformed(f"field '{name}' holds a NUL character, which cannot be stored")
    return decoded
