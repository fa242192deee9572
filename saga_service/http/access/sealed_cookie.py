"""Sealed cookies: what a browser keeps for this API, so that it can neither be read there nor made up.

A seal is encrypted JWE (A256GCM) with an end. Its use is part of it, so that no cookie counts as another. Every process
has the same keys, so any of them opens what another has sealed; the first key seals, all open.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from joserfc import jwt
from joserfc.jwe import JWERegistry
from joserfc.jwk import KeySet, OctKey

from saga_service.encryption.keys import EncryptionKey
from saga_service.http.access.joserfc_errors import NOT_READABLE

Values = dict[str, Any]  # whatever JSON can hold
_REGISTRY = JWERegistry(algorithms=["dir", "A256GCM", "DEF"])


class CookieSeal:
    """Seals values into the text of a cookie, and opens such texts."""

    def __init__(self, keys: Sequence[EncryptionKey]) -> None:
        self._first = keys[0].id
        self._keys = KeySet([OctKey.import_key(each.secret, {"kid": each.id}) for each in keys])

    def seal(self, use: str, values: Values, seconds: int) -> str:
        """The values as a text that counts for so long, and for this use alone."""
        header = {"alg": "dir", "enc": "A256GCM", "zip": "DEF", "kid": self._first, "typ": use}
        sealed = {**values, "exp": int(time.time()) + seconds}
        return jwt.encode(header, sealed, self._keys, registry=_REGISTRY)

    def opened(self, use: str, text: str) -> Values | None:
        """The values of a text; None where it was not sealed for this use, or is over."""
        try:
            token = jwt.decode(text, self._keys, registry=_REGISTRY)
        except NOT_READABLE:
            return None
        is_over = token.claims["exp"] <= time.time()
        return None if is_over or token.header.get("typ") != use else token.claims
