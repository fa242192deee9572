"""Redis for one command, with its failures in words; and both servers, for a command that needs both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from asyncpg import Connection

from saga_service.admin.redis_errors import redis_errors_in_words
from saga_service.cli.access.effective_settings import advice_on_address
from saga_service.cli.access.postgres import open_postgres
from saga_service.settings import Settings
from saga_service.streams.connection import RedisClient, connect


def redis_errors_told(settings: Settings) -> AbstractContextManager[None]:
    """Turn what the driver raises into Failure. Where no address is set, that is said, and which `dev` is meant."""
    return redis_errors_in_words(settings, partial(advice_on_address, settings))


@asynccontextmanager
async def open_redis(settings: Settings) -> AsyncIterator[RedisClient]:
    """Open a client that repeats nothing by itself. Raises Failure where the server cannot be used."""
    with redis_errors_told(settings):
        client = connect(settings.redis_url.get_secret_value(), connections_max=1)
        try:
            yield client
        finally:
            await client.aclose()


@dataclass(frozen=True, slots=True)
class CommandServers:
    """Fulfils `admin.server_access.Servers`: each connection is opened where it is needed, and closed after it."""

    settings: Settings

    def postgres(self) -> AbstractAsyncContextManager[Connection]:
        return open_postgres(self.settings)

    def redis(self) -> AbstractAsyncContextManager[RedisClient]:
        return open_redis(self.settings)
