"""A connection to Redis for one command, and the failures of it in words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial

from saga_service.admin.redis_errors import redis_errors_in_words
from saga_service.cli.access.effective_settings import advice_on_address
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
