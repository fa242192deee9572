"""AES-256-GCM. docs/encryption.md has the format byte by byte, for workers in other languages.

Each context has a key of its own, derived by HKDF from the one in the settings. A nonce is random, and GCM allows 2^32
random nonces for one key: at a thousand sagas a second, one key for all would have used them up within two days. One
context is sealed as often as its saga makes transitions.
"""

from __future__ import annotations

import hmac
import os
from binascii import Error as NotBase64
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from saga_service.encryption.keys import KEY_BYTES, EncryptionKey
from saga_service.wire.encryption import DecryptionFailed, UnknownKey

NONCE_BYTES = 12
TAG_BYTES = 16


class AesGcmCipher:
    """Seals with the first key, and opens what any of them has sealed. Raises ValueError where there is none."""

    def __init__(self, keys: Sequence[EncryptionKey]) -> None:
        if not keys:
            raise ValueError("there is no key to seal with")
        self._sealing_id = keys[0].id
        # The first half of HKDF, which is the same for all contexts.
        self._extracted = {key.id: hmac.digest(bytes(KEY_BYTES), key.secret, "sha256") for key in keys}

    def seal(self, plain: bytes, context: str) -> str:
        place = context.encode()
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._cipher(self._sealing_id, place).encrypt(nonce, plain, place)
        return f"{self._sealing_id}.{b2a_base64(nonce + sealed, newline=False).decode()}"

    def open(self, sealed: str, context: str) -> bytes:
        key_id, _, encoded = sealed.partition(".")
        if key_id not in self._extracted:
            known = ", ".join(self._extracted)
            raise UnknownKey(f"is sealed with key '{key_id[:100]}', which is not known here; known keys: {known}")
        octets = _octets(encoded)
        if len(octets) < NONCE_BYTES + TAG_BYTES:
            raise DecryptionFailed(f"is sealed with key '{key_id}', and is no base64 of a nonce and what was sealed")
        place = context.encode()
        try:
            return self._cipher(key_id, place).decrypt(octets[:NONCE_BYTES], octets[NONCE_BYTES:], place)
        except InvalidTag:
            raise DecryptionFailed(
                f"does not open with key '{key_id}': it was altered, it belongs elsewhere, or another key has this id"
            ) from None

    def _cipher(self, key_id: str, place: bytes) -> AESGCM:
        return AESGCM(HKDFExpand(SHA256(), KEY_BYTES, place).derive(self._extracted[key_id]))


def _octets(encoded: str) -> bytes:
    try:
        return a2b_base64(encoded, strict_mode=True)
    except (NotBase64, ValueError):
        return b""
