"""Entries that nobody could use, kept with the reason and exactly as they came.

A field may hold any bytes, and Postgres text and JSON may not. So a dead letter has the fields twice: once to be read
by a person (`preview`: text, shortened, with what is not text escaped) and once to be replayed (`raw`: JSON of base64).

On the dead-letter stream both are told as `fields` and `raw`. A worker, which has no table, writes both, and the
service puts its letters into the table. The service's own letters are in the table already, in the commit that they
are announced with: those have `kept` in the place of `raw`, with the name of the view that has the entry in full, and
whoever reads the stream for the table passes them over. So an entry of any size is kept in full in one place alone.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from itertools import islice

import orjson

from saga_service.wire.entries import WIRE_VERSION, Entry, Malformed, Message, required_moment_ms, required_text
from saga_service.wire.json import read_object, write
from saga_service.wire.stream_names import StreamNames

PREVIEW_BYTES_MAX = 2_000
"""Of each field's name, and of its value."""
PREVIEW_FIELDS_MAX = 50
REASON_CHARACTERS_MAX = 2_000
KEPT_IN = "saga.dead_letters"
"""The view that shows every letter in full."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`stream` and `entry_id` are where it was found; together they are its identity."""

    stream: str
    entry_id: str
    reason: str
    at_ms: int
    preview: str
    raw: str


def dead_letter(entry: Entry, reason: str, at_ms: int) -> DeadLetter:
    shortened = _storable(reason)[:REASON_CHARACTERS_MAX]
    return DeadLetter(entry.stream, entry.id, shortened, at_ms, write(_preview(entry)), write_raw(entry))


def write_raw(entry: Entry) -> str:
    """The entry's names and values, byte by byte, as text."""
    return write([[b64encode(name).decode(), b64encode(value).decode()] for name, value in entry.pairs()])


def write_dead_letter(letter: DeadLetter, names: StreamNames) -> Message:
    """A letter that is nowhere else yet: whoever reads it has to keep it."""
    return Message(names.dead_letters, (*_told(letter), "raw", letter.raw))


def announce_dead_letter(letter: DeadLetter, names: StreamNames) -> Message:
    """A letter that the table has, told to whoever else reads the stream."""
    return Message(names.dead_letters, (*_told(letter), "kept", KEPT_IN))


def _told(letter: DeadLetter) -> tuple[str, ...]:
    return (
        "v",
        WIRE_VERSION,
        "stream",
        letter.stream,
        "entry_id",
        letter.entry_id,
        "reason",
        letter.reason,
        "time",
        str(letter.at_ms),
        "fields",
        letter.preview,
    )


def is_kept(entry: Entry) -> bool:
    """Whether an entry of the dead-letter stream only announces a letter. One that has the fields too never does."""
    return entry.fields.get(b"kept") == KEPT_IN.encode() and b"raw" not in entry.fields


def read_dead_letter(entry: Entry) -> DeadLetter:
    """A letter on the dead-letter stream that somebody has to keep: a worker's. Raises Malformed."""
    fields = entry.fields
    raw, preview = required_text(fields, "raw"), required_text(fields, "fields")
    raw_pairs(raw)
    return DeadLetter(
        stream=required_text(fields, "stream"),
        entry_id=required_text(fields, "entry_id"),
        reason=required_text(fields, "reason"),
        at_ms=required_moment_ms(fields, "time"),
        preview=write(read_object(preview.encode(), "fields")),
        raw=raw,
    )


def raw_pairs(raw: str) -> list[tuple[bytes, bytes]]:
    """The entry's names and values exactly as they came, in their order.

    Raises Malformed where `raw` is not what `dead_letter` makes.
    """
    try:
        return [(b64decode(name, validate=True), b64decode(value, validate=True)) for name, value in orjson.loads(raw)]
    except (ValueError, TypeError) as error:
        raise Malformed(f"field 'raw' is not JSON of base64 pairs: {error}") from None


def _preview(entry: Entry) -> dict[str, str]:
    told = {shown(name): shown(value) for name, value in islice(entry.fields.items(), PREVIEW_FIELDS_MAX)}
    left = len(entry.fields) - PREVIEW_FIELDS_MAX
    return told if left <= 0 else told | {"…": f"({left} fields more)"}


def shown(value: bytes) -> str:
    """For people: shortened, and with what is not text escaped."""
    readable = _storable(value[:PREVIEW_BYTES_MAX].decode("utf-8", "backslashreplace"))
    left_bytes = len(value) - PREVIEW_BYTES_MAX
    return readable if left_bytes <= 0 else f"{readable}… ({left_bytes} bytes more)"


def _storable(text: str) -> str:
    return text.replace("\x00", "\\x00")
