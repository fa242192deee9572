"""Who may ask: the callers that an application knows, by its settings.

Without rights whoever reaches this machine's loopback may do anything. With rights every request says who asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Literal

from fastapi import Request

from saga_service.admin.payloads import PayloadView, RedactedFields
from saga_service.base.lifecycle import cancel
from saga_service.http.access.callers import Caller, KnownBy, nobody_known
from saga_service.http.access.token_store import TokenStore
from saga_service.settings import Settings
from saga_service.settings.http_tokens import StoredToken, read_tokens
from saga_service.settings.roles import Role

ANYBODY_HERE = "http"
"""The name of whoever asks while there are no rights: all who reach this machine's loopback."""
HOW_TO_BE_KNOWN = "send a token as Authorization: Bearer"


class Rights:
    """The callers of one application. Raises Failure where a file of tokens cannot be used."""

    def __init__(self, settings: Settings) -> None:
        self._has_rights = settings.has_rights
        self._tokens = TokenStore(read_tokens(settings.http_tokens.get_secret_value()), settings.http_tokens_file)
        self._views = {role: _view(settings, role) for role in Role}

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep what is known of callers up to date within the block."""
        following = asyncio.create_task(self._tokens.follow())
        try:
            yield
        finally:
            await cancel((following,))

    async def caller(self, request: Request) -> Caller:
        """The caller of a request. Raises ProblemRaised where nobody is known."""
        if not self._has_rights:
            return Caller(ANYBODY_HERE, Role.ADMIN, payloads=self._views[Role.ADMIN])
        return self._by_token(_bearer(request))

    def _by_token(self, token: str) -> Caller:
        stored = self._tokens.find(token)
        if stored is None:
            raise nobody_known("the token is not known here", HOW_TO_BE_KNOWN, error="invalid_token")
        if stored.expires_at is not None and stored.expires_at <= datetime.now(UTC):
            raise _expired(stored)
        return Caller(stored.name, stored.role, KnownBy.TOKEN, stored.expires_at, self._views[stored.role])


def _expired(stored: StoredToken) -> Exception:
    return nobody_known(
        f"the token of {stored.name} expired at {stored.expires_at}",
        "make another: saga-service tokens make",
        error="invalid_token",
    )


def _bearer(request: Request) -> str:
    """The token that a request has. Raises ProblemRaised where it has none."""
    given = request.headers.get("authorization")
    if given is None:
        raise nobody_known("the request does not say who asks", HOW_TO_BE_KNOWN)
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise nobody_known("Authorization must be: Bearer, and a token", HOW_TO_BE_KNOWN, error="invalid_request")
    return token.strip()


def _view(settings: Settings, role: Role) -> PayloadView:
    """What a role sees of payloads."""
    needed, unredacted = settings.http_payload_role, settings.http_redacted_fields_role
    redacted = () if _covers(role, unredacted) else settings.http_redacted_fields
    return PayloadView(None if role.covers(needed) else needed, RedactedFields(redacted))


def _covers(role: Role, needed: Role | Literal["nobody"]) -> bool:
    return needed != "nobody" and role.covers(needed)
