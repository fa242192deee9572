"""People log in at a real OpenID Connect provider, as their browsers do it: by redirects and cookies alone."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from structlog.testing import capture_logs

from saga_service.encryption.keys import fresh_key, write_key
from saga_service.http.access import logins, provider_documents, sessions
from saga_service.http.application import make_application
from saga_service.settings import AccessTokens, EncryptionKeys, Settings, at_addresses
from saga_service.settings.http_tokens import StoredToken, digest_of, fresh_token, write_token
from saga_service.settings.roles import Role
from saga_service.settings.sources import ClientSecret
from tests.integration.cli.test_sagas import begun, keep
from tests.support.oidc_provider import open_provider
from tests.support.waiting import eventually

HERE = "http://sagas.test"
TOKEN = fresh_token()
KEYS = EncryptionKeys(write_key(fresh_key("a")))
NOWHERE = "redis://127.0.0.1:1/0"
Browser = httpx.AsyncClient


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with open_provider() as address:
        httpx.put(f"{address}/users/anna", json={"preferred_username": "anna.w", "groups": ["sre", "staff"]})
        httpx.put(f"{address}/users/bert", json={"email": "bert@example.com", "groups": ["staff"]})
        httpx.put(f"{address}/users/carl", json={"groups": ["guests"]})
        httpx.put(f"{address}/users/dora", json={})
        yield address


@pytest.fixture(autouse=True)
def no_faults(provider: str) -> Iterator[None]:
    yield
    httpx.put(f"{provider}/faults", json={})


def settings_for(issuer: str, postgres_dsn: str, **others: Any) -> Settings:
    stored = write_token(StoredToken("ci", Role.ADMIN, digest_of(TOKEN)))
    given: dict[str, Any] = {
        "http_tokens": AccessTokens(stored),
        "http_oidc_issuer": issuer,
        "http_oidc_client_id": "sagas",
        "http_oidc_client_secret": ClientSecret("hush"),
        "http_oidc_role_claim": "groups",
        "http_oidc_roles": ("sre=operator", "staff=viewer"),
        "http_oidc_audience": "saga-api",
        "http_public_url": HERE,
        "http_session_keys": KEYS,
    }
    return at_addresses(Settings(**given | others), {"SAGA_POSTGRES_DSN": postgres_dsn, "SAGA_REDIS_URL": NOWHERE})


@asynccontextmanager
async def open_browser(settings: Settings) -> AsyncIterator[Browser]:
    """A browser that reaches a process of the API at HERE, and everything else by the network."""
    application = make_application(settings)
    async with application.router.lifespan_context(application):
        transport = httpx.ASGITransport(application)
        async with Browser(mounts={f"all://{HERE.partition('//')[2]}": transport}, base_url=HERE) as browser:
            yield browser


@pytest.fixture
async def browser(provider: str, postgres_dsn: str) -> AsyncIterator[Browser]:
    async with open_browser(settings_for(provider, postgres_dsn)) as opened:
        await eventually(lambda: is_ready(opened))
        yield opened


async def is_ready(browser: Browser) -> bool:
    """True once the process has read who has logged out."""
    return (await browser.get("/v1/me", headers={"Cookie": "saga_session=x"})).status_code == 401


async def form_of(browser: Browser, path: str = "/auth/login") -> str:
    """The address of the provider's form, to which a log-in leads."""
    begun_login = await browser.get(path)
    assert begun_login.status_code == 303, begun_login.text
    return begun_login.headers["location"]


async def answer_of_provider(browser: Browser, form: str, person: str) -> str:
    """The address at which the browser comes back, with the provider's answer for this person."""
    answered = await browser.post(form, data={"sub": person})
    assert answered.status_code == 302, answered.text
    return answered.headers["location"]


async def log_in(browser: Browser, person: str, path: str = "/auth/login") -> httpx.Response:
    return await browser.get(await answer_of_provider(browser, await form_of(browser, path), person))


async def me(browser: Browser) -> dict[str, Any]:
    seen: dict[str, Any] = (await browser.get("/v1/me")).json()
    return seen


async def test_a_person_logs_in_and_goes_on_where_they_were_with_name_role_and_end(browser: Browser) -> None:
    browser.follow_redirects = True
    form = (await browser.get("/auth/login?next=/v1/me")).url
    shown = await browser.post(form, data={"sub": "anna"})

    assert shown.url == f"{HERE}/v1/me"
    seen = shown.json()
    assert (seen["name"], seen["role"], seen["known_by"]) == ("anna.w", "operator", "session")
    assert seen["until"] is not None
    assert (await browser.get("/v1/sagas")).status_code == 200


async def test_the_request_to_the_provider_has_pkce_state_and_nonce_of_its_own(browser: Browser) -> None:
    queries = [parse_qs(urlsplit(await form_of(browser)).query) for _ in range(2)]
    for query in queries:
        assert (query["code_challenge_method"], query["redirect_uri"]) == (["S256"], [f"{HERE}/auth/callback"])
    for name in ("state", "nonce", "code_challenge"):
        assert queries[0][name] != queries[1][name]


@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
@pytest.mark.parametrize(
    ("public_url", "root_path", "prefix", "attributes"),
    [
        (HERE, "", "", {"Path=/"}),
        ("https://sagas.test", "", "__Host-", {"Path=/", "Secure"}),
        ("https://sagas.test", "/sub", "__Secure-", {"Path=/sub", "Secure"}),
    ],
    ids=["plain", "tls", "sub-path"],
)
async def test_cookies_are_as_narrow_as_the_address_lets_them_be(
    provider: str, postgres_dsn: str, public_url: str, root_path: str, prefix: str, attributes: set[str]
) -> None:
    settings = settings_for(provider, postgres_dsn, http_public_url=public_url, http_root_path=root_path)
    async with open_browser(settings) as browser:
        begun_login = await browser.get("/auth/login")
        [login] = begun_login.headers.get_list("set-cookie")
        back = urlsplit(await answer_of_provider(browser, begun_login.headers["location"], "anna"))
        assert f"{back.scheme}://{back.netloc}{back.path}" == f"{public_url}{root_path}/auth/callback"
        # The proxy has taken the path off, and the cookie of TLS comes by plain HTTP behind it.
        header = {"Cookie": login.partition(";")[0]}
        done = await browser.get(f"/auth/callback?{back.query}", headers=header)

    found = dict(each.split("=", 1) for each in (login, *done.headers.get_list("set-cookie")))
    assert found.keys() == {f"{prefix}saga_session", f"{prefix}saga_login"}
    assert set(found[f"{prefix}saga_session"].split("; ")[1:]) == attributes | {
        "HttpOnly", "SameSite=lax", "Max-Age=28800",
    }  # fmt: skip
    assert "anna" not in str(found)


async def test_a_log_in_begins_a_session_of_a_new_id_whatever_cookie_was_there(browser: Browser) -> None:
    await log_in(browser, "anna")
    first = browser.cookies["saga_session"]
    await log_in(browser, "bert")
    assert (await me(browser))["name"] == "bert@example.com"
    assert browser.cookies["saga_session"] != first


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"state": "other"}, "this is no answer to a log-in that this browser began"),
        ({"state": None}, "this is no answer to a log-in that this browser began"),
        ({"code": "other"}, "the provider refuses the code: invalid_grant"),
        ({"code": None}, "the provider let nobody in: it gave no code"),
        ({"error": "access_denied"}, "the provider let nobody in: access_denied"),
        ({"iss": "https://evil.example"}, "the answer says that it comes from 'https://evil.example'"),
    ],
    ids=["state", "no state", "code", "no code", "denied", "issuer"],
)
async def test_an_answer_that_is_not_the_providers_to_this_log_in_lets_nobody_in(
    browser: Browser, change: dict[str, str | None], said: str
) -> None:
    answer = urlsplit(await answer_of_provider(browser, await form_of(browser), "anna"))
    query = {name: values[0] for name, values in parse_qs(answer.query).items()} | change
    sent = urlencode({name: value for name, value in query.items() if value is not None})
    refused = await browser.get(f"/auth/callback?{sent}")
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:saga-service:problem:login")
    assert refused.json()["detail"].startswith(said)
    assert "saga_session" not in browser.cookies


async def test_an_answer_counts_once_and_in_the_browser_that_asked(browser: Browser) -> None:
    answer = await answer_of_provider(browser, await form_of(browser), "anna")
    login = browser.cookies["saga_login"]
    browser.cookies.clear()
    elsewhere = await browser.get(answer)
    assert elsewhere.json()["detail"].startswith("this is no answer to a log-in that this browser began")

    browser.cookies.set("saga_login", login, domain="sagas.test")
    assert (await browser.get(answer)).status_code == 303
    assert (await browser.get(answer)).status_code == 403
    # Whoever has kept the cookie meets the provider, which gives nothing twice for one code.
    browser.cookies.set("saga_login", login, domain="sagas.test")
    assert (await browser.get(answer)).json()["detail"] == "the provider refuses the code: invalid_grant"


async def test_the_code_of_another_log_in_is_refused_by_its_challenge_and_by_its_nonce(
    browser: Browser, provider: str
) -> None:
    def code_in(address: str) -> str:
        return parse_qs(urlsplit(address).query)["code"][0]

    stolen = code_in(await answer_of_provider(browser, await form_of(browser), "bert"))
    answer = await answer_of_provider(browser, await form_of(browser), "anna")
    injected = await browser.get(answer.replace(code_in(answer), stolen))
    assert injected.json()["detail"] == "the provider refuses the code: invalid_grant"

    await browser.put(f"{provider}/faults", json={"nonce": "of another"})
    assert (await log_in(browser, "anna")).json()["detail"] == "the ID token has the nonce of another log-in"


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ({"aud": "another"}, "the token's claim 'aud' is wrong: invalid_claim"),
        ({"aud": ["sagas", "another"], "azp": "another"}, "the ID token was given to another client"),
        ({"exp": 1_700_000_000}, "the token's claim 'exp' is wrong: expired_token"),
        ({"exp": None}, "the token's claim 'exp' is wrong: missing_claim"),
        ({"iss": "https://evil.example"}, "the token's claim 'iss' is wrong: invalid_claim"),
        ({"nonce": None}, "the ID token has the nonce of another log-in"),
    ],
    ids=["audience", "authorized party", "expired", "without end", "issuer", "no nonce"],
)
async def test_an_id_token_that_is_not_for_this_log_in_lets_nobody_in(
    browser: Browser, provider: str, faults: dict[str, object], said: str
) -> None:
    await browser.put(f"{provider}/faults", json=faults)
    refused = await log_in(browser, "anna")
    assert (refused.status_code, refused.json()["detail"]) == (403, said)
    assert (await browser.get("/v1/me")).status_code == 401


async def test_whoever_has_no_role_is_refused_with_words(browser: Browser) -> None:
    refused = {person: (await log_in(browser, person)).json() for person in ("carl", "dora")}
    assert refused["carl"]["detail"] == "carl is known, and has no role here: the claim groups has guests"
    assert refused["dora"]["detail"] == "dora is known, and has no role here: the claim groups is not there"
    assert refused["carl"]["advice"] == "ask whoever gives out roles, or change SAGA_HTTP_OIDC_ROLES"


async def test_a_claim_that_the_token_does_not_have_is_asked_for(browser: Browser, provider: str) -> None:
    await browser.put(f"{provider}/faults", json={"groups": None})
    await log_in(browser, "anna")
    assert (await me(browser))["role"] == "operator"


async def test_new_keys_of_the_provider_count_at_once(browser: Browser, provider: str) -> None:
    await log_in(browser, "anna")
    await browser.post(f"{provider}/keys")
    browser.cookies.clear()
    await log_in(browser, "bert")
    assert (await me(browser))["name"] == "bert@example.com"


async def test_the_process_starts_without_its_provider_and_finds_it_later(postgres_dsn: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    issuer = f"http://localhost:{port}"
    async with open_browser(settings_for(issuer, postgres_dsn)) as browser:
        away = await browser.get("/auth/login")
        by_token = await browser.get("/v1/sagas", headers={"Authorization": f"Bearer {TOKEN}"})
        assert (away.status_code, away.headers["retry-after"]) == (503, "5")
        assert "the identity provider cannot be used: localhost/.well-known/" in away.json()["detail"]
        assert by_token.status_code == 200
        with open_provider(port):
            assert (await browser.get("/auth/login")).status_code == 303


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/a\nb",
        "javascript:alert(1)",
        "v1",
    ],
)
async def test_a_log_in_leads_nowhere_else(browser: Browser, elsewhere: str) -> None:
    refused = await browser.get("/auth/login", params={"next": elsewhere})
    assert (refused.status_code, refused.json()["detail"]) == (
        422,
        "next: must be a path of this API, such as /v1/sagas",
    )


async def test_a_change_in_a_persons_name_comes_from_our_own_page(browser: Browser, postgres_dsn: str) -> None:
    await keep(postgres_dsn, begun("order", "A-1"))
    await log_in(browser, "anna")
    pause = ("/v1/sagas/A-1/operations/pause?timeout=0", {"reason": "a look"})
    with capture_logs() as logs:
        for origin in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "https://sagas.test"}):
            refused = await browser.post(pause[0], json=pause[1], headers=origin)
            assert (refused.status_code, refused.json()["type"]) == (403, "urn:saga-service:problem:login")
            assert (await browser.post("/auth/logout", headers=origin)).status_code == 403
    assert {each["caller"] for each in logs if each["event"] == "refused"} == {"anna.w"}
    assert (await browser.post(pause[0], json=pause[1], headers={"Origin": HERE})).status_code == 202


async def test_a_log_out_leads_to_the_provider_and_ends_copies_of_the_cookie_in_every_process(
    browser: Browser, provider: str, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "READ_EVERY_S", 0.05)
    await log_in(browser, "anna")
    copied = {"Cookie": f"saga_session={browser.cookies['saga_session']}"}
    async with open_browser(settings_for(provider, postgres_dsn)) as other:
        await eventually(lambda: knows(other, copied))
        gone = await browser.post("/auth/logout", headers={"Origin": HERE})

        assert "saga_session" not in browser.cookies
        address = urlsplit(gone.headers["location"])
        query = parse_qs(address.query)
        assert f"{address.scheme}://{address.netloc}{address.path}" == f"{provider}/oauth2/end_session"
        assert (query["client_id"], query["post_logout_redirect_uri"]) == (["sagas"], [f"{HERE}/"])
        assert query["id_token_hint"][0].count(".") == 2
        assert not await knows(browser, copied)
        await eventually(lambda: is_forgotten(other, copied))


async def knows(browser: Browser, cookie: dict[str, str]) -> bool:
    return (await browser.get("/v1/me", headers=cookie)).status_code == 200


async def is_forgotten(browser: Browser, cookie: dict[str, str]) -> bool:
    return not await knows(browser, cookie)


async def test_a_session_ends_by_itself(provider: str, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_for(provider, postgres_dsn, http_session_minutes=1)
    async with open_browser(settings) as browser:
        await log_in(browser, "anna")
        await eventually(lambda: knows(browser, {}))
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 61)
        assert (await browser.get("/v1/me")).status_code == 401


async def test_no_session_counts_before_the_log_outs_are_known(provider: str) -> None:
    nowhere = "postgresql://somebody:hush@127.0.0.1:1/saga"
    async with open_browser(settings_for(provider, nowhere)) as browser:
        await log_in(browser, "anna")
        refused = await browser.get("/v1/me")
        by_token = await browser.get("/v1/me", headers={"Authorization": f"Bearer {TOKEN}"})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert "nobody's log-in counts before it is known who has logged out" in refused.json()["detail"]
    assert by_token.status_code == 200


def signed(provider: str, kid: str = "", **claims: Any) -> dict[str, str]:
    given = {"sub": "robot", "aud": "saga-api", "exp": int(time.time()) + 60, "groups": ["sre"]} | claims
    token = httpx.post(f"{provider}/signed", params={"kid": kid} if kid else None, json=given).text
    return {"Authorization": f"Bearer {token}"}


async def test_a_program_is_known_by_an_access_token_of_the_provider(browser: Browser, provider: str) -> None:
    seen = (await browser.get("/v1/me", headers=signed(provider))).json()
    assert (seen["name"], seen["role"], seen["known_by"]) == ("robot", "operator", "access token")


@pytest.mark.parametrize(
    ("claims", "status", "said"),
    [
        ({"aud": "sagas"}, 401, "the token's claim 'aud' is wrong: invalid_claim"),
        ({"exp": 1_700_000_000}, 401, "the token's claim 'exp' is wrong: expired_token"),
        ({"iss": "https://evil.example"}, 401, "the token's claim 'iss' is wrong: invalid_claim"),
        ({"nonce": "x"}, 401, "this is an ID token, and not an access token"),
        ({"groups": ["guests"]}, 403, "robot is known, and has no role here: the claim groups has guests"),
    ],
    ids=["audience", "expired", "issuer", "id token", "no role"],
)
async def test_an_access_token_that_is_not_for_this_api_is_refused(
    browser: Browser, provider: str, claims: dict[str, Any], status: int, said: str
) -> None:
    refused = await browser.get("/v1/me", headers=signed(provider, **claims))
    assert (refused.status_code, refused.json()["detail"]) == (status, said)
    assert ("www-authenticate" in refused.headers) is (status == 401)


async def test_keys_that_nobody_has_do_not_have_the_provider_asked_again_and_again(
    browser: Browser, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await browser.get("/v1/me", headers=signed(provider))
    asked: list[str] = []
    ask = provider_documents.ask

    async def counted(http: Any, request: Any) -> Any:
        asked.append(request.url.path)
        return await ask(http, request)

    monkeypatch.setattr(provider_documents, "ask", counted)
    answers = [await browser.get("/v1/me", headers=signed(provider, kid=f"made-up-{each}")) for each in range(20)]
    assert {each.status_code for each in answers} == {401}
    assert asked == ["/jwks"]


async def test_tokens_that_are_made_up_all_at_once_are_one_question_to_the_provider(
    browser: Browser, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await browser.get("/v1/me", headers=signed(provider))
    made_up = [signed(provider, kid=f"made-up-{each}") for each in range(20)]
    asked: list[str] = []
    ask = provider_documents.ask

    async def counted(http: Any, request: Any) -> Any:
        asked.append(request.url.path)
        return await ask(http, request)

    monkeypatch.setattr(provider_documents, "ask", counted)
    answers = await asyncio.gather(*(browser.get("/v1/me", headers=each) for each in made_up))
    assert {each.status_code for each in answers} == {401}
    assert asked == ["/jwks"]


async def test_while_the_provider_is_silent_nobody_waits_for_the_questions_of_others(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logins, "ANSWER_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        issuer = f"http://localhost:{silent.getsockname()[1]}"
        async with open_browser(settings_for(issuer, postgres_dsn)) as browser:
            begun_at_s = time.monotonic()
            answers = await asyncio.gather(*(browser.get("/auth/login") for _ in range(30)))
            took_s = time.monotonic() - begun_at_s
    assert {each.status_code for each in answers} == {503}
    assert took_s < 3, f"thirty who asked one after another would have taken six seconds, these took {took_s:.1f}"


@pytest.mark.parametrize(
    ("header", "exp"), [({"alg": "RS256", "crit": 1}, None), (None, 10**18)], ids=["header", "end"]
)
async def test_no_token_whatever_is_in_it_is_a_bug(
    browser: Browser, provider: str, header: dict[str, Any] | None, exp: int | None
) -> None:
    if header is None:
        answer = await browser.get("/v1/me", headers=signed(provider, exp=exp))
        assert (answer.status_code, answer.json()["until"]) == (200, "9999-12-31T23:59:59Z")
        return
    made_up = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    for headers in ({"Authorization": f"Bearer {made_up}.e30.AAAA"}, {"Cookie": f"saga_session={made_up}...."}):
        assert (await browser.get("/v1/me", headers=headers)).status_code == 401
