"""Dead letters: entries that could not be used, stored with the reason and exactly as they came.

A field may hold any bytes, and Postgres text and JSON may not. A dead letter therefore has the fields twice: `preview`
is for a person to read (text, shortened, with other bytes escaped), and `raw` is for a replay (JSON of base64).

On the dead-letter stream they are the fields `fields` and `raw`. A worker, which has no table, writes both, and the
service moves its letters into the table. The service's own letters are in the table already, stored by the commit that
announces them. An announcement has `stored_in` in the place of `raw`, with the name of the view that has the entry in
full, and the service passes it over. So an entry of any size is stored in full in one place alone.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import orjson

from saga_service.core.ids import SagaId, parse_saga_id
from saga_service.wire.entries import Entry, Malformed, Message, message_of
from saga_service.wire.fields import readable_text, required_moment_ms, required_text, storable
from saga_service.wire.json import read_object, write
from saga_service.wire.transport import StreamNames

PREVIEW_BYTES_MAX = 2_000
"""The longest part of a field's name, and of its value, that a preview shows."""
PREVIEW_FIELDS_MAX = 50
REASON_CHARACTERS_MAX = 2_000
DEAD_LETTERS_VIEW = "saga.dead_letters"
"""The view that shows every dead letter in full."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter. `stream` and `entry_id` name the place of the entry, and together they are its identity."""

    stream: str
    entry_id: str
    reason: str
    at_ms: int
    preview: str
    raw: str
    saga_id: SagaId | None = None
    """The saga that the entry names, or would have started; None where the entry does not tell."""
    key: str | None = None
    """That saga's business key, where the entry has it."""


class NamedSaga(NamedTuple):
    """The saga that an entry names, or would start."""

    saga_id: SagaId | None = None
    key: str | None = None


NOBODY = NamedSaga()


def dead_letter(entry: Entry, reason: str, at_ms: int, saga: NamedSaga = NOBODY) -> DeadLetter:
    """The dead letter of an entry, with the reason shortened to its limit."""
    shortened = storable(reason)[:REASON_CHARACTERS_MAX]
    return DeadLetter(entry.stream, entry.id, shortened, at_ms, write(_preview(entry)), write_raw(entry), *saga)


def write_raw(entry: Entry) -> str:
    """The entry's names and values, byte by byte, as JSON of base64."""
    return write([[b64encode(name).decode(), b64encode(value).decode()] for name, value in entry.pairs()])


def write_dead_letter(letter: DeadLetter, names: StreamNames) -> Message:
    """A letter that is stored nowhere else yet: its reader has to store it."""
    return _message(letter, names, raw=letter.raw)


def announce_dead_letter(letter: DeadLetter, names: StreamNames) -> Message:
    """The announcement of a letter that the table has."""
    return _message(letter, names, stored_in=DEAD_LETTERS_VIEW)


def _message(letter: DeadLetter, names: StreamNames, raw: str | None = None, stored_in: str | None = None) -> Message:
    return message_of(
        names.dead_letters,
        stream=letter.stream,
        entry_id=letter.entry_id,
        reason=letter.reason,
        time=str(letter.at_ms),
        fields=letter.preview,
        raw=raw,
        stored_in=stored_in,
        saga_id=letter.saga_id,
        key=letter.key,
    )


def is_announcement(entry: Entry) -> bool:
    """True for an entry that only announces a letter. An entry that has the fields in full never does."""
    return entry.fields.get(b"stored_in") == DEAD_LETTERS_VIEW.encode() and b"raw" not in entry.fields


def read_dead_letter(entry: Entry) -> DeadLetter:
    """A worker's letter on the dead-letter stream, which has yet to be stored. Raises Malformed."""
    fields = entry.fields
    raw, preview = required_text(fields, "raw"), required_text(fields, "fields")
    raw_pairs(raw)
    entry_fields = read_object(preview.encode(), "fields")
    named = entry_fields.get("saga_id")
    return DeadLetter(
        stream=required_text(fields, "stream"),
        entry_id=required_text(fields, "entry_id"),
        reason=_reason(fields.get(b"reason")),
        at_ms=required_moment_ms(fields, "time"),
        preview=write(entry_fields),
        raw=raw,
        saga_id=parse_saga_id(named) if isinstance(named, str) else None,
    )


def _reason(given: bytes | None) -> str:
    return readable_text(given)[:REASON_CHARACTERS_MAX] if given else "the sender gave no reason"


def raw_pairs(raw: str) -> list[tuple[bytes, bytes]]:
    """The entry's names and values exactly as they came, in their order.

    Raises Malformed where `raw` is not written as `write_raw` writes it.
    """
    try:
        return [(b64decode(name, validate=True), b64decode(value, validate=True)) for name, value in orjson.loads(raw)]
    except (ValueError, TypeError) as error:
        raise Malformed(f"field 'raw' is not JSON of base64 pairs: {error}") from None


def _preview(entry: Entry) -> dict[str, str]:
    preview = {
        preview_text(name): preview_text(value) for name, value in islice(entry.fields.items(), PREVIEW_FIELDS_MAX)
    }
    left = len(entry.fields) - PREVIEW_FIELDS_MAX
    return preview if left <= 0 else preview | {"…": f"({left} fields more)"}


def preview_text(value: bytes) -> str:
    """A value for people: shortened, and with bytes that are no text escaped."""
    readable = readable_text(value[:PREVIEW_BYTES_MAX])
    left_bytes = len(value) - PREVIEW_BYTES_MAX
    return readable if left_bytes <= 0 else f"{readable}… ({left_bytes} bytes more)"
