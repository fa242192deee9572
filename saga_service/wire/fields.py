"""Fields of an entry, read as text, moments, ids and words of a fixed set.

Every reader of what an entry needs raises Malformed, whose text names the field and says what is wrong with it. Details
without which the entry is as clear never cost it: a text for people is escaped, and a wrong `traceparent` is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

from saga_service.core.events import BusinessKey
from saga_service.core.ids import CommandName, SagaId, parse_command_id, parse_saga_id, saga_id_from_key
from saga_service.wire.entries import Entry, Malformed
from saga_service.wire.saga_spec import KEY_CHARACTERS_MAX, Catalog, written_key

MOMENT_MS_MAX = 253_402_300_799_999
"""The last millisecond of the year 9999, which is the last that a date can name."""

_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
"""The form of W3C Trace Context. A version after `00` may have more parts."""
TRACEPARENT_CHARACTERS_MAX = 200
TEXT_CHARACTERS_MAX = 1_000
"""The longest text kept of an actor, and of a reason."""

T = TypeVar("T")
Fields = Mapping[bytes, bytes]


def as_text(value: bytes, name: str) -> str:
    """A value as text. It must be UTF-8, and without the NUL character, which Postgres cannot store."""
    try:
        decoded = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"field '{name}' is not valid UTF-8: {error.reason} at byte {error.start}") from None
    if "\x00" in decoded:
        raise Malformed(f"field '{name}' holds a NUL character, which cannot be stored")
    return decoded


def optional_text(fields: Fields, name: str) -> str | None:
    """A field's value as text; None where it is absent or empty."""
    value = fields.get(name.encode())
    return as_text(value, name) if value else None


def readable_text(value: bytes) -> str:
    """A value for people to read, as it can be stored: bytes that are no text, and the NUL, are escaped."""
    return storable(value.decode("utf-8", "backslashreplace"))


def storable(text: str) -> str:
    """The text with its NUL characters escaped, which Postgres cannot store."""
    return text.replace("\x00", "\\x00")


def optional_readable_text(fields: Fields, name: str) -> str | None:
    """A field's value for people to read; None where it is absent or empty. Raises nothing."""
    value = fields.get(name.encode())
    return readable_text(value) if value else None


def short_text(fields: Fields, name: str) -> str | None:
    """A field's value for people to read, shortened; None where it is absent or empty. Raises nothing."""
    text = optional_readable_text(fields, name)
    return text and text[:TEXT_CHARACTERS_MAX]


def traceparent(fields: Fields) -> str | None:
    """The value of the field `traceparent`; None where it has not the form of W3C Trace Context. Raises nothing."""
    value = fields.get(b"traceparent")
    if not value or len(value) > TRACEPARENT_CHARACTERS_MAX or not value.isascii():
        return None
    given = value.decode()
    found = _TRACEPARENT.fullmatch(given)
    return given if found and (found[1] != "00" or found[2] is None) else None


def required_text(fields: Fields, name: str) -> str:
    """A field's value as text. The field must be there and not be empty."""
    value = optional_text(fields, name)
    if value is None:
        raise Malformed(f"field '{name}' is missing or empty")
    return value


def required_moment_ms(fields: Fields, name: str) -> int:
    """A field's value as milliseconds since 1970."""
    given = required_text(fields, name)
    written_as_one = given.isascii() and given.isdigit() and len(given) <= len(str(MOMENT_MS_MAX))
    if not written_as_one or int(given) > MOMENT_MS_MAX:
        raise Malformed(f"field '{name}' must be whole milliseconds since 1970, but is '{given[:100]}'")
    return int(given)


def required_choice(fields: Fields, name: str, choices: Mapping[str, T]) -> T:
    """The choice that a field's value names."""
    given = required_text(fields, name)
    choice = choices.get(given)
    if choice is None:
        raise Malformed(f"field '{name}' must be one of {', '.join(choices)}, but is '{given[:100]}'")
    return choice


def required_command(fields: Fields, name: str) -> CommandName:
    """The command that a field's value is the id of."""
    given = required_text(fields, name)
    command = parse_command_id(given)
    if command is None:
        raise Malformed(f"field '{name}' is not the id of a command: '{given[:200]}'")
    return command


def parent_command(fields: Fields) -> CommandName | None:
    """The command of a parent saga that an entry carries out; None where the entry comes from no parent."""
    return required_command(fields, "command_id") if fields.get(b"command_id") else None


def saga_id(fields: Fields) -> SagaId | None:
    """The id in field `saga_id`; None where it is absent or empty."""
    given = optional_text(fields, "saga_id")
    if given is None:
        return None
    parsed = parse_saga_id(given)
    if parsed is None:
        raise Malformed(f"field 'saga_id' must be a UUID, but is '{given[:100]}'")
    return parsed


def subject(fields: Fields) -> str | None:
    """The business key in field `subject`; None where it is absent or empty."""
    given = optional_text(fields, "subject")
    if given is not None and len(given) > KEY_CHARACTERS_MAX:
        raise Malformed(f"field 'subject' has {len(given):,} characters, and a key may have {KEY_CHARACTERS_MAX}")
    return given


def addressed_saga(entry: Entry, catalog: Catalog) -> tuple[SagaId, BusinessKey | None]:
    """The saga that an entry is addressed to: by its id, or by its name and business key."""
    given_id = saga_id(entry.fields)
    if given_id is not None:
        return given_id, None
    saga, key = optional_text(entry.fields, "saga"), subject(entry.fields)
    if saga is None or key is None:
        raise Malformed("the entry names no saga: write its id in field 'saga_id', or 'saga' and its key in 'subject'")
    by_key = BusinessKey(saga, written_key(catalog, saga, key))
    return saga_id_from_key(*by_key), by_key
