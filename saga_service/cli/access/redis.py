"""A connection to Redis for one command, and the failures of it in words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from redis import exceptions
from redis.asyncio import Redis

from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.settings import Settings
from saga_service.streams.connection import connect


@asynccontextmanager
async def open_redis(settings: Settings) -> AsyncIterator[Redis]:
    """Open a client that repeats nothing by itself. Raises CommandFailed where the server cannot be used."""
    with redis_errors_in_words(settings):
        client = connect(settings.redis_url.get_secret_value(), connections_max=1)
        try:
            yield client
        finally:
            await client.aclose()


@contextmanager
def redis_errors_in_words(settings: Settings) -> Iterator[None]:
    """Turn what the client raises into CommandFailed, with the address and what to check."""
    where = f"Redis at {settings.redis_url}"
    try:
        yield
    except (exceptions.AuthenticationError, exceptions.NoPermissionError) as error:
        raise CommandFailed(
            f"{where} refuses: {error}", "check user and password in SAGA_REDIS_URL", code=ExitCode.UNREACHABLE
        ) from None
    except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
        raise CommandFailed(
            f"{where} cannot be reached: {error}",
            "check SAGA_REDIS_URL and that the server runs",
            code=ExitCode.UNREACHABLE,
        ) from None
    except exceptions.ResponseError as error:
        raise CommandFailed(f"{where} refuses: {error}", code=ExitCode.UNREACHABLE) from None
