"""The OpenID Connect provider where people log in: the addresses to which they go, and the tokens that it gives.

joserfc verifies signatures and claims; here stands which of them have to be true of which token.
"""

from __future__ import annotations

import secrets
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import quote_plus, urlencode

import httpx2
from joserfc import jwt
from joserfc.errors import BadSignatureError, ClaimError, InvalidKeyIdError
from joserfc.jws import JWSRegistry

from saga_service.http.access.joserfc_errors import NOT_READABLE
from saga_service.http.access.provider_documents import ProviderDocuments, answer_of, ask

Claims = dict[str, Any]  # whatever JSON can hold

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Signatures by the provider's private key. None is not one, nor is one by a secret that both sides have."""
_REGISTRY = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
CLOCK_LEEWAY_S = 30
KEY_ERRORS = (InvalidKeyIdError, BadSignatureError)
"""The provider's keys were not the right ones. A token that does not name its key has been tried with the only one."""
ID_TOKEN_CLAIMS = ("nonce", "at_hash", "c_hash")
"""Claims of which each makes a token one for a log-in, and no access token."""


class NotVerified(Exception):
    """What came is not what the provider gave for this. The text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """What ties the answer of a provider to the browser that asked. That browser keeps it, sealed."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def fresh(cls) -> LoginRequest:
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))

    @property
    def challenge(self) -> str:
        """The challenge that the verifier answers (PKCE, S256)."""
        return urlsafe_b64encode(sha256(self.verifier.encode()).digest()).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class Identity:
    """A person who has logged in."""

    claims: Claims
    id_token: str


@dataclass(frozen=True, slots=True)
class Client:
    """This API, as the provider knows it."""

    id: str
    secret: str
    scopes: str
    redirect_uri: str
    audience: str | None = None


class IdentityProvider:
    """One provider. All methods raise ProviderAway where it cannot be asked."""

    def __init__(self, issuer: str, client: Client, http: httpx2.AsyncClient) -> None:
        self._client = client
        self._http = http
        self._documents = ProviderDocuments(issuer, http)

    async def login_address(self, request: LoginRequest) -> str:
        """The address where a browser logs in."""
        query = {
            "response_type": "code",
            "client_id": self._client.id,
            "redirect_uri": self._client.redirect_uri,
            "scope": self._client.scopes,
            "state": request.state,
            "nonce": request.nonce,
            "code_challenge": request.challenge,
            "code_challenge_method": "S256",
        }
        return _with_query(await self._documents.address("authorization_endpoint"), query)

    async def logout_address(self, id_token: str | None, back_to: str) -> str | None:
        """The address where a browser logs out; None where the provider has none."""
        endpoint = (await self._documents.metadata()).get("end_session_endpoint")
        if not isinstance(endpoint, str):
            return None
        query = {"client_id": self._client.id, "post_logout_redirect_uri": back_to}
        return _with_query(endpoint, query | ({"id_token_hint": id_token} if id_token else {}))

    async def identity(self, code: str, request: LoginRequest, issuer: str | None, claim: str) -> Identity:
        """The person for whom the provider gave this code.

        `issuer` is what the answer says of where it comes from (RFC 9207). `claim` is one that the provider is asked
        for where the token does not have it. Raises NotVerified where the provider refuses the code, or the token is
        not for this log-in.
        """
        if issuer is not None and issuer != self._documents.issuer:
            raise NotVerified(f"the answer says that it comes from '{issuer}'")
        given = await self._exchanged(code, request)
        id_token, access_token = given.get("id_token"), given.get("access_token")
        if not isinstance(id_token, str):
            raise NotVerified("the provider gave no ID token")
        claims = await self._verified(id_token, self._client.id)
        if claims.get("nonce") != request.nonce:
            raise NotVerified("the ID token has the nonce of another log-in")
        if claims.get("azp", self._client.id) != self._client.id:
            raise NotVerified("the ID token was given to another client")
        if claim.partition(".")[0] not in claims and claim not in claims and isinstance(access_token, str):
            claims = await self._with_user_info(claims, access_token)
        return Identity(claims, id_token)

    async def claims_of_access_token(self, token: str) -> Claims:
        """The claims of an access token that was given for this API. Raises NotVerified for any other."""
        if self._client.audience is None:
            raise NotVerified("access tokens of the provider do not count here: SAGA_HTTP_OIDC_AUDIENCE is not set")
        claims = await self._verified(token, self._client.audience)
        if any(each in claims for each in ID_TOKEN_CLAIMS):
            raise NotVerified("this is an ID token, and not an access token")
        return claims

    async def _verified(self, token: str, audience: str) -> Claims:
        """The claims of a token that the provider signed for this audience, and that has not ended."""
        try:
            claims = (await self._decoded(token)).claims
            jwt.JWTClaimsRegistry(
                leeway=CLOCK_LEEWAY_S,
                iss={"essential": True, "value": self._documents.issuer},
                aud={"essential": True, "value": audience},
                exp={"essential": True},
                sub={"essential": True},
            ).validate(claims)
        except ClaimError as error:
            raise NotVerified(f"the token's claim '{error.claim}' is wrong: {error.error}") from None
        except NOT_READABLE as error:
            raise NotVerified(f"the token cannot be verified: {error}") from None
        return claims

    async def _decoded(self, token: str) -> jwt.Token:
        try:
            return jwt.decode(token, await self._documents.keys(), registry=_REGISTRY)
        except KEY_ERRORS:
            # The provider has changed its keys, or somebody made the token up.
            keys = await self._documents.keys_with_another()
            if keys is None:
                raise
        try:
            return jwt.decode(token, keys, registry=_REGISTRY)
        except KEY_ERRORS:
            self._documents.note_missing_key()
            raise

    async def _exchanged(self, code: str, request: LoginRequest) -> Claims:
        """What the provider gives for a code. Raises NotVerified where it refuses."""
        client, headers = self._client, {}
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": client.redirect_uri}
        form["code_verifier"] = request.verifier
        methods = (await self._documents.metadata()).get("token_endpoint_auth_methods_supported")
        if client.secret and "client_secret_basic" in (methods or ["client_secret_basic"]):
            pair = f"{quote_plus(client.id)}:{quote_plus(client.secret)}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": client.id} | ({"client_secret": client.secret} if client.secret else {})
        address = await self._documents.address("token_endpoint")
        status, told = await answer_of(
            self._http, self._http.build_request("POST", address, data=form, headers=headers)
        )
        if status >= 400:
            raise NotVerified(f"the provider refuses the code: {told.get('error', status)}")
        return told

    async def _with_user_info(self, claims: Claims, access_token: str) -> Claims:
        """The claims, and what else the provider says of the person: not all have everything in the token."""
        endpoint = (await self._documents.metadata()).get("userinfo_endpoint")
        if not isinstance(endpoint, str):
            return claims
        headers = {"Authorization": f"Bearer {access_token}"}
        told = await ask(self._http, self._http.build_request("GET", endpoint, headers=headers))
        if told.get("sub") != claims["sub"]:
            raise NotVerified("the provider tells of another person than the token")
        return told | claims


def _with_query(address: str, query: Mapping[str, str]) -> str:
    return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"
