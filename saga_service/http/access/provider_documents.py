"""What an OpenID Connect provider publishes of itself: its addresses (discovery) and its keys, kept for a while.

The provider is asked when somebody needs it, and never before: this process starts, and answers whoever has a token,
while the provider is away. Keys that were read go on counting meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import httpx2
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

log = structlog.get_logger(__name__)

Json = dict[str, Any]  # whatever JSON can hold
AGE_MAX_S = 3_600.0
AGAIN_AFTER_S = 10.0
"""How long a provider that was asked in vain is left alone: a flood of made-up tokens must not become one there."""


class ProviderAway(Exception):
    """The provider does not answer, or not as one does. The text says what it said."""


class ProviderDocuments:
    """The documents of one provider. All methods raise ProviderAway where one is needed and cannot be had."""

    def __init__(self, issuer: str, http: httpx2.AsyncClient) -> None:
        self.issuer = issuer
        self._http = http
        self._metadata: Mapping[str, Any] = {}
        self._metadata_until_s = 0.0
        self._keys: KeySet | None = None
        self._keys_until_s = 0.0
        self._keys_missed_at_s: float | None = None
        self._renewal_of_metadata = SharedAttempt(self._renew_metadata)
        self._renewal_of_keys = SharedAttempt(self._renew_keys)

    async def metadata(self) -> Mapping[str, Any]:
        if time.monotonic() >= self._metadata_until_s:
            await self._renewal_of_metadata.outcome()
        return self._metadata

    async def address(self, name: str) -> str:
        """The address that the provider has for this."""
        address = (await self.metadata()).get(name)
        if not isinstance(address, str):
            raise ProviderAway(f"{self.issuer} names no {name}")
        return address

    async def keys(self) -> KeySet:
        """The keys with which the provider signs. Old ones count on where new ones cannot be had."""
        if self._keys is None or time.monotonic() >= self._keys_until_s:
            try:
                await self._renewal_of_keys.outcome()
            except ProviderAway as away:
                if self._keys is None:
                    raise
                self._keys_until_s = time.monotonic() + AGAIN_AFTER_S
                log.warning("the keys of the identity provider are old, and new ones cannot be had", error=str(away))
        assert self._keys is not None, "keys were renewed"
        return self._keys

    async def keys_with_another(self) -> KeySet | None:
        """The keys as they are now, for one that was not among them; None where they were asked in vain just now."""
        missed_at_s = self._keys_missed_at_s
        if missed_at_s is not None and time.monotonic() - missed_at_s < AGAIN_AFTER_S:
            return None
        try:
            await self._renewal_of_keys.outcome()
        except ProviderAway:
            self.note_missing_key()
            raise
        return self._keys

    def note_missing_key(self) -> None:
        """Note that a key is not there now either: somebody made it up, and may make up many."""
        self._keys_missed_at_s = time.monotonic()

    async def _renew_keys(self) -> None:
        told = await ask(self._http, self._http.build_request("GET", await self.address("jwks_uri")))
        try:
            self._keys = KeySet.import_key_set({"keys": told["keys"]})
        except (JoseError, KeyError, TypeError, ValueError) as error:
            raise ProviderAway(f"the keys of {self.issuer} cannot be read: {error!r}") from None
        self._keys_until_s = time.monotonic() + AGE_MAX_S

    async def _renew_metadata(self) -> None:
        address = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        metadata = await ask(self._http, self._http.build_request("GET", address))
        if metadata.get("issuer") != self.issuer:
            raise ProviderAway(f"{address} is of the issuer '{metadata.get('issuer')}': set SAGA_HTTP_OIDC_ISSUER so")
        self._metadata = metadata
        self._metadata_until_s = time.monotonic() + AGE_MAX_S


class SharedAttempt:
    """One attempt at a time, whose outcome is that of all who ask for one meanwhile.

    A flood of those who ask is one question to the provider, and none of them waits for more than one answer.
    """

    def __init__(self, attempt: Callable[[], Coroutine[object, object, None]]) -> None:
        self._attempt = attempt
        self._task: asyncio.Task[None] | None = None

    async def outcome(self) -> None:
        """Wait for the attempt that is under way, or for a new one. Raises what it raises."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._attempt())
            # Whoever asked may have gone away meanwhile: then nobody looks at what came of it.
            self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._task)


async def ask(http: httpx2.AsyncClient, request: httpx2.Request) -> Json:
    """The object that the provider answers with. Raises ProviderAway."""
    status, told = await answer_of(http, request)
    if status >= 400:
        raise ProviderAway(f"{request.url.host}{request.url.path} answers {status}")
    return told


async def answer_of(http: httpx2.AsyncClient, request: httpx2.Request) -> tuple[int, Json]:
    """The status of an answer, and the object that it is. Raises ProviderAway where it is none."""
    place = f"{request.url.host}{request.url.path}"
    try:
        answer = await http.send(request)
        told = answer.json()
    except httpx2.HTTPError as error:
        raise ProviderAway(f"{place} does not answer: {str(error) or type(error).__name__}") from None
    except ValueError:
        raise ProviderAway(f"{place} answers {answer.status_code}, and no JSON") from None
    if not isinstance(told, dict) or answer.status_code >= 500:
        raise ProviderAway(f"{place} answers {answer.status_code}")
    return answer.status_code, told
