"""The default cipher: AES-256-GCM with a derived key for each context.

docs/encryption.md has the format byte by byte, for workers in other languages.

Each context has a key of its own, derived by HKDF from the one in the settings. A nonce is random, and GCM allows 2^32
random nonces for one key: at a thousand sagas a second, a single key would have used them up within two days. A value
is encrypted under one context only as often as its saga makes transitions.
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
    """Encrypts with the first key and decrypts with any of them. Raises ValueError where there is no key."""

    def __init__(self, keys: Sequence[EncryptionKey]) -> None:
        if not keys:
            raise ValueError("there is no key to encrypt with")
        self._first_key_id = keys[0].id
        # The first half of HKDF does not depend on the context, so it is done once for each key.
        self._extracted = {key.id: hmac.digest(bytes(KEY_BYTES), key.secret, "sha256") for key in keys}

    def encrypt(self, plain: bytes, context: str) -> str:
        context_bytes = context.encode()
        nonce = os.urandom(NONCE_BYTES)
        ciphertext = self._derived(self._first_key_id, context_bytes).encrypt(nonce, plain, context_bytes)
        return f"{self._first_key_id}.{b2a_base64(nonce + ciphertext, newline=False).decode()}"

    def decrypt(self, text: str, context: str) -> bytes:
        key_id, _, encoded = text.partition(".")
        if key_id not in self._extracted:
            known = ", ".join(self._extracted)
            raise UnknownKey(f"is encrypted with key '{key_id[:100]}', which is not known here; known keys: {known}")
        octets = _octets(encoded)
        if len(octets) < NONCE_BYTES + TAG_BYTES:
            raise DecryptionFailed(f"names key '{key_id}', and is no base64 of a nonce and a ciphertext")
        context_bytes = context.encode()
        nonce, ciphertext = octets[:NONCE_BYTES], octets[NONCE_BYTES:]
        try:
            return self._derived(key_id, context_bytes).decrypt(nonce, ciphertext, context_bytes)
        except InvalidTag:
            raise DecryptionFailed(
                f"cannot be decrypted with key '{key_id}': it was altered, it belongs elsewhere, or another key has "
                "this id"
            ) from None

    def _derived(self, key_id: str, context: bytes) -> AESGCM:
        return AESGCM(HKDFExpand(SHA256(), KEY_BYTES, context).derive(self._extracted[key_id]))


def _octets(encoded: str) -> bytes:
    try:
        return a2b_base64(encoded, strict_mode=True)
    except (NotBase64, ValueError):
        return b""
