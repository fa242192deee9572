"""The settings of rights: what a log-in needs is asked for by name, and no secret is ever shown."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from saga_service.encryption.keys import fresh_key, write_key
from saga_service.settings import InvalidSettings, load_settings
from saga_service.settings.http_tokens import StoredToken, digest_of, write_token
from saga_service.settings.roles import Role
from tests.support.command_line import run

TOKEN = write_token(StoredToken("ci", Role.VIEWER, digest_of("saga_x")))
KEY = write_key(fresh_key("a"))
LOGIN = {
    "SAGA_HTTP_OIDC_ISSUER": "https://login.example.com",
    "SAGA_HTTP_OIDC_CLIENT_ID": "sagas",
    "SAGA_HTTP_OIDC_CLIENT_SECRET": "hush",
    "SAGA_HTTP_OIDC_ROLES": "sre=operator,*=viewer",
    "SAGA_HTTP_PUBLIC_URL": "https://sagas.example.com",
    "SAGA_HTTP_SESSION_KEYS": KEY,
}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment without settings and a working directory without a `.env`."""
    for name in [name for name in os.environ if name.upper().startswith("SAGA_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def problems() -> list[str]:
    with pytest.raises(InvalidSettings) as caught:
        load_settings()
    return caught.value.problems


def given(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    "settings",
    [{"SAGA_HTTP_TOKENS": TOKEN}, {"SAGA_HTTP_TOKENS_FILE": "tokens"}, LOGIN],
    ids=["tokens", "file", "log-in"],
)
def test_there_are_rights_as_soon_as_anybody_can_be_known(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:
    assert not load_settings().has_rights
    given(monkeypatch, **settings)
    assert load_settings().has_rights


@pytest.mark.parametrize("missing", [name for name in LOGIN if name.endswith(("_ID", "_ROLES", "_URL", "_KEYS"))])
def test_a_log_in_names_what_it_lacks(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    given(monkeypatch, **{name: value for name, value in LOGIN.items() if name != missing})
    [problem] = problems()
    assert problem.startswith(f"SAGA_HTTP_OIDC_ISSUER needs {missing}: ")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SAGA_HTTP_PUBLIC_URL", "https://sagas.example.com/", "must be an address without a path"),
        ("SAGA_HTTP_PUBLIC_URL", "sagas.example.com", "must be an address without a path"),
        ("SAGA_HTTP_OIDC_ISSUER", "http://login.example.com", "must be an https address"),
        ("SAGA_HTTP_OIDC_ISSUER", "http://localhost.example.com", "must be an https address"),
        ("SAGA_HTTP_OIDC_SCOPES", "profile", "one of which is openid"),
        ("SAGA_HTTP_OIDC_ROLES", "sre=boss", "'boss' is no role; the roles are viewer, operator, admin"),
        ("SAGA_HTTP_PAYLOAD_ROLE", "boss", "must be 'viewer', 'operator' or 'admin'"),
    ],
)
def test_a_wrong_value_is_told(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    monkeypatch.setenv(name, value)
    [problem] = problems()
    assert problem.startswith(f"{name} (from the environment): ")
    assert said in problem


def test_a_provider_on_this_machine_may_be_asked_in_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, **LOGIN, SAGA_HTTP_TOKENS=TOKEN)
    for issuer in ("http://localhost:9400", "http://127.0.0.1/a", "http://[::1]:1"):
        monkeypatch.setenv("SAGA_HTTP_OIDC_ISSUER", issuer)
        assert load_settings().http_oidc_issuer == issuer


def test_no_secret_is_shown_whether_it_is_right_or_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, **LOGIN, SAGA_HTTP_TOKENS=TOKEN)
    shown = run("settings", "--json")
    values = {each["variable"]: each["value"] for each in json.loads(shown.out)}
    assert values["SAGA_HTTP_TOKENS"] == "ci:viewer:***"
    assert values["SAGA_HTTP_OIDC_CLIENT_SECRET"] == "***"
    assert values["SAGA_HTTP_SESSION_KEYS"] == "a:***"
    hidden = ("hush", KEY.partition(":")[2], TOKEN.rpartition(":")[2])
    assert [each for each in hidden if each in shown.out] == []

    monkeypatch.setenv("SAGA_HTTP_TOKENS", TOKEN + "0")
    monkeypatch.setenv("SAGA_HTTP_SESSION_KEYS", "a:hush")
    told = "\n".join(problems())
    assert "SAGA_HTTP_TOKENS (from the environment): token 1: the hash of 'ci' must be 64 hexadecimal digits" in told
    assert [each for each in hidden if each in told] == []
