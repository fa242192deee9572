"""The HTTP API in this process, on real servers: requests go through everything but the network.

A stream of events needs the network too, and is asked of `open_server`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from structlog.testing import capture_logs

from saga_service.http.application import make_application
from saga_service.http.web_server import serve
from saga_service.settings import Settings, at_addresses
from tests.support.waiting import eventually

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


@asynccontextmanager
async def open_server(
    postgres_dsn: str, redis_url: str, settings: Settings | None = None
) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The address of a server in this process, and what stops it. It looks often, so that no test waits for it."""
    quick = (settings or Settings()).model_copy(update={"http_port": 0, "http_poll_ms": 20})
    addresses = {"SAGA_POSTGRES_DSN": postgres_dsn, "SAGA_REDIS_URL": redis_url}
    stop = asyncio.Event()
    with capture_logs() as logs:
        serving = asyncio.create_task(serve(at_addresses(quick, addresses), stop))
        await eventually(lambda: logs or serving.done())
        try:
            yield logs[0]["address"], stop
        finally:
            stop.set()
            await serving


@pytest.fixture
async def server(postgres_dsn: str, redis_url: str) -> AsyncIterator[str]:
    async with open_server(postgres_dsn, redis_url) as (address, _):
        yield address


@pytest.fixture
async def api(postgres_dsn: str, any_redis_url: str) -> AsyncIterator[Api]:
    async with open_api(postgres_dsn, any_redis_url) as opened:
        yield opened
