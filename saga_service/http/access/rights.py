"""Who may ask: the callers that an application knows, by its settings.

Without rights whoever reaches this machine's loopback may do anything. With rights every request says who asks: by a
token, by an access token of the identity provider, or by the cookie of a person who has logged in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from fastapi import Request

from saga_service.admin.payloads import PayloadView, RedactedFields
from saga_service.base.lifecycle import cancel
from saga_service.http.access.callers import Caller, KnownBy, nobody_known
from saga_service.http.access.logins import Logins, open_logins
from saga_service.http.access.refusal_log import RefusalLog
from saga_service.http.access.sessions import Sessions
from saga_service.http.access.token_store import TokenStore
from saga_service.http.pooled_servers import PooledServers
from saga_service.settings import Settings
from saga_service.settings.http_tokens import StoredToken, read_tokens
from saga_service.settings.roles import Role
from saga_service.store.http_access import Refusal

ANYBODY_HERE = "http"
"""The name of whoever asks while there are no rights: all who reach this machine's loopback."""


class Rights:
    """The callers of one application. Raises Failure where a file of tokens cannot be used."""

    def __init__(self, settings: Settings) -> None:
        self.logins: Logins | None = None
        """Log-ins, while the application is started; None where nobody can log in."""
        self.refusals = RefusalLog()
        self._settings = settings
        self._tokens = TokenStore(read_tokens(settings.http_tokens.get_secret_value()), settings.http_tokens_file)
        self._views = {role: _view(settings, role) for role in Role}

    @asynccontextmanager
    async def kept(self, servers: PooledServers) -> AsyncIterator[None]:
        """Keep what is known of callers up to date within the block, and what they were refused on record."""

        async def write(refusals: list[tuple[Refusal, int]]) -> None:
            with servers.http_access() as access:
                await access.record_refusals(refusals)

        loops: list[Coroutine[object, object, None]] = [self._tokens.follow(), self.refusals.write_by(write)]
        async with AsyncExitStack() as stack:
            if self._settings.http_oidc_issuer is not None:
                sessions = Sessions(self._settings, servers.http_access)
                self.logins = await stack.enter_async_context(open_logins(self._settings, sessions))
                loops.append(sessions.follow())
            tasks = [asyncio.create_task(loop) for loop in loops]
            try:
                yield
            finally:
                await cancel(tasks)
                await self.refusals.flush(write)

    async def caller(self, request: Request) -> Caller:
        """The caller of a request. Raises ProblemRaised where nobody is known, Failure where that cannot be said."""
        known = await self._known(request)
        return replace(known, payloads=self._views[known.role])

    async def _known(self, request: Request) -> Caller:
        if not self._settings.has_rights:
            return Caller(ANYBODY_HERE, Role.ADMIN)
        given = request.headers.get("authorization")
        if given is not None:
            return await self._by_authorization(given)
        known = None if self.logins is None else self.logins.caller_by_session(request)
        if known is None:
            raise nobody_known("the request does not say who asks", self._how_to_be_known)
        return known

    async def _by_authorization(self, given: str) -> Caller:
        scheme, _, token = given.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise nobody_known(
                "Authorization must be: Bearer, and a token", self._how_to_be_known, error="invalid_request"
            )
        stored = self._tokens.find(token)
        if stored is not None:
            return _by_token(stored)
        if self.logins is not None and token.count(".") == 2:
            return await self.logins.caller_by_access_token(token)
        raise nobody_known("the token is not known here", self._how_to_be_known, error="invalid_token")

    @property
    def _how_to_be_known(self) -> str:
        return "send a token as Authorization: Bearer" + ("" if self.logins is None else ", or log in at /auth/login")


def _by_token(stored: StoredToken) -> Caller:
    if stored.expires_at is not None and stored.expires_at <= datetime.now(UTC):
        raise nobody_known(
            f"the token of {stored.name} expired at {stored.expires_at}",
            "make another: saga-service tokens make",
            error="invalid_token",
        )
    return Caller(stored.name, stored.role, KnownBy.TOKEN, stored.expires_at)


def _view(settings: Settings, role: Role) -> PayloadView:
    """What a role sees of payloads."""
    needed, unredacted = settings.http_payload_role, settings.http_redacted_fields_role
    redacted = () if _covers(role, unredacted) else settings.http_redacted_fields
    return PayloadView(None if role.covers(needed) else needed, RedactedFields(redacted))


def _covers(role: Role, needed: Role | Literal["nobody"]) -> bool:
    return needed != "nobody" and role.covers(needed)
