"""The HTTP API in this process, on real servers: requests go through everything but the network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from saga_service.http.application import make_application
from saga_service.settings import Settings, at_addresses

Api = httpx.AsyncClient


@asynccontextmanager
async def open_api(
    postgres_dsn: str, redis_url: str, settings: Settings | None = None, *, raises: bool = True
) -> AsyncIterator[Api]:
    """The API on these servers. Without `raises` a bug is answered as a server would."""
    addresses = {"SAGA_POSTGRES_DSN": postgres_dsn, "SAGA_REDIS_URL": redis_url}
    application = make_application(at_addresses(settings or Settings(), addresses))
    async with (
        application.router.lifespan_context(application),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(application, raise_app_exceptions=raises), base_url="http://localhost"
        ) as client,
    ):
        yield client


@pytest.fixture
async def api(postgres_dsn: str, any_redis_url: str) -> AsyncIterator[Api]:
    async with open_api(postgres_dsn, any_redis_url) as opened:
        yield opened
