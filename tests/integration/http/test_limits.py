"""Limits of size and rate are told as problems, and nothing of what they refuse is carried out."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from saga_service.http.application import ENVELOPE_BYTES_MAX
from saga_service.settings import Settings
from tests.integration.http.conftest import Api, open_api

LARGE = b'{"saga": "order", "input": {"note": "' + b"x" * (1_048_576 + ENVELOPE_BYTES_MAX) + b'"}}'


async def in_chunks() -> AsyncIterator[bytes]:
    for place in range(0, len(LARGE), 100_000):
        yield LARGE[place : place + 100_000]


@pytest.mark.parametrize("is_told", [True, False], ids=["by its length", "in chunks"])
async def test_a_body_that_is_larger_than_any_entry_may_be_is_refused(api: Api, client: Redis, is_told: bool) -> None:
    body = LARGE if is_told else in_chunks()
    answer = await api.post("/v1/sagas", content=body, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert answer.json()["detail"] == "the body has more than 1,114,112 bytes"
    assert await client.exists("saga:events") == 0


async def test_one_request_too_many_is_refused_with_the_time_to_wait(postgres_dsn: str, redis_url: str) -> None:
    settings = Settings(http_requests_per_s_max=1)
    async with open_api(postgres_dsn, redis_url, settings) as api:
        answers = [await api.get("/v1/processes") for _ in range(3)]

    assert [each.status_code for each in answers] == [200, 200, 429]
    assert answers[2].headers["retry-after"] == "1"
    assert answers[2].json()["type"] == "urn:saga-service:problem:too-many-requests"
    assert "more than 1 times a second (SAGA_HTTP_REQUESTS_PER_S_MAX)" in answers[2].json()["detail"]


async def test_a_body_as_large_as_the_largest_entry_is_read(api: Api) -> None:
    answer = await api.post("/v1/sagas", json={"saga": "order", "input": {"note": "x" * 1_048_576}})
    assert "no saga 'order' is registered" in answer.json()["detail"]
