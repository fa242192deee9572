"""Sessions: a cookie of another release is as good as none, and a large ID token does not make one too large."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fastapi import Request, Response

from saga_service.encryption.keys import fresh_key, read_keys, write_key
from saga_service.http.access.identity_provider import LoginRequest
from saga_service.http.access.sealed_cookie import CookieSeal
from saga_service.http.access.sessions import COOKIE_CHARACTERS_MAX, LoginBegun, Sessions
from saga_service.settings import EncryptionKeys, Settings
from saga_service.settings.roles import Role
from saga_service.store.http_access import HttpAccess

KEYS = write_key(fresh_key("a"))


class NobodyHasLoggedOut(HttpAccess):
    """Log-outs without a server."""

    def __init__(self) -> None:
        """Without a pool."""

    async def ended_sessions(self) -> set[str]:
        return set()


@contextmanager
def access() -> Iterator[HttpAccess]:
    yield NobodyHasLoggedOut()


@pytest.fixture
async def sessions() -> Sessions:
    made = Sessions(Settings(http_session_keys=EncryptionKeys(KEYS)), access)
    await made.read_ended()
    return made


def request_with(**cookies: str) -> Request:
    header = "; ".join(f"saga_{name}={text}" for name, text in cookies.items())
    return Request({"type": "http", "headers": [(b"cookie", header.encode())]})


def cookie_of(response: Response) -> str:
    return response.headers["set-cookie"].partition("=")[2].partition(";")[0]


@pytest.mark.parametrize("values", [{}, {"id": "x", "name": "a", "role": "boss", "subject": "1"}, {"colour": "red"}])
async def test_a_cookie_of_another_release_is_as_good_as_none(sessions: Sessions, values: dict[str, str]) -> None:
    seal = CookieSeal(read_keys(KEYS))
    request = request_with(session=seal.seal("session", values, 60), login=seal.seal("login", values, 60))
    assert sessions.of(request) is None
    assert sessions.login_of(request) is None


async def test_an_id_token_that_is_too_large_for_a_cookie_is_left_out(sessions: Sessions) -> None:
    for size, is_kept in ((800, True), (8_000, False)):
        response = Response()
        sessions.begin(response, "anna", Role.VIEWER, "1", os.urandom(size).hex())
        text = cookie_of(response)
        session = sessions.of(request_with(session=text))
        assert session is not None
        assert (session.name, session.role, session.id_token is not None) == ("anna", Role.VIEWER, is_kept)
        assert len(text) <= COOKIE_CHARACTERS_MAX


async def test_a_log_in_that_a_browser_began_is_found_there(sessions: Sessions) -> None:
    begun, response = LoginBegun(LoginRequest.fresh(), "/v1/sagas"), Response()
    sessions.begin_login(response, begun)
    assert sessions.login_of(request_with(login=cookie_of(response))) == begun
    assert sessions.login_of(request_with()) is None
