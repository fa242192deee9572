"""Encrypted values: their shape, the cipher that makes them, and the context that binds each to its place.

An encrypted value is a JSON object with the one field `$encrypted`, so it may stand wherever a plain one does: in a
field `data` on a stream, in a JSON column. Its text is the cipher's. An object of this shape is never taken for a plain
one, and an empty object is never encrypted. Plain values are accepted where encrypted ones are expected, because
producers and workers are given keys one after the other.

Each value is bound to its context. A person who can write to a stream or a table therefore cannot move a value to
another saga, step or attempt. A context is a few texts joined by zero bytes, which none of them can hold:

| value                        | parts of its context                                        |
|------------------------------|-------------------------------------------------------------|
| `data` of a command          | `command`, the command's id                                 |
| `data` of a reply            | `reply`, the command's idempotency key                      |
| `data` of a child's start    | `child`, the parent's command's id                          |
| `data` of an outcome         | `outcome`, the outcome's id                                 |
| `data` of a start            | `event`, its type, its `subject` or nothing                 |
| `data` of any other event    | `event`, its type, its `subject` or else its `saga_id`      |
| a saga's stored input        | `input`, the saga's id                                      |
| a step's stored output       | `output`, the saga's id, the step's name                    |
| a stored signal's data       | `signal`, the saga's id, the signal's name, the signal's id |

A start cannot be bound to its saga, because its producer seldom knows the saga's id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeGuard

import orjson

from saga_service.core.state import JsonObject
from saga_service.wire.entries import Entry, Malformed
from saga_service.wire.json import read_object, write, write_object

ENCRYPTED = "$encrypted"

COMMAND, REPLY, CHILD, OUTCOME, EVENT = "command", "reply", "child", "outcome", "event"
INPUT, OUTPUT, SIGNAL = "input", "output", "signal"

_SEPARATOR = "\0"


class DecryptionFailed(Exception):
    """An encrypted value cannot be decrypted here.

    The text continues the name of the value: `is encrypted with key ...`.
    """


class UnknownKey(DecryptionFailed):
    """The value's key is not known here. The value itself may be sound."""


class Cipher(Protocol):
    """Encrypts and decrypts data. The default is `saga_service.encryption.aes_gcm`; a team may bring its own.

    Both methods are called for every value while a batch is made, so neither may wait for a network. A cipher whose
    keys are kept elsewhere fetches them when it is made.
    """

    def encrypt(self, plain: bytes, context: str) -> str:
        """Text that begins with the key's id and a dot, which names the key to a reader who does not have it.

        `context` says where the value belongs and is not part of the text.
        """
        ...

    def decrypt(self, text: str, context: str) -> bytes:
        """The plain bytes that were encrypted in this context.

        Raises UnknownKey, and DecryptionFailed where the text was altered or encrypted in another context.
        """
        ...


class DecryptOnly:
    """A cipher that decrypts and never encrypts: data is written plain.

    It serves while keys are being given to one process after the other. A process that has them must not yet write
    values that the others cannot read.
    """

    def __init__(self, cipher: Cipher) -> None:
        self._cipher = cipher

    def encrypt(self, plain: bytes, context: str) -> str:
        raise TypeError("this cipher decrypts only; ask `encrypts` first")

    def decrypt(self, text: str, context: str) -> bytes:
        return self._cipher.decrypt(text, context)


def encrypts(cipher: Cipher | None) -> TypeGuard[Cipher]:
    """True where new data is to be encrypted: there is a cipher, and not one that decrypts only."""
    return cipher is not None and not isinstance(cipher, DecryptOnly)


def is_encrypted(value: JsonObject) -> bool:
    return len(value) == 1 and ENCRYPTED in value


def key_id(value: JsonObject) -> str:
    """The id of the key that an encrypted value was encrypted with."""
    return str(value[ENCRYPTED]).partition(".")[0]


def encryption_key_id(cipher: Cipher) -> str | None:
    """The id of the key that a cipher encrypts with now; None for one that decrypts only."""
    return key_id(encrypt_value({}, cipher)) if encrypts(cipher) else None


def encrypt_value(value: JsonObject, cipher: Cipher, *context: str) -> dict[str, str]:
    """The encrypted form of a JSON object. Raises orjson.JSONEncodeError where it cannot be written as JSON."""
    return {ENCRYPTED: cipher.encrypt(orjson.dumps(value), _SEPARATOR.join(context))}


def decrypt_value(value: JsonObject, cipher: Cipher | None, *context: str) -> bytes:
    """The JSON text of an encrypted value. Raises DecryptionFailed."""
    text = value[ENCRYPTED]
    if not isinstance(text, str):
        raise DecryptionFailed(f"has a field '{ENCRYPTED}' that holds no text")
    if cipher is None:
        key = key_id(value)[:100]
        raise UnknownKey(f"is encrypted with key '{key}', and no keys are set here (SAGA_ENCRYPTION_KEYS)")
    try:
        return cipher.decrypt(text, _SEPARATOR.join(context))
    except (DecryptionFailed, KeyboardInterrupt):
        raise
    except BaseException as error:
        # A cipher may be a team's own, and whatever it raises concerns this value alone. Its text may tell secrets.
        raise DecryptionFailed(f"cannot be decrypted: the cipher raised {type(error).__name__}") from error


def write_data(value: JsonObject, cipher: Cipher | None, *context: str) -> str:
    """The text of a field `data`, encrypted where the cipher encrypts. An encrypted value is written as it is."""
    return write(encrypt_value(value, cipher, *context) if encrypts(cipher) and _is_secret(value) else value)


def _is_secret(value: JsonObject) -> bool:
    return bool(value) and not is_encrypted(value)


def read_data(raw: bytes | None, cipher: Cipher | None, *context: str) -> dict[str, Any]:
    """The object in a field `data`, plain or encrypted; an empty one where the field is missing.

    Raises Malformed and DecryptionFailed.
    """
    value = read_object(raw or b"{}", "data")
    return read_object(decrypt_data(value, cipher, *context), "data") if is_encrypted(value) else value


def decrypt_data(value: JsonObject, cipher: Cipher | None, *context: str) -> bytes:
    """The JSON text of an encrypted field `data`. Raises DecryptionFailed, whose text names the field."""
    try:
        return decrypt_value(value, cipher, *context)
    except DecryptionFailed as error:
        raise type(error)(f"field 'data' {error}") from None


def came_encrypted(entry: Entry) -> bool:
    """True where an entry's data is encrypted, so that no readable reason may repeat anything of it."""
    try:
        return is_encrypted(read_object(entry.fields.get(b"data") or b"{}", "data"))
    except Malformed:
        return False


def encrypt_event_data(
    cipher: Cipher, event_type: str, data: Mapping[str, Any], *, key: str | None = None, saga_id: str | None = None
) -> str:
    """The text that a producer writes into the field `data` of an event, readable only with the key.

    `key` is the value of the event's field `subject`, where there is one. `saga_id` is the saga that the event is
    addressed to, for an event that is no start and has no `subject`. `Any`: a JSON object. Raises Malformed where the
    data would lose something as JSON.
    """
    write_object(data, "data")
    return write_data(data, cipher, EVENT, event_type, key or (saga_id or "").lower())
