"""Rights on the HTTP API: who is refused what, in which words, and that no payload reaches whoever may not see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from fastapi.routing import APIRoute
from redis.asyncio import Redis
from structlog.testing import capture_logs

from saga_service.core.events import Replied, Started
from saga_service.core.ids import CommandName, saga_id_from_key
from saga_service.core.state import Fault
from saga_service.core.vocabulary import Direction, Outcome
from saga_service.definitions import definition_from_document, definition_to_document
from saga_service.engine.ports import Batch
from saga_service.http.access.callers import need_of
from saga_service.http.application import ROUTERS
from saga_service.settings import AccessTokens, Settings
from saga_service.settings.http_tokens import StoredToken, digest_of, fresh_token, write_token
from saga_service.settings.roles import Role
from saga_service.wire.dead_letters import NamedSaga, dead_letter
from saga_service.wire.entries import Entry
from tests.integration.cli.test_sagas import begun, keep
from tests.integration.http.conftest import Api, open_api, open_server
from tests.support.builders import PlainBlueprint, PlainCatalog, SagaInMemory, step
from tests.support.command_line import store
from tests.support.event_streams import watched
from tests.support.replica import answering

SECRET = "4711-4711"
TOKENS = {role: fresh_token() for role in Role}
EXPIRED = fresh_token()
STORED = [
    *(StoredToken(f"a {role}".replace(" ", "-"), role, digest_of(token)) for role, token in TOKENS.items()),
    StoredToken("late", Role.ADMIN, digest_of(EXPIRED), datetime.now(UTC) - timedelta(minutes=1)),
]
WITH_TOKENS = Settings(http_tokens=AccessTokens(",".join(map(write_token, STORED))))
ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
NAMES = [f"{min(each.methods or ())} {each.path}" for each in ROUTES]
DOCUMENT = definition_to_document("order", (step("reserve"), step("charge")), {}, None)
CARD = {"card_number": SECRET, "amount": 5}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def guarded(postgres_dsn: str, redis_url: str) -> AsyncIterator[Api]:
    async with open_api(postgres_dsn, redis_url, WITH_TOKENS) as opened:
        yield opened


def asked(route: APIRoute, letter: int = 1) -> tuple[str, str]:
    """The method and an address of a route, whose saga is there."""
    values = {"target": "A-1", "number": letter, "saga": "order", "version": "none", "operation": "pause", "job": 1}
    return min(route.methods or ()), "/v1" + route.path.format(**values)


@pytest.mark.parametrize("route", ROUTES, ids=NAMES)
async def test_whoever_is_not_known_or_may_not_is_refused_before_anything_is_read(
    guarded: Api, route: APIRoute
) -> None:
    method, address = asked(route)
    needed = need_of(route.dependant).role
    nobody = await guarded.request(method, address, content="{", headers={"Content-Type": "application/json"})
    assert (nobody.status_code, nobody.headers["www-authenticate"]) == (401, 'Bearer realm="saga_service"')
    for role in Role:
        if not role.covers(needed):
            refused = await guarded.request(method, address, headers=bearer(TOKENS[role]))
            assert (refused.status_code, refused.headers["content-type"]) == (403, "application/problem+json")
            assert refused.json()["detail"] == f"this needs the role {needed}, and a-{role} has {role}"


@pytest.mark.parametrize("path", ["/v1/sagas/", "/v1/me/", "/metrics/", "//v1/me", "/v1/sagas/A-1/history/"])
async def test_a_path_is_one_path_and_leads_to_no_other_host(guarded: Api, path: str) -> None:
    answer = await guarded.get(path, headers={"Host": "elsewhere.test"} | bearer(TOKENS[Role.VIEWER]))
    assert (answer.status_code, answer.headers.get("location")) == (404, None)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (bearer(EXPIRED), "the token of late expired at "),
        (bearer("saga_other"), "the token is not known here"),
        ({"Authorization": "Basic YTpi"}, "Authorization must be: Bearer, and a token"),
        ({"Authorization": "Bearer"}, "Authorization must be: Bearer, and a token"),
    ],
    ids=["expired", "unknown", "scheme", "none"],
)
async def test_a_token_that_does_not_count_is_told_why(guarded: Api, header: dict[str, str], said: str) -> None:
    answer = await guarded.get("/v1/sagas", headers=header)
    assert (answer.status_code, answer.json()["type"]) == (401, "urn:saga-service:problem:unauthorized")
    assert said in answer.json()["detail"]
    assert answer.headers["www-authenticate"].startswith('Bearer realm="saga_service", error="invalid_')
    assert "saga_" not in answer.json()["detail"]


async def test_a_saga_that_is_there_and_one_that_is_not_look_alike_to_whoever_may_not_read(
    guarded: Api, postgres_dsn: str
) -> None:
    await keep(postgres_dsn, with_secrets())
    answers = [await guarded.get(f"/v1/sagas/{key}") for key in ("A-1", "A-2")]
    assert answers[0].content == answers[1].content


async def test_who_starts_a_saga_and_who_sends_a_signal_goes_with_it(
    client: Redis, any_redis_url: str, pool: asyncpg.Pool, postgres_dsn: str
) -> None:
    await store(postgres_dsn, Batch(), DOCUMENT)
    await keep(postgres_dsn, with_secrets())
    by_operator = bearer(TOKENS[Role.OPERATOR])
    with capture_logs() as logs:
        async with open_api(postgres_dsn, any_redis_url, WITH_TOKENS) as api:
            await api.post("/v1/sagas", json={"saga": "order", "key": "B-1"}, headers=by_operator)
            await api.post("/v1/sagas/A-1/signals?timeout=0", json={"name": "approved"}, headers=by_operator)

    [(_, fields)] = await client.execute_command("XRANGE", "saga:events", "-", "+")
    assert dict(zip(fields[::2], fields[1::2], strict=True))[b"actor"] == b"a-operator"
    assert await pool.fetchval("select fields ->> 'actor' from saga_private.requests") == "a-operator"
    assert [(each["caller"], each["path"], each["status"]) for each in logs if each["event"] == "asked by http"] == [
        ("a-operator", "/v1/sagas", 202),
        ("a-operator", "/v1/sagas/A-1/signals", 202),
    ]


async def test_whoever_is_refused_is_on_record(postgres_dsn: str, redis_url: str, pool: asyncpg.Pool) -> None:
    async with open_api(postgres_dsn, redis_url, WITH_TOKENS) as api:
        await api.get("/v1/sagas")
        await api.delete("/v1/dead-letters/5", headers=bearer(TOKENS[Role.VIEWER]))

    query = "select status, caller, address, method, path, detail, times from saga.refusals order by number"
    assert [tuple(each) for each in await pool.fetch(query)] == [
        (401, None, "127.0.0.1", "GET", "/v1/sagas", "the request does not say who asks", 1),
        (403, "a-viewer", "127.0.0.1", "DELETE", "/v1/dead-letters/5",
         "this needs the role admin, and a-viewer has viewer", 1),
    ]  # fmt: skip


async def test_a_proxy_is_believed_if_it_is_trusted(postgres_dsn: str, redis_url: str) -> None:
    forwarded = {"X-Forwarded-For": "192.0.2.7"}
    for trusted, address in (((), "127.0.0.1"), (("127.0.0.0/8",), "192.0.2.7")):
        settings = WITH_TOKENS.model_copy(update={"http_trusted_proxies": trusted})
        with capture_logs() as logs:
            async with open_api(postgres_dsn, redis_url, settings) as api:
                await api.get("/v1/sagas", headers=forwarded)
        assert [each["address"] for each in logs if each["event"] == "refused"] == [address]


async def test_a_caller_is_told_how_it_is_known(guarded: Api) -> None:
    for role in Role:
        known = (await guarded.get("/v1/me", headers=bearer(TOKENS[role]))).json()
        assert known == {"name": f"a-{role}", "role": role, "known_by": "token", "until": None}


async def test_without_rights_whoever_is_here_may_do_anything(api: Api) -> None:
    assert (await api.get("/v1/me")).json() == {"name": "http", "role": "admin", "known_by": "loopback", "until": None}


async def test_who_asked_and_why_stands_in_the_history(guarded: Api, pool: asyncpg.Pool, postgres_dsn: str) -> None:
    saga = begun("order", "A-1")
    await keep(postgres_dsn, saga)
    async with answering(pool, PlainCatalog(PlainBlueprint(saga.definition)), [saga.definition]):
        paused = await guarded.post(
            "/v1/sagas/A-1/operations/pause", json={"reason": "a look"}, headers=bearer(TOKENS[Role.OPERATOR])
        )
    assert paused.status_code == 200
    history = (await guarded.get("/v1/sagas/A-1/history", headers=bearer(TOKENS[Role.VIEWER]))).json()["items"]
    assert ("a-operator", "a look") in [(each["actor"], each["reason"]) for each in history]


def with_secrets() -> SagaInMemory:
    """A saga that has secrets wherever it can have any."""
    defined = definition_from_document(DOCUMENT)
    saga = SagaInMemory(defined)
    saga.apply(Started(saga_id_from_key("order", "A-1"), "order", defined.version, "A-1", CARD))
    saga.signal("approved", CARD)
    saga.succeed("reserve", CARD)
    charge = CommandName(saga.state.id, "charge", Direction.ACTION, 1)
    saga.apply(Replied(charge, Outcome.REJECTED, None, Fault("refused", f"card {SECRET} is refused")))
    return saga


async def stored_secrets(postgres_dsn: str) -> None:
    letter = dead_letter(
        Entry("saga:events", "1-0", {b"data": b'{"card_number":"4711-4711","amount":5}'}), f"'{SECRET}' is no number", 1
    )
    await keep(postgres_dsn, with_secrets())
    await store(postgres_dsn, Batch(dead_letters=[letter]), DOCUMENT)


# A stream of events has no end: what it shows is looked at with the other events.
READ = [route for route in ROUTES if route.methods == {"GET"} and not route.path.endswith("/events")]


async def answers_of(api: Api, role: Role) -> dict[str, str]:
    """The answer of every route that only reads, by its path."""
    letters = (await api.get("/v1/dead-letters", headers=bearer(TOKENS[role]))).json()["items"]
    found = {}
    for route in READ:
        _, address = asked(route, letters[0]["id"])
        answer = await api.get(address, headers=bearer(TOKENS[role]))
        assert answer.status_code == (404 if "version" in route.path else 200), answer.text
        found[route.path] = answer.text
    return found


async def test_no_route_shows_a_payload_to_a_viewer(guarded: Api, postgres_dsn: str) -> None:
    await stored_secrets(postgres_dsn)
    job = {"operation": "pause", "reason": "a look", "sagas": {"key": "A-1"}}
    assert (await guarded.post("/v1/jobs", json=job, headers=bearer(TOKENS[Role.ADMIN]))).status_code == 201
    shown, seen = await answers_of(guarded, Role.VIEWER), await answers_of(guarded, Role.OPERATOR)

    assert {path for path, text in seen.items() if SECRET in text} == {
        "/sagas", "/sagas/{target}", "/sagas/{target}/history", "/dead-letters", "/dead-letters/{number}",
    }  # fmt: skip
    assert [path for path, text in shown.items() if SECRET in text] == []
    assert [path for path, text in shown.items() if "[hidden: needs operator]" in text] == [
        path for path, text in seen.items() if SECRET in text
    ]
    assert '"error_code":"refused"' in shown["/sagas"]


async def test_whoever_sees_no_payload_finds_none_by_searching_for_it(postgres_dsn: str, redis_url: str) -> None:
    await stored_secrets(postgres_dsn)
    settings = WITH_TOKENS.model_copy(update={"http_payload_role": Role.ADMIN})
    by_operator = bearer(TOKENS[Role.OPERATOR])
    job = {"operation": "replay", "reason": "x", "dead_letters": {"reason": SECRET}}
    async with open_api(postgres_dsn, redis_url, settings) as api:
        searched = await api.get(f"/v1/dead-letters?reason={SECRET}", headers=by_operator)
        previewed = await api.post("/v1/jobs", json=job, headers=by_operator)
    for refused in (searched, previewed):
        assert refused.status_code == 403
        assert refused.json()["detail"] == "a search of reasons needs the role admin, and a-operator has operator"


async def test_whoever_sees_fields_redacted_finds_none_by_searching_for_it(postgres_dsn: str, redis_url: str) -> None:
    redacted = {"http_payload_role": Role.VIEWER, "http_redacted_fields": ("card_number",)}
    async with open_api(postgres_dsn, redis_url, WITH_TOKENS.model_copy(update=redacted)) as api:
        searched = [
            await api.get("/v1/dead-letters?reason=card_number%204", headers=bearer(TOKENS[role]))
            for role in (Role.OPERATOR, Role.ADMIN)
        ]
    assert [each.status_code for each in searched] == [403, 200]
    assert "would find what is redacted for a-operator" in searched[0].json()["detail"]


async def test_no_problem_repeats_a_payload_to_whoever_may_not_see_it(postgres_dsn: str, redis_url: str) -> None:
    entry = Entry("saga:events", "1-0", {b"data": b"{}"})
    letter = dead_letter(entry, f"'{SECRET}' is no number", 1, NamedSaga(None, "B-1"))
    await store(postgres_dsn, Batch(dead_letters=[letter]), DOCUMENT)
    async with open_api(postgres_dsn, redis_url, WITH_TOKENS) as api:
        told = {role: (await api.get("/v1/sagas/B-1", headers=bearer(TOKENS[role]))).json()["detail"] for role in Role}
    named = "no saga has the id or the key 'B-1': dead letter 1 names it, which was refused because "
    assert told[Role.VIEWER] == f"{named}[hidden: needs operator]"
    assert told[Role.OPERATOR] == told[Role.ADMIN] == f"{named}'{SECRET}' is no number"


@pytest.mark.parametrize(
    ("unredacted", "seen_by"), [("admin", [Role.ADMIN]), ("nobody", []), ("operator", [Role.OPERATOR, Role.ADMIN])]
)
async def test_a_redacted_field_is_shown_from_its_role_on(
    postgres_dsn: str, redis_url: str, unredacted: str, seen_by: list[Role]
) -> None:
    await stored_secrets(postgres_dsn)
    settings = WITH_TOKENS.model_copy(
        update={
            "http_payload_role": Role.VIEWER,
            "http_redacted_fields": ("card_number",),
            "http_redacted_fields_role": unredacted if unredacted == "nobody" else Role(unredacted),
        }
    )
    async with open_api(postgres_dsn, redis_url, settings) as api:
        for role in Role:
            saga = (await api.get("/v1/sagas/A-1", headers=bearer(TOKENS[role]))).json()["saga"]
            expected = SECRET if role in seen_by else "[redacted]"
            assert saga["input"] == {"card_number": expected, "amount": 5}


async def test_no_event_shows_a_payload_to_a_viewer(postgres_dsn: str, redis_url: str) -> None:
    await keep(postgres_dsn, with_secrets())
    async with open_server(postgres_dsn, redis_url, WITH_TOKENS) as (address, _):
        for role in (Role.VIEWER, Role.OPERATOR):
            async with watched(address, "/v1/sagas/A-1/events?until=ended", **bearer(TOKENS[role])) as stream:
                events = [await stream.next()]
                while events[-1].name != "saga":
                    events.append(await stream.next())
            text = str(events)
            assert (SECRET in text) is (role is Role.OPERATOR)
            assert ("[hidden: needs operator]" in text) is (role is Role.VIEWER)


async def test_a_stream_ends_soon_after_its_callers_role_was_lowered(
    postgres_dsn: str, redis_url: str, tmp_path: Path
) -> None:
    token, file = fresh_token(), tmp_path / "tokens"
    file.write_text(write_token(StoredToken("a", Role.OPERATOR, digest_of(token))))
    settings = Settings(http_tokens_file=file, http_heartbeat_ms=100)
    async with (
        open_server(postgres_dsn, redis_url, settings) as (address, _),
        watched(address, "/v1/sagas/events", **bearer(token)) as stream,
    ):
        await stream.next("ready")
        file.write_text(write_token(StoredToken("a", Role.VIEWER, digest_of(token))))
        assert [event.name for event in await stream.rest(within_s=30)] == ["denied"]


async def test_a_stream_ends_soon_after_its_callers_token_has(
    postgres_dsn: str, redis_url: str, tmp_path: Path
) -> None:
    await keep(postgres_dsn, begun("order", "A-1"))
    token, other = fresh_token(), fresh_token()
    file = tmp_path / "tokens"
    lines = [
        write_token(StoredToken(name, Role.VIEWER, digest_of(each))) for name, each in (("a", token), ("b", other))
    ]
    file.write_text("\n".join(lines))
    settings = Settings(http_tokens_file=file, http_heartbeat_ms=100)
    async with (
        open_server(postgres_dsn, redis_url, settings) as (address, _),
        watched(address, "/v1/sagas/A-1/events", **bearer(token)) as one,
        watched(address, "/v1/sagas/events", **bearer(token)) as listed,
        watched(address, "/v1/sagas/events", **bearer(other)) as of_another,
    ):
        for stream in (listed, of_another):
            await stream.next("ready")
        await one.next("saga")
        file.write_text(lines[1])
        for stream in (one, listed):
            assert [event.name for event in await stream.rest(within_s=30)] == ["denied"]
        with pytest.raises(TimeoutError):
            await of_another.rest(within_s=0.3)
