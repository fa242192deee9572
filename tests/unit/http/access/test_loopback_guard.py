"""Other people's web pages reach nothing by way of a browser on this machine."""

from __future__ import annotations

import httpx
import pytest
from starlette.responses import PlainTextResponse

from saga_service.http.access.loopback_guard import LoopbackGuard, is_loopback

NOTED: list[int] = []


async def answer(public_url: str | None = None, **headers: str) -> httpx.Response:
    NOTED.clear()
    guard = LoopbackGuard(PlainTextResponse("inside"), public_url, lambda _, status, __, ___: NOTED.append(status))
    transport = httpx.ASGITransport(guard)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080") as client:
        return await client.post("/", headers=headers)


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:8080", "127.8.9.1", "[::1]:8080"])
async def test_whoever_names_this_machine_is_let_in(host: str) -> None:
    assert (await answer(host=host)).text == "inside"
    assert (await answer(host=host, origin=f"http://{host}")).text == "inside"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "localhost.evil.example", "10.0.0.1", "0.0.0.0", "", "[::2]", "["]
)
async def test_another_name_that_leads_here_is_refused(host: str) -> None:
    refused = await answer(host=host)
    assert refused.status_code == 421
    assert refused.headers["content-type"] == "application/problem+json"
    assert NOTED == [421]


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost", "http://localhost:8081", "https://127.0.0.1:8080", ""]
)
async def test_a_page_of_another_host_is_refused(origin: str) -> None:
    refused = await answer(host="localhost:8080", origin=origin)
    assert refused.status_code == 403
    assert "inside" not in refused.text
    assert NOTED == [403]


async def test_a_public_address_is_let_in_under_its_name_and_no_other() -> None:
    public = "https://sagas.example.com"
    for headers in ({}, {"origin": public}):
        assert (await answer(public, host="sagas.example.com", **headers)).text == "inside"
        assert (await answer(public, host="localhost:8080", **headers)).text == "inside"
    assert (await answer(public, host="sagas.example.org")).status_code == 421
    assert (await answer(public, host="sagas.example.com", origin="https://sagas.example.org")).status_code == 403


def test_an_address_that_others_reach_is_not_loopback() -> None:
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.5", "saga.example", "")))
