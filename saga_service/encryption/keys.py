"""Encryption keys as people write them: `2026b:<base64 of 32 bytes>,2026a:<base64 of 32 bytes>`.

The first key encrypts; every key decrypts.
"""

from __future__ import annotations

import os
import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections import Counter
from dataclasses import dataclass, field

KEY_BYTES = 32
KEY_ID_CHARACTERS_MAX = 40
_KEY_ID = re.compile(rf"[A-Za-z0-9_-]{{1,{KEY_ID_CHARACTERS_MAX}}}")


@dataclass(frozen=True, slots=True)
class EncryptionKey:
    """One key. `id` is written beside every value that it encrypts, and must never be used for another key."""

    id: str
    secret: bytes = field(repr=False)


def is_key_id(text: str) -> bool:
    return _KEY_ID.fullmatch(text) is not None


def read_keys(text: str) -> list[EncryptionKey]:
    """The keys of a list separated by commas. Raises ValueError, whose text never holds any part of a secret."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    keys = [_read_key(part, place) for place, part in enumerate(parts, start=1)]
    twice = [key_id for key_id, count in Counter(key.id for key in keys).items() if count > 1]
    if twice:
        raise ValueError(f"two keys have the id '{twice[0]}'")
    return keys


def _read_key(part: str, place: int) -> EncryptionKey:
    key_id, colon, encoded = part.partition(":")
    if not colon or not is_key_id(key_id):
        raise ValueError(
            f"key {place} must be ID:SECRET, with an id of letters, digits, - and _ "
            f"({KEY_ID_CHARACTERS_MAX} at most); make one: saga-service keys make"
        )
    try:
        secret = b64decode(encoded, validate=True)
    except NotBase64:
        secret = b""
    if len(secret) != KEY_BYTES:
        raise ValueError(f"the secret of key '{key_id}' must be the base64 of {KEY_BYTES} bytes")
    return EncryptionKey(key_id, secret)


def write_key(key: EncryptionKey) -> str:
    return f"{key.id}:{b64encode(key.secret).decode()}"


def fresh_key(key_id: str) -> EncryptionKey:
    """A new key with a random secret."""
    return EncryptionKey(key_id, os.urandom(KEY_BYTES))
