"""People who log in at an OpenID Connect provider, and programs that have an access token of it.

A log-in is the code flow with PKCE. What comes back counts for the browser that began it, once, and within minutes.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx2
import structlog
from fastapi import Request
from fastapi.responses import RedirectResponse

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.http.access.callers import Caller, KnownBy, nobody_known
from saga_service.http.access.identity_claims import Claims, IdentityClaims
from saga_service.http.access.identity_provider import Client, IdentityProvider, LoginRequest, NotVerified
from saga_service.http.access.provider_documents import ProviderAway
from saga_service.http.access.sessions import LoginBegun, Sessions
from saga_service.http.problem_details import Problem, ProblemRaised
from saga_service.settings import Settings
from saga_service.settings.roles import Role, read_role_mapping

log = structlog.get_logger(__name__)

ANSWER_TIMEOUT_S = 5.0
READS = ("GET", "HEAD", "OPTIONS")
NEXT_CHARACTERS_MAX = 500
BEGIN_AGAIN = "begin again: /auth/login"
LAST_MOMENT_S = 253_402_300_799
"""The end of the year 9999, which is the last that Python has. A provider may give tokens that never end."""


class Logins:
    """Log-ins and log-outs of people, and the callers that they are afterwards."""

    def __init__(self, settings: Settings, sessions: Sessions, http: httpx2.AsyncClient) -> None:
        assert settings.http_oidc_issuer is not None, "somebody can log in"
        self._root = f"{settings.http_public_url}{settings.http_root_path}"
        self._origin = settings.http_public_url
        self._home = f"{settings.http_root_path}/"
        self._sessions = sessions
        self._role_claim = settings.http_oidc_role_claim
        self._claims = IdentityClaims(
            settings.http_oidc_role_claim, read_role_mapping(settings.http_oidc_roles), settings.http_oidc_name_claim
        )
        client = Client(
            settings.http_oidc_client_id,
            settings.http_oidc_client_secret.get_secret_value(),
            settings.http_oidc_scopes,
            f"{self._root}/auth/callback",
            settings.http_oidc_audience,
        )
        self._provider = IdentityProvider(settings.http_oidc_issuer, client, http)

    async def begin(self, next_path: str | None) -> RedirectResponse:
        """Send the browser to the provider. It comes back to `next_path`, which is one of this API. Raises Failure."""
        begun = LoginBegun(LoginRequest.fresh(), self._home if next_path is None else _own_path(next_path))
        with _provider_in_words():
            response = _sent_to(await self._provider.login_address(begun.request))
        self._sessions.begin_login(response, begun)
        return response

    async def finish(
        self, request: Request, code: str | None, state: str | None, error: str | None, issuer: str | None
    ) -> RedirectResponse:
        """Begin a session for whoever the provider says it is. Raises Failure and ProblemRaised."""
        begun = self._sessions.login_of(request)
        if begun is None or state is None or not hmac.compare_digest(state.encode(), begun.request.state.encode()):
            raise _refused("this is no answer to a log-in that this browser began within 10 minutes", BEGIN_AGAIN)
        if error is not None or code is None:
            raise _refused(f"the provider let nobody in: {error or 'it gave no code'}", BEGIN_AGAIN)
        with _provider_in_words():
            identity = await self._provider.identity(code, begun.request, issuer, self._role_claim)
        name, role = self._known(identity.claims)
        response = _sent_to(begun.next)
        self._sessions.begin(response, name, role, identity.claims["sub"], identity.id_token)
        log.info("logged in", caller=name, role=role, subject=identity.claims["sub"])
        return response

    async def end(self, request: Request) -> RedirectResponse:
        """End the session of a browser, and send it to the provider to log out there too. Raises ProblemRaised."""
        session = self._sessions.of(request)
        self._refuse_other_pages(request, None if session is None else session.name)
        address = None
        if session is not None:
            try:
                address = await self._provider.logout_address(session.id_token, f"{self._root}/")
            except ProviderAway as away:
                log.warning("logged out here alone", caller=session.name, error=str(away))
        response = _sent_to(address or self._home)
        self._sessions.forget(response)
        if session is not None:
            await self._sessions.end(session)
            log.info("logged out", caller=session.name, subject=session.subject)
        return response

    def caller_by_session(self, request: Request) -> Caller | None:
        """The person whose browser asks; None where nobody has logged in there.

        Raises ProblemRaised where a page of another origin would change something in that person's name.
        """
        session = self._sessions.of(request)
        if session is None:
            return None
        if request.method not in READS:
            self._refuse_other_pages(request, session.name)
        return Caller(session.name, session.role, KnownBy.SESSION, session.ends_at)

    async def caller_by_access_token(self, token: str) -> Caller:
        """The program that has an access token of the provider. Raises Failure and ProblemRaised."""
        try:
            with _provider_in_words():
                claims = await self._provider.claims_of_access_token(token)
        except ProblemRaised as refused:
            raise nobody_known(refused.problem.detail, "ask the provider for another", error="invalid_token") from None
        name, role = self._known(claims)
        return Caller(name, role, KnownBy.ACCESS_TOKEN, datetime.fromtimestamp(min(claims["exp"], LAST_MOMENT_S), UTC))

    def _known(self, claims: Claims) -> tuple[str, Role]:
        """The name and the role that claims give. Raises ProblemRaised where they give no role."""
        name, role = self._claims.name(claims), self._claims.role(claims)
        if role is None:
            values = self._claims.values(claims)
            has = "is not there" if values is None else f"has {', '.join(values) or 'nothing'}"
            raise _refused(
                f"{name} is known, and has no role here: the claim {self._role_claim} {has}",
                "ask whoever gives out roles, or change SAGA_HTTP_OIDC_ROLES",
                name,
            )
        return name, role

    def _refuse_other_pages(self, request: Request, name: str | None) -> None:
        origin = request.headers.get("origin")
        if origin != self._origin:
            raise _refused(
                f"Origin is {origin or 'missing'}, and only pages of {self._origin} may change anything for you",
                "SAGA_HTTP_PUBLIC_URL is the address in people's browsers; a program sends a token",
                name,
            )


@asynccontextmanager
async def open_logins(settings: Settings, sessions: Sessions) -> AsyncIterator[Logins]:
    """Log-ins, with a client for the provider. Nobody is asked yet."""
    async with httpx2.AsyncClient(timeout=ANSWER_TIMEOUT_S) as http:
        yield Logins(settings, sessions, http)


@contextmanager
def _provider_in_words() -> Iterator[None]:
    try:
        yield
    except ProviderAway as away:
        raise Failure(
            f"the identity provider cannot be used: {away}",
            "log in later; a token works meanwhile",
            kind=FailureKind.UNREACHABLE,
        ) from None
    except NotVerified as error:
        raise _refused(str(error), BEGIN_AGAIN) from None


def _refused(detail: str, advice: str, name: str | None = None) -> ProblemRaised:
    kind, status = "urn:saga-service:problem:login", HTTPStatus.FORBIDDEN
    problem = Problem(type=kind, title="Not let in", status=status, detail=detail, advice=advice)
    return ProblemRaised(problem, caller=name)


def _own_path(path: str) -> str:
    """The path, which is one of this API. Raises Failure for any other address: nobody is sent elsewhere from here."""
    try:
        parts = urlsplit(path)
        is_own = path.startswith("/") and not path.startswith("//") and not parts.netloc and not parts.scheme
    except ValueError:
        is_own = False
    if not is_own or "\\" in path or not path.isprintable() or len(path) > NEXT_CHARACTERS_MAX:
        raise Failure("next: must be a path of this API, such as /v1/sagas", kind=FailureKind.INVALID)
    return path


def _sent_to(address: str) -> RedirectResponse:
    return RedirectResponse(address, HTTPStatus.SEE_OTHER, {"Cache-Control": "no-store"})
