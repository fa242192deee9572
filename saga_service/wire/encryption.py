"""What seals data and opens it again. The default is `saga_service.encryption.aes_gcm`; a team may bring its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeGuard

import orjson

from saga_service.core.state import JsonObject
from saga_service.wire.entries import Entry, Malformed
from saga_service.wire.json import read_object, write


class DecryptionFailed(Exception):
    """A sealed value cannot be opened here. The text goes on after the name of the value: `is sealed with key ...`."""


class UnknownKey(DecryptionFailed):
    """The key is not known here. Nothing is wrong with the value."""


class Cipher(Protocol):
    """Both are called while a batch is made, for every value, so neither may wait for a network: whoever keeps keys
    elsewhere fetches them when the codec is made."""

    def seal(self, plain: bytes, context: str) -> str:
        """Text that begins with the id of the key and a dot, so that one who cannot open it sees what is needed.

        `context` says where the value belongs; it is not part of the text.
        """
        ...

    def open(self, sealed: str, context: str) -> bytes:
        """What was sealed in the same context.

        Raises UnknownKey, and DecryptionFailed where the text was altered or sealed in another context.
        """
        ...


class DecryptOnly:
    """Opens what a codec has sealed; what is written stays plain. For the time in which processes come to have keys one
    after the other: who has them must not yet write what the others cannot read."""

    def __init__(self, cipher: Cipher) -> None:
        self._cipher = cipher

    def seal(self, plain: bytes, context: str) -> str:
        raise TypeError("this codec opens only; ask `seals` first")

    def open(self, sealed: str, context: str) -> bytes:
        return self._cipher.open(sealed, context)


def encrypts(cipher: Cipher | None) -> TypeGuard[Cipher]:
    """Whether what is written is to be sealed."""
    return cipher is not None and not isinstance(cipher, DecryptOnly)


# MERGED from wire.sealing:
# Sealed values: what they look like, and where each belongs.
#
# A sealed value is a JSON object with the one field `$encrypted`, so it may stand wherever a plain one does: in a field
# `data` on a stream, in a JSON column. Its text is a codec's. An object of this shape is never taken for a plain
# one, and
# an empty object is never sealed. Plain values are taken in where sealed ones are expected: producers and workers
# come to
# have keys one after the other.
#
# Each value is bound to its place, so that who can write to a stream or a table cannot move it to another saga, step or
# attempt. The place is a few texts, joined by zero bytes, which none of them can hold:
#
# | value                        | its place                                                  |
# |------------------------------|------------------------------------------------------------|
# | `data` of a command          | `command`, the command's id                                |
# | `data` of a reply            | `reply`, the command's idempotency key                     |
# | `data` of a child's start    | `child`, the parent's command's id                         |
# | `data` of an outcome         | `outcome`, the outcome's id                                |
# | `data` of a start            | `event`, its type, its `subject` or nothing                |
# | `data` of any other event    | `event`, its type, its `subject` or else its `saga_id`     |
# | a saga's stored input        | `input`, the saga's id                                     |
# | a step's stored output       | `output`, the saga's id, the step's name                   |
# | a stored signal's data       | `signal`, the saga's id, the signal's name, the signal's id |
#
# A start cannot be bound to its saga, whose id its producer seldom knows.

ENCRYPTED = "$encrypted"

COMMAND, REPLY, CHILD, OUTCOME, EVENT = "command", "reply", "child", "outcome", "event"
INPUT, OUTPUT, SIGNAL = "input", "output", "signal"

_SEPARATOR = "\0"


def is_encrypted(value: JsonObject) -> bool:
    return len(value) == 1 and ENCRYPTED in value


def key_id(value: JsonObject) -> str:
    """Of the key that a sealed value was sealed with."""
    return str(value[ENCRYPTED]).partition(".")[0]


def encryption_key_id(cipher: Cipher) -> str | None:
    """Of the key that a codec seals with now; None where it opens only."""
    return key_id(seal({}, cipher)) if encrypts(cipher) else None


def seal(value: JsonObject, cipher: Cipher, *place: str) -> dict[str, str]:
    """Raises orjson.JSONEncodeError where the value is no JSON."""
    return {ENCRYPTED: cipher.seal(orjson.dumps(value), _SEPARATOR.join(place))}


def decrypt_value(value: JsonObject, cipher: Cipher | None, *place: str) -> bytes:
    """The JSON text of a sealed value. Raises DecryptionFailed."""
    text = value[ENCRYPTED]
    if not isinstance(text, str):
        raise DecryptionFailed(f"has '{ENCRYPTED}', and in it no text")
    if cipher is None:
        raise UnknownKey(f"is sealed with key '{key_id(value)[:100]}', and no keys are set here (SAGA_ENCRYPTION_KEYS)")
    return cipher.open(text, _SEPARATOR.join(place))


def write_data(value: JsonObject, cipher: Cipher | None, *place: str) -> str:
    """The text of a field `data`: sealed where there is a codec. What is sealed already stays as it is."""
    return write(seal(value, cipher, *place) if encrypts(cipher) and value and not is_encrypted(value) else value)


def read_data(raw: bytes | None, cipher: Cipher | None, *place: str) -> dict[str, Any]:
    """The object in a field `data`, plain or sealed; an empty one where the field is missing.

    Raises Malformed, and DecryptionFailed.
    """
    value = read_object(raw or b"{}", "data")
    return read_decrypted(value, cipher, *place) if is_encrypted(value) else value


def read_decrypted(value: JsonObject, cipher: Cipher | None, *place: str) -> dict[str, Any]:
    """What is in a sealed field `data`. Raises as `read_data` does."""
    return read_object(decrypt_data(value, cipher, *place), "data")


def decrypt_data(value: JsonObject, cipher: Cipher | None, *place: str) -> bytes:
    """As `decrypt_value`, for what came in a field `data`."""
    try:
        return decrypt_value(value, cipher, *place)
    except DecryptionFailed as error:
        raise type(error)(f"field 'data' {error}") from None


def came_encrypted(entry: Entry) -> bool:
    """Whether an entry's data is sealed: then no reason that others may read tells what is in it."""
    try:
        return is_encrypted(read_object(entry.fields.get(b"data") or b"{}", "data"))
    except Malformed:
        return False


def encrypt_event_data(
    cipher: Cipher, event_type: str, data: Mapping[str, Any], *, key: str | None = None, saga_id: str | None = None
) -> str:
    """What a producer writes into the field `data` of an event, so that only who has the key can read it.

    `key` is what goes into the field `subject`, if anything does. `saga_id` is for an event that is no start and has no
    `subject`: the saga that it is addressed to. `Any`: a JSON object.
    """
    return write_data(data, cipher, EVENT, event_type, key or (saga_id or "").lower())
