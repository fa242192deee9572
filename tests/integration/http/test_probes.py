"""Probes and metrics on the port of the API: for whom, in which words, and with a server away."""

from __future__ import annotations

import asyncio

import pytest

from saga_service.settings import AccessTokens, Settings
from saga_service.settings.http_tokens import StoredToken, digest_of, fresh_token, write_token
from saga_service.settings.roles import Role
from tests.integration.cli.test_sagas import begun, keep
from tests.integration.http.conftest import Api, open_api
from tests.support.waiting import eventually

NOWHERE = "postgresql://somebody:hush@127.0.0.1:1/saga"
TOKEN = fresh_token()
TOKENS = AccessTokens(write_token(StoredToken("ann", Role.VIEWER, digest_of(TOKEN))))


async def test_a_process_with_both_servers_is_ready_and_tells_every_check(api: Api) -> None:
    alive, ready = await api.get("/livez?verbose"), await api.get("/readyz?verbose")
    assert (alive.status_code, alive.text) == (200, "[+] event loop\n[+] loops\nok\n")
    assert (ready.status_code, ready.text) == (200, "[+] shutdown\n[+] start\n[+] redis\n[+] postgres\nok\n")


async def test_a_schema_that_is_missing_is_told_with_the_command_that_makes_it(
    blank_postgres_dsn: str, redis_url: str
) -> None:
    async with open_api(blank_postgres_dsn, redis_url) as api:
        answer = await api.get("/readyz")
    assert answer.status_code == 503
    assert answer.text.startswith("[-] postgres: ")
    assert "saga-service migrate" in answer.text


async def test_without_servers_the_process_lives_is_not_ready_and_has_its_own_metrics() -> None:
    async with open_api(NOWHERE, "redis://:hush@127.0.0.1:1/0") as api:
        alive, ready = await api.get("/livez"), await api.get("/readyz")
        metrics = await api.get("/metrics")
    assert (alive.status_code, ready.status_code, metrics.status_code) == (200, 503, 200)
    said = [line.partition(" at ")[0] for line in ready.text.splitlines()]
    assert said == ["[-] redis: Redis", "[-] postgres: Postgres", "failed"]
    assert "hush" not in ready.text + metrics.text
    assert 'saga_state_errors_total{source="postgres"} 1.0' in metrics.text
    assert 'saga_state_errors_total{source="redis"} 1.0' in metrics.text
    assert not [line for line in metrics.text.splitlines() if line.startswith("saga_outbox_rows")]


async def test_with_rights_probes_are_open_without_reasons_and_metrics_are_for_viewers(redis_url: str) -> None:
    async with open_api(NOWHERE, redis_url, Settings(http_tokens=TOKENS)) as api:
        ready = await api.get("/readyz?verbose")
        assert (ready.status_code, ready.text) == (503, "[+] shutdown\n[+] start\n[+] redis\n[-] postgres\nfailed\n")
        assert (await api.get("/livez")).status_code == 200
        assert (await api.get("/metrics")).status_code == 401
        allowed = await api.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        assert (allowed.status_code, allowed.headers["content-type"].partition(";")[0]) == (200, "text/plain")


async def test_whoever_waits_for_an_answer_is_counted_while_that_lasts(api: Api, postgres_dsn: str) -> None:
    await keep(postgres_dsn, begun("order", "A-1"))

    async def waiters() -> str:
        lines = (await api.get("/metrics")).text.splitlines()
        return next(line for line in lines if line.startswith("saga_http_waiters "))

    assert await waiters() == "saga_http_waiters 0.0"
    waiting = asyncio.create_task(api.post("/v1/sagas/A-1/operations/pause?timeout=30", json={"reason": "a look"}))

    async def one_waits() -> bool:
        return await waiters() == "saga_http_waiters 1.0"

    await eventually(one_waits)
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_a_setting_opens_the_metrics(redis_url: str) -> None:
    async with open_api(NOWHERE, redis_url, Settings(http_tokens=TOKENS, http_metrics_open=True)) as api:
        assert (await api.get("/metrics")).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_the_document_of_the_api_leaves_out_what_is_for_machinery(api: Api, path: str) -> None:
    assert path not in (await api.get("/openapi.json")).json()["paths"]
