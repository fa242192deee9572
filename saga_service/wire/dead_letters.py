"""Entries that nobody could use, kept with the reason and exactly as they came.

A field may hold any bytes, and Postgres text and JSON may not. So a dead letter has the fields twice: once to be read
by a person (`preview`: text, shortened, with what is not text escaped) and once to be replayed (`raw`: JSON of base64).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from saga_service.wire.entries import WIRE_VERSION, Entry, Malformed, Message, required_moment_ms, required_text
from saga_service.wire.json import read_object, write
from saga_service.wire.keys import StreamNames

PREVIEW_BYTES_MAX = 2_000
"""Of each field's value."""
REASON_CHARACTERS_MAX = 2_000


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
    raw = [[b64encode(name).decode(), b64encode(value).decode()] for name, value in entry.fields.items()]
    preview = {_shown(name): _shown(value) for name, value in entry.fields.items()}
    return DeadLetter(
        entry.stream, entry.id, _storable(reason)[:REASON_CHARACTERS_MAX], at_ms, write(preview), write(raw)
    )


def write_dead_letter(letter: DeadLetter, names: StreamNames) -> Message:
    fields = (
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
        "raw",
        letter.raw,
    )
    return Message(names.dead_letters, fields)


def read_dead_letter(entry: Entry) -> DeadLetter:
    """An entry of the dead-letter stream, which workers write as well. Raises Malformed."""
    fields = entry.fields
    raw, preview = required_text(fields, "raw"), required_text(fields, "fields")
    raw_fields(raw)
    return DeadLetter(
        stream=required_text(fields, "stream"),
        entry_id=required_text(fields, "entry_id"),
        reason=required_text(fields, "reason"),
        at_ms=required_moment_ms(fields, "time"),
        preview=write(read_object(preview.encode(), "fields")),
        raw=raw,
    )


def raw_fields(raw: str) -> Mapping[bytes, bytes]:
    """The entry's fields exactly as they came. Raises Malformed where `raw` is not what `dead_letter` makes."""
    try:
        return {b64decode(name, validate=True): b64decode(value, validate=True) for name, value in orjson.loads(raw)}
    except (ValueError, TypeError) as error:
        raise Malformed(f"field 'raw' is not JSON of base64 pairs: {error}") from None


def _shown(value: bytes) -> str:
    shown = _storable(value[:PREVIEW_BYTES_MAX].decode("utf-8", "backslashreplace"))
    left_bytes = len(value) - PREVIEW_BYTES_MAX
    return shown if left_bytes <= 0 else f"{shown}… ({left_bytes} bytes more)"


def _storable(text: str) -> str:
    return text.replace("\x00", "\\x00")
