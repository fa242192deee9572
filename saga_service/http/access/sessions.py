"""Sessions of people who have logged in: a sealed cookie, and what all processes know of those that were ended.

A session is in its cookie alone, so any process knows it, no request asks a server, and a browser that comes back finds
it though Postgres is away. A log-out is a row in Postgres, which every process reads within seconds: a cookie that was
copied counts no longer.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import structlog
from fastapi import Request, Response

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.encryption.keys import read_keys
from saga_service.http.access.identity_provider import LoginRequest
from saga_service.http.access.sealed_cookie import CookieSeal
from saga_service.settings import Settings
from saga_service.settings.roles import Role
from saga_service.store.http_access import HttpAccess

log = structlog.get_logger(__name__)

READ_EVERY_S = 2.0
LOGIN_S_MAX = 600
COOKIE_CHARACTERS_MAX = 3_800
"""Browsers keep 4,096 characters of a cookie, with its name and attributes."""
SESSION, LOGIN = "session", "login"
OF_ANOTHER_RELEASE = (KeyError, TypeError, ValueError)
"""What a sealed cookie of another form raises. It is as good as none."""


@dataclass(frozen=True, slots=True)
class Session:
    """A person who has logged in. `id_token` is what a log-out at the provider is asked with; it may be missing."""

    id: str
    name: str
    role: Role
    subject: str
    ends_at_s: int
    id_token: str | None = None

    @property
    def ends_at(self) -> datetime:
        return datetime.fromtimestamp(self.ends_at_s, UTC)


@dataclass(frozen=True, slots=True)
class LoginBegun:
    """A log-in that a browser has begun, and where it goes on afterwards."""

    request: LoginRequest
    next: str


class Sessions:
    """Begins, finds and ends sessions."""

    def __init__(self, settings: Settings, access: Callable[[], AbstractContextManager[HttpAccess]]) -> None:
        self._seal = CookieSeal(read_keys(settings.http_session_keys.get_secret_value()))
        self._cookies = CookieForm(settings)
        self._seconds = settings.http_session_minutes * 60
        self._access = access
        self._ended: set[str] | None = None
        self._to_be_ended: dict[str, Session] = {}

    def begin_login(self, response: Response, begun: LoginBegun) -> None:
        """Have the browser keep what ties the provider's answer to it."""
        sealed = self._seal.seal(LOGIN, {"request": asdict(begun.request), "next": begun.next}, LOGIN_S_MAX)
        self._cookies.set(response, LOGIN, sealed, LOGIN_S_MAX)

    def login_of(self, request: Request) -> LoginBegun | None:
        """The log-in that this browser has begun; None where it has not, or too long ago."""
        values = self._seal.opened(LOGIN, self._cookies.of(request, LOGIN))
        with suppress(*OF_ANOTHER_RELEASE):
            return None if values is None else LoginBegun(LoginRequest(**values["request"]), values["next"])
        return None

    def begin(self, response: Response, name: str, role: Role, subject: str, id_token: str) -> None:
        """Begin a session under a new id, whatever cookie the browser had; the log-in is used up."""
        values = {"id": secrets.token_urlsafe(16), "name": name, "role": role.value, "subject": subject}
        sealed = self._seal.seal(SESSION, values | {"id_token": id_token}, self._seconds)
        if len(sealed) > COOKIE_CHARACTERS_MAX:
            sealed = self._seal.seal(SESSION, values, self._seconds)
        self._cookies.set(response, SESSION, sealed, self._seconds)
        self._cookies.remove(response, LOGIN)

    def of(self, request: Request) -> Session | None:
        """The session of a request; None where it has none that counts.

        Raises Failure where this process has not yet been able to read who has logged out.
        """
        session = self._opened(request)
        if session is None:
            return None
        if self._ended is None:
            raise Failure(
                "nobody's log-in counts before it is known who has logged out, and Postgres has not said so yet",
                "ask again in a moment, or send a token",
                kind=FailureKind.UNREACHABLE,
            )
        return None if session.id in self._ended or session.id in self._to_be_ended else session

    def _opened(self, request: Request) -> Session | None:
        values = self._seal.opened(SESSION, self._cookies.of(request, SESSION))
        if values is None:
            return None
        ends_at_s = values.pop("exp")
        with suppress(*OF_ANOTHER_RELEASE):
            return Session(**(values | {"role": Role(values["role"])}), ends_at_s=ends_at_s)
        return None

    def forget(self, response: Response) -> None:
        """Have the browser forget its session."""
        self._cookies.remove(response, SESSION)

    async def end(self, session: Session) -> None:
        """End a session here at once, and everywhere as soon as Postgres has it."""
        self._to_be_ended[session.id] = session
        await self._told(self._write_ended)

    async def follow(self) -> None:
        """Keep up with what all processes know of ended sessions, for ever."""
        while True:
            await self._told(self._write_ended)
            await self._told(self.read_ended)
            await asyncio.sleep(READ_EVERY_S)

    async def _told(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Failure as failure:
            log.warning("log-outs cannot be shared with other processes now", error=str(failure))

    async def _write_ended(self) -> None:
        for session in list(self._to_be_ended.values()):
            with self._access() as access:
                await access.end_session(session.id, session.ends_at_s)
            if self._ended is not None:
                self._ended.add(session.id)
            self._to_be_ended.pop(session.id, None)

    async def read_ended(self) -> None:
        """Read who has logged out. Raises Failure where Postgres cannot be used."""
        with self._access() as access:
            self._ended = await access.ended_sessions()


class CookieForm:
    """The names and attributes of cookies: as narrow as the address of the API lets them be."""

    def __init__(self, settings: Settings) -> None:
        self._is_secure = (settings.http_public_url or "").startswith("https:")
        self._path = settings.http_root_path or "/"
        # With the first prefix a browser takes the cookie from this very host alone, with the second over TLS alone.
        prefix = "__Host-" if self._path == "/" else "__Secure-"
        self._prefix = f"{prefix if self._is_secure else ''}saga_"

    def of(self, request: Request, use: str) -> str:
        """The text of a cookie, empty where there is none."""
        return request.cookies.get(self._prefix + use, "")

    def set(self, response: Response, use: str, text: str, seconds: int) -> None:
        response.set_cookie(
            self._prefix + use,
            text,
            max_age=seconds,
            path=self._path,
            secure=self._is_secure,
            httponly=True,
            # The provider sends the browser back here, which would leave a strict one out.
            samesite="lax",
        )

    def remove(self, response: Response, use: str) -> None:
        response.delete_cookie(
            self._prefix + use, path=self._path, secure=self._is_secure, httponly=True, samesite="lax"
        )
